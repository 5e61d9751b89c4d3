"""WGAN-GP: Gulrajani et al. 2017 (arXiv:1704.00028), algorithm 1; drift of ProGAN (arXiv:1710.10196), appendix A.1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ganzoo_core as gz

_EPSILON = 1e-12  # negligible in float32 at a norm of 1; keeps the root differentiable where the gradient is 0


@dataclass(frozen=True, kw_only=True)
class WassersteinGP:
    """D minimises E D(g) - E D(x) + gp_weight·E(‖∇D(x̂)‖₂ - 1)² + drift·E D(x)², G minimises -E D(g).

    x̂ = εx + (1-ε)g with one uniform ε per sample; the norm is over all of a sample's pixels.

    Args:
        gp_weight: λ, 10 in the paper; if 0, no gradient with respect to the images is computed.
        drift: 0.001 in ProGAN, 0 in WGAN-GP.
    """

    gp_weight: float
    drift: float

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D(step.real), step.D(step.fake)
        terms = {"adversarial": ops.mean(fake) - ops.mean(real)}
        if self.gp_weight:
            terms["gradient_penalty"] = self.gp_weight * self._gradient_penalty(step)
        if self.drift:
            terms["drift_penalty"] = self.drift * ops.mean(ops.square(real))
        return terms

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": -step.ops.mean(step.D(step.fake))}

    def _gradient_penalty(self, step: gz.Step) -> Any:
        ops = step.ops
        shape = step.real.shape
        epsilon = ops.uniform((shape[0], *(1 for _ in shape[1:])))
        _, gradient = ops.score_and_gradient(step.D, ops.lerp(step.fake, step.real, epsilon))
        norm = ops.sqrt(ops.sum_per_sample(ops.square(gradient)) + _EPSILON)
        return ops.mean(ops.square(norm - 1.0))


@gz.hookimpl
def loss(options: gz.Options) -> gz.Loss:
    for key in ("gp_weight", "drift"):
        if options[key] < 0:
            raise gz.UsageError(
                f"loss.{key} is {options[key]:g}; expected a weight of at least 0, and 0 for no such term"
            )
    return WassersteinGP(gp_weight=options["gp_weight"], drift=options["drift"])
