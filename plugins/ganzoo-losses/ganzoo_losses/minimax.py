"""Goodfellow et al. 2014 (arXiv:1406.2661), equation 1: the value that D maximises and G minimises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ganzoo_core as gz


class Minimax:
    """D minimises E sp(-D(x)) + E sp(D(g)), G minimises -E sp(D(g)); sp is softplus, D gives logits.

    G's gradient vanishes where D is confident that the images are fake, as the paper notes. Use the non-saturating loss
    for training, this one for comparison.
    """

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D(step.real), step.D(step.fake)
        return {"adversarial": ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        return {"adversarial": -ops.mean(ops.softplus(step.D(step.fake)))}


@gz.hookimpl
def loss() -> gz.Loss:
    return Minimax()
