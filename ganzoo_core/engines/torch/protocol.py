"""Protocols of this engine's classes, so that its files need not import each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import torch

from ganzoo_core.api import Loss, Memory
from ganzoo_core.engines.plan import Plan
from ganzoo_core.engines.torch.ops import TorchOps

if TYPE_CHECKING:
    from ganzoo_core.engines.torch.process_group import TorchProcessGroup


class TrainingEngine(Protocol):
    """See `engine.Engine`."""

    device: torch.device
    memory_format: torch.memory_format
    precision: str
    group: TorchProcessGroup | None
    ops: TorchOps
    tell: Callable[[str], None]

    def grow(self, network: Any, resolution: int, *, slot: str, seed: int) -> None: ...
    def use_seed(self, seed: int, purpose: str, *indices: int) -> AbstractContextManager[None]: ...
    def forward(self, network: torch.nn.Module, x: Any, arguments: Mapping[str, Any]) -> Any: ...
    def step_functions(self, trainer: TrainedNetworks) -> tuple[Callable[..., Any], Callable[..., Any]]: ...


class TrainedNetworks(Protocol):
    """See `trainer.Trainer`."""

    engine: TrainingEngine
    plan: Plan
    loss: Loss
    ops: TorchOps
    G: Any
    D: Any
    ema: Any
    declared_memory: Mapping[str, Memory]
    memory: dict[str, torch.Tensor]
    group: TorchProcessGroup | None
    g_params: list[torch.Tensor]
    d_params: list[torch.Tensor]
    g_optimizer: torch.optim.Optimizer
    d_optimizer: torch.optim.Optimizer
