"""Numbers on their way to the device, without making it wait."""

from __future__ import annotations

import numpy as np
import torch


def carried(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array as a tensor on the device.

    A copy to CUDA from ordinary memory waits until all that was asked of the GPU before is done; one from pinned
    memory takes its turn.
    """
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def scalar(value: float | torch.Tensor, device: torch.device) -> torch.Tensor:
    """A number as a float32 tensor [], filled on the device rather than copied to it; a tensor stays as it is."""
    if isinstance(value, torch.Tensor):
        return value
    return torch.full((), float(value), dtype=torch.float32, device=device)
