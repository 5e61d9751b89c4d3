"""RpGAN (Jolicoeur-Martineau 2018, arXiv:1807.00734) with R1 and R2, as R3GAN has it (arXiv:2501.05441, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ganzoo_core as gz


@dataclass(frozen=True, kw_only=True)
class Relativistic:
    """D minimises E sp(-(D(x)-D(g))) + R1 + R2, G minimises E sp(-(D(g)-D(x))); sp is softplus.

    R1 = (γ/2)·E‖∇D(x)‖² on real images, R2 the same on fakes: the sum over a sample's pixels, the mean over
    the batch. Each real image is paired with one fake. G's step has real images of its own.

    Args:
        gamma: γ; at 0 D is not differentiated by the images. A schedule's value `gamma` wins over it.
    """

    gamma: float

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        # A schedule's value may be a tensor: whether there are penalties must not hang on what it is.
        if not self.gamma and "gamma" not in step.values:
            real, fake = step.D(step.real), step.D(step.fake)
            return {"adversarial": ops.mean(ops.softplus(fake - real))}
        gamma = step.values.get("gamma", self.gamma)
        real, by_real = ops.score_and_gradient(step.D, step.real)
        fake, by_fake = ops.score_and_gradient(step.D, step.fake)
        return {
            "adversarial": ops.mean(ops.softplus(fake - real)),
            "r1_penalty": 0.5 * gamma * ops.mean(ops.sum_per_sample(ops.square(by_real))),
            "r2_penalty": 0.5 * gamma * ops.mean(ops.sum_per_sample(ops.square(by_fake))),
        }

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D(step.real), step.D(step.fake)
        return {"adversarial": ops.mean(ops.softplus(real - fake))}


@gz.hookimpl
def loss(options: gz.Options) -> gz.Loss:
    gamma = options["gamma"]
    if gamma < 0:
        raise gz.UsageError(f"loss.gamma is {gamma:g}; expected a weight of at least 0, and 0 for no penalties")
    return Relativistic(gamma=gamma)
