"""The plan of a training step: everything a trainer needs beside networks, loss and images."""

from __future__ import annotations

from dataclasses import dataclass

DRAW_BATCH_SIZE = 64  # images drawn at once; fixed, so that the same seed gives the same bytes


@dataclass(frozen=True)
class Plan:
    """All that a trainer needs to know beside the networks, the loss and the images.

    Attributes:
        seed: of every random number.
        batch_size: N of every batch.
        latent: the distribution of z; `latent_dim` its length.
        conditional: whether the networks take labels.
        takes_g, takes_d: the schedule's values that each network is called with.
        critic_steps: steps of D for one of G.
        updates: `alternating` or `simultaneous`.
        optimizer, betas, adam_eps, momentum, rmsprop_decay: as in the settings `train.*`.
        lr_g, lr_d: learning rates where the schedule gives none.
        ema_halflife: in images; None for a generator without a moving average.
        weight_clip: D's weights are clipped to [-clip, clip] after each of its updates; None for not at all.
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
        """Real images that count for one step."""
        return self.batch_size * self.critic_steps

    @property
    def reuses_fake(self) -> bool:
        """Whether G's phase goes on with the images of D's.

        With labels and reals of its own, G's phase must draw labels that fit those reals.
        """
        return self.critic_steps == 1 and not (self.conditional and self.real_in_generator_step)
