"""What scores depend on beside their images: how these are resized, and the versions of what computes them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import re

import numpy as np

from ganzoo_core.data.framing import Framing, apply_framing

RESIZER = "Lanczos with antialiasing, as Pillow has it"


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
