"""A loss that compares what is drawn with its target, in the pair that D saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ganzoo_core as gz


class Paired:
    """Least squares, and the distance from the target; D also sees each image with the source of none."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        wrong = step.D(step.real, source=-step.conditions["source"])
        real, fake = step.D(step.real), step.D(step.fake)
        return {
            "adversarial": ops.mean(ops.square(real - 1)) + ops.mean(ops.square(fake)),
            "mismatched": ops.mean(ops.square(wrong)),
        }

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        return {
            "adversarial": ops.mean(ops.square(step.D(step.fake) - 1)),
            "distance": ops.mean(ops.abs(step.real - step.fake)),
        }


@gz.hookimpl
def loss() -> gz.Loss:
    return Paired()
