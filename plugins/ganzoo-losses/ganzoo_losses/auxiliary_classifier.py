"""AC-GAN: Odena, Olah, Shlens 2016 (arXiv:1610.09585), section 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ganzoo_core as gz


@dataclass(frozen=True, kw_only=True)
class AuxiliaryClassifier:
    """Source and class: D minimises -L_S - L_C, G minimises E sp(-D(g)) plus the class term of its images.

    L_S is the log likelihood of the source (real or fake), L_C that of the correct class, both over real and fake
    images. D returns class logits as `classes` [N,K]; G is conditional on `step.labels`.

    Differs from the paper: G's source term is non-saturating; the paper has L_S.

    Args:
        class_weight: weight of the class terms; 1 in the paper.
    """

    class_weight: float

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D.outputs(step.real), step.D.outputs(step.fake)
        return {
            "adversarial": ops.mean(ops.softplus(-real["scores"])) + ops.mean(ops.softplus(fake["scores"])),
            "class_of_real": self.class_weight * _class_cross_entropy(step, real),
            "class_of_fake": self.class_weight * _class_cross_entropy(step, fake),
        }

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        fake = step.D.outputs(step.fake)
        return {
            "adversarial": ops.mean(ops.softplus(-fake["scores"])),
            "class_of_fake": self.class_weight * _class_cross_entropy(step, fake),
        }


def _class_cross_entropy(step: gz.Step, outputs: Mapping[str, Any]) -> Any:
    """The cross-entropy of D's classes against the labels, a scalar."""
    if "classes" not in outputs:
        raise gz.UsageError(
            f"the auxiliary-classifier loss needs a discriminator that returns `classes` [N,K] beside its scores; "
            f"this one returns {', '.join(sorted(outputs))}: pick a model made for it, or another loss"
        )
    if step.labels is None:
        raise gz.UsageError(
            "the auxiliary-classifier loss needs labels, but this mix has none: "
            "pick a conditional model and a dataset with classes"
        )
    return step.ops.cross_entropy(outputs["classes"], step.labels)


@gz.hookimpl
def loss(options: gz.Options) -> gz.Loss:
    class_weight = options["class_weight"]
    if class_weight < 0:
        raise gz.UsageError(f"loss.class_weight is {class_weight:g}; expected a weight of at least 0")
    return AuxiliaryClassifier(class_weight=class_weight)
