"""A relativistic hinge (Jolicoeur-Martineau 2018, arXiv:1807.00734) with LeCam (Tseng et al. 2021, arXiv:2104.03310).

Written on `step.ops`, so it runs in PyTorch and in TensorFlow; this module imports neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ganzoo_core as gz


class RelativisticHingeLeCam:
    """D minimises E relu(1-(D(x)-D(g))) + λ·[E(D(x)-α_F)² + E(D(g)-α_R)²], G minimises E relu(1-(D(g)-D(x))).

    Each real image is paired with one fake, and G's step has real images of its own. α_R and α_F are moving averages
    of D(x) and D(g) (LeCam, equations 5 and 6): the scores of reals are drawn to where those of fakes were of late,
    and the other way round, so that D cannot grow ever surer of images that it knows by heart.

    Differs from the paper: the averages are corrected for having begun at 0, as Adam corrects its moments, so that
    they can be used from the first step.

    Args:
        weight: λ.
        decay: γ of α ← γ α + (1-γ) E D, once in each step of D.
    """

    def __init__(self, *, weight: float, decay: float) -> None:
        self.weight, self.decay = weight, decay
        # The engine keeps these and saves them with each checkpoint. `share` is the same average of 1: what a moving
        # average that began at 0 has taken in so far.
        self.memory = {"real": 0.0, "fake": 0.0, "share": 0.0}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D(step.real), step.D(step.fake)
        share = self._moved(step, "share", 1.0)
        real_average = self._moved(step, "real", ops.stop_gradient(ops.mean(real))) / share
        fake_average = self._moved(step, "fake", ops.stop_gradient(ops.mean(fake))) / share
        apart = ops.mean(ops.square(real - fake_average)) + ops.mean(ops.square(fake - real_average))
        return {"adversarial": ops.mean(ops.relu(1.0 - (real - fake))), "lecam_penalty": self.weight * apart}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D(step.real), step.D(step.fake)
        return {"adversarial": ops.mean(ops.relu(1.0 - (fake - real)))}

    def _moved(self, step: gz.Step, name: str, value: Any) -> Any:
        """Move one of the averages towards a value, a constant to differentiation; returns what it is then."""
        average = self.decay * step.memory[name] + (1.0 - self.decay) * value
        step.memory[name] = average
        return average


@gz.hookimpl
def loss(options: gz.Options) -> gz.Loss:
    weight, decay = options["lecam_weight"], options["lecam_decay"]
    if weight < 0:
        raise gz.UsageError(f"loss.lecam_weight is {weight:g}; expected a weight of at least 0")
    if not 0 <= decay < 1:
        raise gz.UsageError(f"loss.lecam_decay is {decay:g}; expected a number of at least 0 and below 1, such as 0.99")
    return RelativisticHingeLeCam(weight=weight, decay=decay)
