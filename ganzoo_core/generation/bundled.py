"""Trained generators bundled in a model plugin's wheel, so that `ganzoo generate MODEL` draws without training.

They are in the plugin's package, in `generators/NAME/`, and the manifest lists the names. Kernels are stored in half
precision, which halves the wheel, if the images then differ by no more than rounding; see `bundling`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.errors import UsageError
from ganzoo_core.runs import generators, layout

FOLDER = "generators"
KERNELS_KEY = "kernels"  # key of a card: the dtype of stored tensors with two or more axes


def find_folder(path: Path, which: str = "last") -> Path:
    """Find a generator's folder by its path or, if there is no such path, by a model's name.

    Args:
        path: see `generators.find_generator`; or `MODEL` or `MODEL:NAME`.
        which: see `generators.find_generator`; only for a run.

    Raises:
        UsageError: if there is none.
    """
    if path.exists():
        return generators.find_generator(path, which)
    folder = find_bundled(str(path))
    if folder is None:
        raise UsageError(
            f"{path} is not there, and no model of this name is installed; name a run's folder, its "
            f"{layout.GENERATOR}/, a snapshot, or a model that carries a trained generator"
        )
    if which != "last":
        raise UsageError(f"the plugin of {path} carries one generator; --checkpoint chooses among those of a run")
    return folder


def find_bundled(word: str) -> Path | None:
    """The folder of a bundled generator, by `MODEL` or `MODEL:NAME`; None if no such model is installed.

    Raises:
        UsageError: if the model has no bundled generator, or none of that name.
    """
    model, _, name = word.partition(":")
    installed = catalog.scan()
    try:
        part = installed.find("models", model)
    except UsageError:
        return None
    if not part.generators:
        raise UsageError(
            f"{part.label} carries no trained generator; train one with `ganzoo run {part.name}`, and name its folder"
        )
    if name and name not in part.generators:
        raise UsageError(f"{part.label} carries no generator called {name!r}; it has {', '.join(part.generators)}")
    return get_bundled_folder(part, name or part.generators[0])


def get_bundled_folder(part: Part, name: str) -> Path:
    """The folder of a model's bundled generator, whether or not it exists."""
    return Path(part.location) / FOLDER / name


def apply_kernel_type(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]], kernel_type: str
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Dtype and shape of each tensor by name, as stored with kernels of this dtype.

    Raises:
        ValueError: for any other type than float16 and float32.
    """
    if kernel_type not in ("float16", "float32"):
        raise ValueError(f"{KERNELS_KEY} {kernel_type!r}")
    return {
        name: (kernel_type if dtype == "float32" and len(shape) > 1 else dtype, shape)
        for name, (dtype, shape) in tensors.items()
    }


def to_float32(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convert half-precision tensors to float32; others are unchanged."""
    return {
        name: tensor.astype(np.float32) if tensor.dtype == np.float16 else tensor for name, tensor in tensors.items()
    }
