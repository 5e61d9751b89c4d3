"""RpGAN (Jolicoeur-Martineau 2018, arXiv:1807.00734) with R1 and R2, as in R3GAN (arXiv:2501.05441, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ganzoo_core as gz


@dataclass(frozen=True, kw_only=True)
class Relativistic:
    """D minimises E sp(-(D(x)-D(g))) + R1 + R2, G minimises E sp(-(D(g)-D(x))); sp is softplus.

    R1 = (γ/2)·E‖∇D(x)‖² on real images, R2 the same on fakes: summed over a sample's pixels, averaged over
    the batch. Each real image is paired with one fake. G's step draws its own real images.

    Args:
        gamma: γ; if 0, no gradient with respect to the images is computed. A schedule's `gamma` overrides it.
        r2: whether there is R2 beside R1.
    """

    gamma: float
    r2: bool = True

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        # A schedule's value may be a tensor, so whether there are penalties must not depend on it.
        if not self.gamma and "gamma" not in step.values:
            real, fake = step.D(step.real), step.D(step.fake)
            return {"adversarial": ops.mean(ops.softplus(fake - real))}
        gamma = step.values.get("gamma", self.gamma)
        real, by_real = ops.score_and_gradient(step.D, step.real)
        r1 = 0.5 * gamma * ops.mean(ops.sum_per_sample(ops.square(by_real)))
        if not self.r2:
            return {"adversarial": ops.mean(ops.softplus(step.D(step.fake) - real)), "r1_penalty": r1}
        fake, by_fake = ops.score_and_gradient(step.D, step.fake)
        r2 = 0.5 * gamma * ops.mean(ops.sum_per_sample(ops.square(by_fake)))
        return {"adversarial": ops.mean(ops.softplus(fake - real)), "r1_penalty": r1, "r2_penalty": r2}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D(step.real), step.D(step.fake)
        return {"adversarial": ops.mean(ops.softplus(real - fake))}


@gz.hookimpl
def loss(options: gz.Options) -> gz.Loss:
    gamma = options["gamma"]
    if gamma < 0:
        raise gz.UsageError(f"loss.gamma is {gamma:g}; expected a weight of at least 0, and 0 for no penalties")
    return Relativistic(gamma=gamma, r2=options["r2"])
