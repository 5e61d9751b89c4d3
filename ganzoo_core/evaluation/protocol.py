"""What scores depend on beside their images: how these are resized, and the versions of what computes them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
from typing import Any

import numpy as np

from ganzoo_core.data.framing import Framing, apply_framing
from ganzoo_core.engines.threads import describe_machine
from ganzoo_core.frameworks import FRAMEWORKS

RESIZER = "Lanczos with antialiasing, as Pillow has it"
# Environment variables by which libraries choose their threads, kernels and devices.
ARITHMETIC_VARIABLES = (
    "ATEN_CPU_CAPABILITY", "CUDA_VISIBLE_DEVICES", "DNNL_MAX_CPU_ISA", "KMP_AFFINITY", "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS", "MKL_NUM_THREADS", "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS", "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)  # fmt: skip


def resize_images(pictures: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Resize images [N,H,W,C] to `shape`, (height, width, channels) of the data."""
    natural, target = (pictures.shape[1], pictures.shape[2]), (shape[0], shape[1])
    framing = Framing(natural, target, "none" if natural == target else "resize")
    return apply_framing(pictures, framing, shape[2])


def collect_versions(distributions: set[str]) -> dict[str, str]:
    """Versions of Python, numpy, these distributions and their direct dependencies."""
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    for distribution in sorted(distributions):
        lines: list[str] = []
        with contextlib.suppress(Exception):  # other people's metadata
            lines = importlib.metadata.requires(distribution) or []
            versions[distribution] = importlib.metadata.version(distribution)
        for line in lines:
            match = re.match(r"[\w.-]+", line)
            if match and "extra ==" not in line:
                with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                    versions[match[0]] = importlib.metadata.version(match[0])
    return versions


def describe_arithmetic(distribution: str) -> dict[str, Any]:
    """What decides the last bits of what a plugin computes: versions, the frameworks loaded, processor and threads.

    Args:
        distribution: of the plugin.
    """
    frameworks = {name for framework in FRAMEWORKS.values() for name in framework.distributions}
    return {
        "versions": collect_versions({distribution, "ganzoo-core"}) | _find_versions(frameworks),
        "loaded": [name for name, framework in FRAMEWORKS.items() if framework.is_imported()],
        "machine": describe_machine(),
        "environment": {name: os.environ[name] for name in ARITHMETIC_VARIABLES if name in os.environ},
    }


def _find_versions(distributions: set[str]) -> dict[str, str]:
    """Versions of those of these distributions that are installed."""
    versions = {}
    for distribution in sorted(distributions):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[distribution] = importlib.metadata.version(distribution)
    return versions
