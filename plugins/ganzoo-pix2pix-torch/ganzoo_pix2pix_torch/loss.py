"""The loss of pix2pix (Isola et al. 2017, arXiv:1611.07004), equation 4 and section 3.3, in both frameworks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ganzoo_core as gz


class Pix2Pix:
    """D minimises half of binary cross-entropy; G is to deceive D and to come close to the target, pixel by pixel.

    D: (E sp(-D(x)) + E sp(D(g))) / 2. G: gan_weight · E sp(-D(g)) + l1_weight · E |x - g|. x is the target, g what G
    makes of the condition that belongs to it, sp is softplus, and D gives logits, one or one a patch.

    Args:
        l1_weight: λ in equation 4; 0 for no such term.
        gan_weight: of what D says; 0 for G trained by the distance alone, which the paper calls L1.
    """

    def __init__(self, *, l1_weight: float, gan_weight: float) -> None:
        self.l1_weight, self.gan_weight = l1_weight, gan_weight

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D(step.real), step.D(step.fake)
        return {"adversarial": 0.5 * (ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake)))}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        """Terms with a weight of 0 are left out, and D is not called for one."""
        ops, terms = step.ops, {}
        if self.gan_weight:
            terms["adversarial"] = self.gan_weight * ops.mean(ops.softplus(-step.D(step.fake)))
        if self.l1_weight:
            terms["l1"] = self.l1_weight * ops.mean(ops.abs(step.real - step.fake))
        return terms


@gz.hookimpl
def loss(options: gz.Options) -> gz.Loss:
    """Build the loss; raises UsageError if both weights are 0."""
    if not options["l1_weight"] and not options["gan_weight"]:
        raise gz.UsageError("loss.l1_weight and loss.gan_weight are both 0, so G would learn nothing; set one above 0")
    return Pix2Pix(l1_weight=options["l1_weight"], gan_weight=options["gan_weight"])
