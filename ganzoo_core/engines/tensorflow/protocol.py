"""Protocols of this engine's classes, so that its files need not import each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ganzoo_core.api import Memory, Spec
from ganzoo_core.engines.tensorflow.process_group import TensorFlowProcessGroup


class TrainingEngine(Protocol):
    """See `engine.Engine`."""

    framework: str
    device: str
    precision: str
    compile: bool
    tell: Callable[[str], None]
    group: TensorFlowProcessGroup | None

    def grow(self, network: Any, values: Mapping[str, float], *, spec: Spec, slot: str, seed: int) -> None: ...


class TrainedNetworks(Protocol):
    """See `trainer.Trainer`."""

    G: Any
    D: Any
    ema: Any
    phases: Any
    declared_memory: Mapping[str, Memory]
    memory: dict[str, Any]
    group: TensorFlowProcessGroup | None
