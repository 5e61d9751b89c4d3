"""Pick the device, and move numbers to it without synchronising."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ganzoo_core.distributed.launchers import Launch, choose_gpu
from ganzoo_core.errors import UsageError


def pick_device(device: str) -> str:
    """Return `cuda`, `mps` or `cpu`; `auto` takes the first available. Raise UsageError if it is not available."""
    available_devices: Sequence[str] = [
        name
        for name, available in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()))
        if available
    ]
    if device == "auto":
        return available_devices[0] if available_devices else "cpu"
    if device != "cpu" and device not in available_devices:
        raise UsageError(
            f"{device.upper()} is not available; devices on this machine: {', '.join(['cpu', *available_devices])}"
        )
    return device


def choose_rank_device(device: torch.device, launch: Launch) -> torch.device:
    """The device of this process: a GPU of its own, or the CPU.

    Raises:
        UsageError: if the machine has fewer GPUs than processes.
    """
    if device.type != "cuda":
        return torch.device("cpu") if device.type == "mps" else device  # torch.distributed has no backend for MPS
    index = choose_gpu(launch, torch.cuda.device_count())
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Copy an array to the device.

    A copy from pageable memory to CUDA waits for all work queued on the GPU; one from pinned memory is queued as well.
    """
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def as_scalar(value: float | torch.Tensor, device: torch.device) -> torch.Tensor:
    """A number as a float32 tensor [], filled on the device instead of copied to it; tensors pass unchanged."""
    if isinstance(value, torch.Tensor):
        return value
    return torch.full((), float(value), dtype=torch.float32, device=device)
