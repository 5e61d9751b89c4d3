"""The device: which one it is, and numbers on their way to it, without making it wait."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ganzoo_core.errors import UsageError


def pick_device(device: str) -> str:
    """`cuda`, `mps` or `cpu`, where `auto` takes the first that is there; raises UsageError for one that is not."""
    there: Sequence[str] = [
        name
        for name, available in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()))
        if available
    ]
    if device == "auto":
        return there[0] if there else "cpu"
    if device != "cpu" and device not in there:
        raise UsageError(f"{device.upper()} is not available; devices on this machine: {', '.join(['cpu', *there])}")
    return device


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array as a tensor on the device.

    A copy to CUDA from ordinary memory waits until all that was asked of the GPU before is done; one from pinned
    memory takes its turn.
    """
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def as_scalar(value: float | torch.Tensor, device: torch.device) -> torch.Tensor:
    """A number as a float32 tensor [], filled on the device rather than copied to it; a tensor stays as it is."""
    if isinstance(value, torch.Tensor):
        return value
    return torch.full((), float(value), dtype=torch.float32, device=device)
