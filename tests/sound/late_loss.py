"""A loss that is another after a number of steps."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import ganzoo_core as gz


class Late:
    """The inner loss, whose terms of D are multiplied after `begin` steps."""

    def __init__(self, inner: gz.Loss, *, begin: float, factor: float) -> None:
        self.inner, self.begin, self.factor = inner, begin, factor
        self.memory = {"late_steps": 0.0}

    def discriminator(self, step: gz.Step) -> dict[str, Any]:
        taken = step.memory["late_steps"]
        step.memory["late_steps"] = taken + 1
        factor = 1 + (self.factor - 1) * (taken >= self.begin)
        return {name: term * factor for name, term in self.inner.discriminator(step).items()}

    def generator(self, step: gz.Step) -> dict[str, Any]:
        return dict(self.inner.generator(step))


@gz.hookimpl(wrapper=True)
def loss(modifiers: dict[str, gz.Options]) -> Generator[None, gz.Loss, gz.Loss]:
    inner = yield
    if "late-exponent" in modifiers:
        return Late(inner, begin=2.0 ** modifiers["late-exponent"]["exponent"], factor=2.0)
    own = modifiers["late-loss"]
    return Late(inner, begin=own["steps"], factor=own["factor"])
