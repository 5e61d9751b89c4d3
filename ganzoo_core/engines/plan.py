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
        same_real_in_generator_step: whether those are the reals, the conditions and the fake images of D's last phase.
    """

    decision: float | str | None = None
    probability: str | None = None
    weight_clip: float | None = None
    real_in_generator_step: bool = False
    same_real_in_generator_step: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan(StepSettings):
    """Everything a trainer needs besides the networks, the loss and the images.

    Attributes:
        latent: the distribution of z.
        conditional: whether the networks take labels.
        takes_g, takes_d: names of the schedule's values that each network is called with.
        conditions_g, conditions_d: names of the conditions that each network is called with.
        latent_in_discriminator: whether D is called with z, as `latent`.
        drawn_alone: whether G draws each image by itself in training mode, as a card says; see `manifest.Part`.
        optimizer_g, optimizer_d: of each network.
        ema: of G's moving average; None for a generator without one.
        loss: facts of the loss.
    """

    latent: str
    conditional: bool
    takes_g: tuple[str, ...]
    takes_d: tuple[str, ...]
    optimizer_g: OptimizerSettings
    optimizer_d: OptimizerSettings
    ema: EmaSettings | None
    loss: LossFacts
    conditions_g: tuple[str, ...] = ()
    conditions_d: tuple[str, ...] = ()
    latent_in_discriminator: bool = False
    drawn_alone: bool = False

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions that either network takes, each once."""
        return tuple(dict.fromkeys((*self.conditions_g, *self.conditions_d)))

    @property
    def takes_from_data(self) -> bool:
        """Whether the networks are called with labels or conditions, which belong to reals."""
        return self.conditional or bool(self.conditions)

    @property
    def reuses_fake(self) -> bool:
        """Whether G's phase reuses the fake images of D's last phase.

        Not if G's phase has reals of its own and G is drawn from labels or conditions: these must be those of its
        reals.
        """
        if self.loss.same_real_in_generator_step:
            return True
        return self.critic_steps == 1 and not (self.takes_from_data and self.loss.real_in_generator_step)

    @property
    def redraws_fake(self) -> bool:
        """Whether the fake images that both phases share are drawn in each of them.

        G's graph of a whole batch would have to stay in memory between the phases otherwise.
        """
        return self.reuses_fake and self.accumulate > 1

    @property
    def loads_generator_reals(self) -> bool:
        """Whether G's phase reads reals of its own: for the loss, or for the labels and conditions of a fresh batch."""
        if self.loss.same_real_in_generator_step:
            return False
        return self.loss.real_in_generator_step or (self.takes_from_data and not self.reuses_fake)
