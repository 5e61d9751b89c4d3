"""Inputs of the networks' forward passes: schedule values, and the fake batch that D's phase shares with G's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ganzoo_core.engines.torch.device import as_scalar


@dataclass(frozen=True)
class FakeBatch:
    """Generated images [N,C,H,W], with their labels [N] and z [N, latent_dim]."""

    fake: torch.Tensor
    labels: torch.Tensor | None
    z: torch.Tensor


def as_keywords(values: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """The schedule's values as keyword arguments of a network: `resolution` an int, all others tensors."""
    return {name: int(value) if name == "resolution" else as_scalar(value, device) for name, value in values.items()}
