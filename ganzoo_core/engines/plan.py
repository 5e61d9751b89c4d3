"""The plan of a training step: everything a trainer needs besides the networks, the loss and the images."""

from __future__ import annotations

from dataclasses import dataclass

DRAW_BATCH_SIZE = 64  # images drawn at once; fixed, so that the same seed gives the same bytes


@dataclass(frozen=True)
class Plan:
    """Everything a trainer needs besides the networks, the loss and the images.

    Attributes:
        seed: of every random number.
        batch_size: N of every batch.
        latent: the distribution of z; `latent_dim` its length.
        conditional: whether the networks take labels.
        takes_g, takes_d: names of the schedule's values that each network is called with.
        critic_steps: updates of D per update of G.
        updates: `alternating` or `simultaneous`.
        optimizer, betas, adam_eps, momentum, rmsprop_decay: as in the settings `train.*`.
        lr_g, lr_d: learning rates if the schedule gives none.
        ema_halflife: in images; None for a generator without a moving average.
        weight_clip: D's weights are clipped to [-clip, clip] after each of its updates; None for no clipping.
        decision, probability: see `manifest.Part`.
        real_in_generator_step: whether the loss sees reals in G's phase.
    """

    seed: int
    batch_size: int
    latent: str
    latent_dim: int
    conditional: bool
    takes_g: tuple[str, ...]
    takes_d: tuple[str, ...]
    critic_steps: int
    updates: str
    optimizer: str
    betas: tuple[float, float]
    adam_eps: float
    momentum: float
    rmsprop_decay: float
    lr_g: float
    lr_d: float
    ema_halflife: int | None
    weight_clip: float | None
    decision: float | str | None
    probability: str | None
    real_in_generator_step: bool

    @property
    def images_per_step(self) -> int:
        """Real images counted per step."""
        return self.batch_size * self.critic_steps

    @property
    def reuses_fake(self) -> bool:
        """Whether G's phase reuses the fake images of D's phase.

        Not if G's phase of a conditional model has reals of its own: its labels must be those of its reals.
        """
        return self.critic_steps == 1 and not (self.conditional and self.real_in_generator_step)
