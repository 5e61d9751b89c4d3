"""bfloat16 in PyTorch: detect native support, and run the networks' forward passes in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.utils import parametrize

from ganzoo_core.engines import bfloat16
from ganzoo_core.engines.torch.forward import call_network
from ganzoo_core.errors import UsageError


def check_precision(device: torch.device, precision: str) -> None:
    """Raise UsageError where `precision` would be emulated."""
    missing = "" if precision == "float32" else _describe_missing_support(device)
    if missing:
        raise UsageError(bfloat16.make_refusal(missing))


def _describe_missing_support(device: torch.device) -> str:
    """What the device lacks for native bfloat16, in words; "" if nothing."""
    if device.type == "cuda":
        # `torch.cuda.is_bf16_supported` would count emulation as support.
        is_supported = torch.version.hip is not None or torch.cuda.get_device_capability(device)[0] >= 8
        return "" if is_supported else f"{torch.cuda.get_device_name(device)} is older than compute capability 8.0"
    if device.type == "mps":
        is_supported = torch.backends.mps.is_macos_or_newer(14, 0)
        return "" if is_supported else "Apple's GPUs have bfloat16 from macOS 14 on"
    return bfloat16.describe_missing_features(read_cpu_capabilities())


def read_cpu_capabilities() -> Mapping[str, Any]:
    """CPU features from `torch.cpu.get_capabilities`; with an older torch, from Linux."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    known: Mapping[str, Any] = bfloat16.read_cpu_features() if ask is None else ask()
    return known


def forward_in_bfloat16(network: torch.nn.Module, device: torch.device, x: Any, arguments: Mapping[str, Any]) -> Any:
    """Call a network under bfloat16 autocast; the result is float32.

    Weights stay float32, as do the operations that autocast runs in float32, such as batch norm's statistics.
    """
    with torch.autocast(device.type, torch.bfloat16):
        result = call_network(network, x, arguments)
    if isinstance(result, Mapping):
        return {name: _to_float32(tensor) for name, tensor in result.items()}
    return _to_float32(result)


def _to_float32(result: Any) -> Any:
    half = isinstance(result, torch.Tensor) and result.dtype in (torch.bfloat16, torch.float16)
    return result.float() if half else result


def keep_parametrizations_in_float32(network: torch.nn.Module) -> None:
    """Disable autocast in parametrizations, such as spectral norm with its power iteration.

    On CUDA, autocast would compute its matrix-vector products in bfloat16, and the error would persist in its vectors.
    """
    for module in network.modules():
        if type(module) is parametrize.ParametrizationList:
            module.__class__ = _Float32Parametrizations


class _Float32Parametrizations(parametrize.ParametrizationList):
    def forward(self) -> torch.Tensor:
        with torch.autocast(next(self.parameters()).device.type, enabled=False):
            result: torch.Tensor = super().forward()
        return result
