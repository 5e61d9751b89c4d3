"""What a loss is given by the contract's checks instead of the engine's objects, to record what it uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ganzoo_core.api import Ops, Step
from ganzoo_core.engines.loss_memory import LossMemory


class Spy:
    """Record what a loss uses."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.remembered: set[str] = set()
        self.is_differentiating = False


class SpiedStep:
    """A step that records reads of `real` in G's phase."""

    def __init__(self, step: Step, phase: str, spy: Spy) -> None:
        self._step, self._phase, self._spy = step, phase, spy

    def __getattr__(self, name: str) -> Any:
        if name == "real" and self._phase == "generator":
            self._spy.used.add("real_in_generator_step")
        return getattr(self._step, name)


class SpiedMemory(dict[str, Any]):
    """A memory that records which of its names are read and written."""

    def __init__(self, kept: LossMemory, spy: Spy) -> None:
        super().__init__(dict.fromkeys(kept))
        self._kept, self._spy = kept, spy

    def __getitem__(self, name: str) -> Any:
        self._spy.remembered.add(name)
        return self._kept[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._spy.remembered.add(name)
        self._kept[name] = value


class SpiedOutputs(dict[str, Any]):
    """D's outputs; records which are read."""

    spy: Spy

    def __getitem__(self, name: str) -> Any:
        if name != "scores":
            self.spy.used.add(f"{name}_output")
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self:
            return default
        return self[name]


class FixedNoiseOps:
    """An engine's ops, with the same random numbers in every framework."""

    def __init__(self, ops: Ops, tensor: Callable[[np.ndarray], Any], spy: Spy) -> None:
        self._ops, self._tensor, self._spy = ops, tensor, spy

    def uniform(self, shape: Any) -> Any:
        return self._tensor(np.random.default_rng(5).random(tuple(int(n) for n in shape), dtype=np.float32))

    def normal(self, shape: Any) -> Any:
        return self._tensor(np.random.default_rng(5).standard_normal(tuple(int(n) for n in shape), dtype=np.float32))

    def value_and_gradient(self, f: Any, x: Any) -> Any:
        self._spy.is_differentiating = True  # what D says of it is differentiated again
        try:
            return self._ops.value_and_gradient(f, x)
        finally:
            self._spy.is_differentiating = False

    def score_and_gradient(self, D: Any, x: Any) -> Any:
        self._spy.used.add("second_order")
        return self._ops.score_and_gradient(D, x)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ops, name)
