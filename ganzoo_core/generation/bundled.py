"""Generators that a model's plugin carries in its wheel, so that `ganzoo generate MODEL` draws without any training.

They lie in the plugin's package as `generators/NAME/`, and the manifest lists the names. Kernels are stored in half
precision, which halves the wheel, where that draws the same but for a grey value here and there.
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
KERNELS_KEY = "kernels"  # of a card: the type in which tensors of two axes or more are stored


def find_folder(path: Path, which: str = "last") -> Path:
    """The folder of the generator that is meant by a path, or else by a model's name.

    Args:
        path: see `generators.find_generator`; or MODEL, or MODEL:NAME.
        which: one of a run's.

    Raises:
        UsageError: if there is none.
    """
    if path.exists():
        return generators.find_generator(path, which)
    found = find_bundled(str(path))
    if found is None:
        raise UsageError(
            f"{path} is not there, and no model of this name is installed; name a run's folder, its "
            f"{layout.GENERATOR}/, a snapshot, or a model that carries a trained generator"
        )
    if which != "last":
        raise UsageError(f"the plugin of {path} carries one generator; --checkpoint chooses among those of a run")
    return found


def find_bundled(word: str) -> Path | None:
    """The folder of the generator that is meant by MODEL or MODEL:NAME; None if no installed model is called so.

    Raises:
        UsageError: if the model carries none, or none of that name.
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
    """Where a model's plugin keeps the generator of that name."""
    return Path(part.location) / FOLDER / name


def apply_kernel_type(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]], kernel_type: str
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> dtype and shape as they are stored where kernels are of this type.

    Raises:
        ValueError: for a type that is none.
    """
    if kernel_type not in ("float16", "float32"):
        raise ValueError(f"{KERNELS_KEY} {kernel_type!r}")
    return {
        name: (kernel_type if dtype == "float32" and len(shape) > 1 else dtype, shape)
        for name, (dtype, shape) in tensors.items()
    }


def to_float32(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Half precision -> float32, the rest as it is."""
    return {
        name: tensor.astype(np.float32) if tensor.dtype == np.float16 else tensor for name, tensor in tensors.items()
    }
