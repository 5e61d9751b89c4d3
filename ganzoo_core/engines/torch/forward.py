"""What goes into the networks' forwards: the schedule's values, and what G's phase takes over from D's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ganzoo_core.engines.torch.device import as_scalar


@dataclass(frozen=True)
class FakeBatch:
    """What G's phase takes over from D's: the generated images, their labels and z."""

    fake: torch.Tensor
    labels: torch.Tensor | None
    z: torch.Tensor


def as_keywords(values: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """The schedule's values as a network takes them: `resolution` an int, all others tensors."""
    return {name: int(value) if name == "resolution" else as_scalar(value, device) for name, value in values.items()}
