"""Inputs of the networks' forward passes: batches, and what the networks are called with beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ganzoo_core.api import Spec
from ganzoo_core.engines.torch.device import as_scalar

Given = Mapping[str, torch.Tensor]
"""What belongs to a batch of reals: `labels` int64 [N], if the networks take them, and conditions by name."""


@dataclass(frozen=True)
class RealBatch:
    """Real images [N,C,H,W] in [-1, 1], and what belongs to them."""

    images: torch.Tensor
    given: Given


@dataclass(frozen=True)
class FakeBatch:
    """Generated images [N,C,H,W], the z [N, latent_dim] and what else they were drawn from, and D's reals."""

    fake: torch.Tensor
    given: Given
    z: torch.Tensor
    real: torch.Tensor | None = None


def call_network(network: Any, x: Any, arguments: Mapping[str, Any]) -> Any:
    """Call a network as the contract of the hooks specifies: labels second, all others by name."""
    named = dict(arguments)
    labels = (named.pop("labels"),) if "labels" in named else ()
    return network(x, *labels, **named)


def make_zero_arguments(spec: Spec, count: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Labels and conditions of zeros, for a network that was built for `spec`."""
    arguments = {"labels": torch.zeros(count, dtype=torch.int64, device=device)} if spec.classes else {}
    for name, shape in spec.conditions.items():
        size = (shape[2], *shape[:2]) if len(shape) == 3 else shape
        arguments[name] = torch.zeros((count, *size), dtype=torch.float32 if size else torch.int64, device=device)
    return arguments


def to_condition(rows: torch.Tensor, memory_format: torch.memory_format) -> torch.Tensor:
    """Rows of a condition as the networks see them: a picture uint8 [N,H,W,C] as float32 [N,C,H,W] in [-1, 1]."""
    if rows.dtype != torch.uint8:
        return rows
    return rows.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous(memory_format=memory_format)


def as_keywords(values: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """The schedule's values as keyword arguments of a network: `resolution` an int, all others tensors."""
    return {name: int(value) if name == "resolution" else as_scalar(value, device) for name, value in values.items()}
