"""Which CPUs compute in bfloat16 rather than emulate it, and the words of a refusal where one does not."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

X86_FEATURES = ("avx512_bf16", "amx_bf16")  # either will do
ARM_FEATURES = ("bf16", "sve_bf16")


def read_cpu_features() -> Mapping[str, Any]:
    """What Linux lists of this processor, by the names above; elsewhere that it has none of it."""
    try:
        told = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        told = set()
    found: dict[str, Any] = {name: name in told for name in (*X86_FEATURES, *ARM_FEATURES)}
    # The ARM extension for vectors of any length goes by the name svebf16 there.
    return {**found, "sve_bf16": "svebf16" in told, "architecture": platform.machine()}


def describe_missing_features(features: Mapping[str, Any]) -> str:
    """What a CPU of which this is known lacks, in words; "" where it computes in bfloat16."""
    if any(features.get(name) for name in (*X86_FEATURES, *ARM_FEATURES)):
        return ""
    is_arm = str(features.get("architecture", "")).lower().startswith(("arm", "aarch"))
    return f"this processor has {'no BF16 extension' if is_arm else 'neither AVX-512 BF16 nor AMX'}"


def make_refusal(missing: str) -> str:
    """The sentence for a user whose device lacks that."""
    return (
        f"engine.precision is bfloat16, and {missing}, so it would be emulated, on CPUs 44 to 499 times slower "
        "than float32; leave engine.precision at float32"
    )
