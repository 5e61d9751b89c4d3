"""bfloat16 in PyTorch: where it is computed natively, and how the networks' forwards run in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import parametrize

from ganzoo_core.api import UsageError

X86 = ("avx512_bf16", "amx_bf16")  # either will do
ARM = ("bf16", "sve_bf16")


def check(device: torch.device, precision: str) -> None:
    """Raise UsageError where `precision` would be emulated."""
    if precision == "float32":
        return
    missing = _missing(device)
    if missing:
        raise UsageError(
            f"engine.precision is {precision}, and {missing}, so it would be emulated, on CPUs 44 to 499 times slower "
            "than float32; leave engine.precision at float32"
        )


def _missing(device: torch.device) -> str:
    """What the device lacks for bfloat16, in words; "" for nothing."""
    if device.type == "cuda":
        # Without emulation, which torch counts as support.
        there = torch.version.hip is not None or torch.cuda.get_device_capability(device)[0] >= 8
        return "" if there else f"{torch.cuda.get_device_name(device)} is older than compute capability 8.0"
    if device.type == "mps":
        there = torch.backends.mps.is_macos_or_newer(14, 0)
        return "" if there else "Apple's GPUs have bfloat16 from macOS 14 on"
    known = capabilities()
    if any(known.get(name) for name in (*X86, *ARM)):
        return ""
    is_arm = str(known.get("architecture", "")).lower().startswith(("arm", "aarch"))
    return f"this processor has {'no BF16 extension' if is_arm else 'neither AVX-512 BF16 nor AMX'}"


def capabilities() -> Mapping[str, Any]:
    """What torch knows of this processor, by the names of `torch.cpu.get_capabilities`."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    if ask is not None:
        known: Mapping[str, Any] = ask()
        return known
    try:  # an older torch knows only of some; Linux lists all
        told = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        told = set()
    # ARM's name for its extension is that of torch.
    return {name: name in told for name in ("avx512_bf16", "amx_bf16", "bf16")}


def forward(network: torch.nn.Module, device: torch.device, *inputs: Any, **values: Any) -> Any:
    """Call a network in bfloat16 where autocast has it; what it returns is float32.

    The weights stay float32, and so does all that autocast thinks delicate, such as batch norm's statistics.
    """
    with torch.autocast(device.type, torch.bfloat16):
        result = network(*inputs, **values)
    if isinstance(result, Mapping):
        return {name: _wide(tensor) for name, tensor in result.items()}
    return _wide(result)


def _wide(result: Any) -> Any:
    half = isinstance(result, torch.Tensor) and result.dtype in (torch.bfloat16, torch.float16)
    return result.float() if half else result


def keep_parametrizations(network: torch.nn.Module) -> None:
    """Let what computes a weight from others, such as spectral norm's power iteration, stay out of autocast.

    On CUDA autocast would take its matrix-vector products in bfloat16, and its vectors would keep that error.
    """
    for module in network.modules():
        if type(module) is parametrize.ParametrizationList:
            module.__class__ = _InFloat32


class _InFloat32(parametrize.ParametrizationList):
    def forward(self) -> torch.Tensor:
        with torch.autocast(next(self.parameters()).device.type, enabled=False):
            result: torch.Tensor = super().forward()
        return result
