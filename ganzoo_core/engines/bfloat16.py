"""Detect CPUs with native bfloat16: the note that offers it there, and the error where it would be emulated."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

X86_FEATURES = ("avx512_bf16", "amx_bf16")  # either suffices
ARM_FEATURES = ("bf16", "sve_bf16")


def read_cpu_features() -> Mapping[str, Any]:
    """CPU features as Linux lists them: each name above -> bool, and `architecture`; all False on other systems."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        words = set()
    features: dict[str, Any] = {name: name in words for name in (*X86_FEATURES, *ARM_FEATURES)}
    # Linux spells sve_bf16, the extension for scalable vectors, without the underscore.
    return {**features, "sve_bf16": "svebf16" in words, "architecture": platform.machine()}


def describe_missing_features(features: Mapping[str, Any]) -> str:
    """What a CPU with these features lacks for native bfloat16, in words; "" if nothing."""
    if any(features.get(name) for name in (*X86_FEATURES, *ARM_FEATURES)):
        return ""
    is_arm = str(features.get("architecture", "")).lower().startswith(("arm", "aarch"))
    return f"this processor has {'no BF16 extension' if is_arm else 'neither AVX-512 BF16 nor AMX'}"


def make_offer(preset: str, speedup: float) -> str:
    """The note for a run in float32 whose preset was measured to train `speedup` times as fast in bfloat16."""
    return (
        f"this processor supports bfloat16; the model's author measured that the preset {preset} trains {speedup:.3g} "
        "times as fast in it, and that the model learns as well; --set engine.precision=bfloat16 turns it on"
    )


def make_refusal(missing: str) -> str:
    """The error message for a device without native bfloat16; `missing` says what it lacks."""
    return (
        f"engine.precision is bfloat16, and {missing}, so it would be emulated, on CPUs 44 to 499 times slower "
        "than float32; leave engine.precision at float32"
    )
