"""LSGAN: Mao et al. 2016 (arXiv:1611.04076), in the 0-1 coding: a = 0, b = c = 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ganzoo_core as gz


class LeastSquares:
    """D minimises ½E(D(x)-1)² + ½E D(g)², G minimises ½E(D(g)-1)²; D's score is not a logit."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D(step.real), step.D(step.fake)
        return {"adversarial": 0.5 * ops.mean(ops.square(real - 1.0)) + 0.5 * ops.mean(ops.square(fake))}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        return {"adversarial": 0.5 * ops.mean(ops.square(step.D(step.fake) - 1.0))}


@gz.hookimpl
def loss() -> gz.Loss:
    return LeastSquares()
