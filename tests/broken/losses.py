"""Losses that are each broken in one way; the part's name is the check that must catch it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import ganzoo_core as gz


class Broken:
    """The non-saturating loss, but for one thing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.memory = {"mean": np.zeros(3, np.float32)} if name == "memory" else {}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops, name = step.ops, self.name
        real, fake = step.D(step.real), step.D(step.fake)
        if name == "decision":
            real, fake = fake, real
        adversarial = ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))
        if name == "terms":
            adversarial = adversarial * float("inf")
        if name == "agreement" and not type(real).__module__.startswith("numpy"):
            adversarial = adversarial * 1.001
        terms = {"adversarial": adversarial}
        if name == "rounds" and step.step % 2 == 0:
            terms["drift"] = ops.mean(ops.square(real))
        if name == "memory":
            step.memory["mean"] = ops.mean(real)
        if name == "penalty":
            _, gradient = ops.score_and_gradient(step.D, step.real)
            terms["gradient_penalty"] = ops.stop_gradient(ops.mean(ops.square(gradient)))
        return terms

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        adversarial = ops.mean(ops.softplus(-step.D(step.fake)))
        if self.name == "needs":
            adversarial = adversarial + ops.mean(step.D(step.real))
        if self.name == "learns":
            adversarial = ops.stop_gradient(adversarial) + 0 * adversarial
        return {"adversarial": adversarial}


@gz.hookimpl
def loss(name: str) -> Broken:
    return Broken(name)
