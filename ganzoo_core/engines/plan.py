"""The plan of a training step: everything a trainer needs besides the networks, the loss and the images."""

from __future__ import annotations

from dataclasses import dataclass

from ganzoo_core.settings import EmaSettings, OptimizerSettings, StepSettings

DRAW_BATCH_SIZE = 64  # images drawn at once; fixed, so that the same seed gives the same bytes


@dataclass(frozen=True, kw_only=True)
class LossFacts:
    """What the loss's manifest says of a step.

    Attributes:
        decision, probability: see `manifest.Part`.
        weight_clip: D's weights are clipped to [-clip, clip] after each of its updates; None for no clipping.
        real_in_generator_step: whether the loss, or a modifier of it, sees reals in G's phase.
    """

    decision: float | str | None = None
    probability: str | None = None
    weight_clip: float | None = None
    real_in_generator_step: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan(StepSettings):
    """Everything a trainer needs besides the networks, the loss and the images.

    Attributes:
        latent: the distribution of z.
        conditional: whether the networks take labels.
        takes_g, takes_d: names of the schedule's values that each network is called with.
        optimizer: of both networks.
        ema: of G's moving average; None for a generator without one.
        loss: facts of the loss.
    """

    latent: str
    conditional: bool
    takes_g: tuple[str, ...]
    takes_d: tuple[str, ...]
    optimizer: OptimizerSettings
    ema: EmaSettings | None
    loss: LossFacts

    @property
    def reuses_fake(self) -> bool:
        """Whether G's phase reuses the fake images of D's phase.

        Not if G's phase of a conditional model has reals of its own: its labels must be those of its reals.
        """
        return self.critic_steps == 1 and not (self.conditional and self.loss.real_in_generator_step)
