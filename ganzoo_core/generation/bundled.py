"""Generators that a model's plugin carries in its wheel, so that `ganzoo generate MODEL` draws without any training.

They lie in the plugin's package as `generators/NAME/`, and the manifest lists the names. Kernels are stored in half
precision: that halves the wheel, and moves a grey value here and there by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.errors import UsageError
from ganzoo_core.runs import generators, layout
from ganzoo_core.runs.folder import read_card
from ganzoo_core.storage import atomic
from ganzoo_core.storage.tensors import pack, read_matching

FOLDER = "generators"
LIMIT = 10_000_000  # bytes of weights that a wheel should carry at most
HALVED = "kernels"  # of a card: the type in which tensors of two axes or more are stored


def locate(path: Path, which: str = "last") -> Path:
    """The folder of the generator that is meant by a path, or else by a model's name.

    Args:
        path: see `generators.find_generator`; or MODEL, or MODEL:NAME.
        which: one of a run's.

    Raises:
        UsageError: if there is none.
    """
    if path.exists():
        return generators.find_generator(path, which)
    found = find(str(path))
    if found is None:
        raise UsageError(
            f"{path} is not there, and no model of this name is installed; name a run's folder, its generator/, a "
            "snapshot, or a model that carries a trained generator"
        )
    if which != "last":
        raise UsageError(f"the plugin of {path} carries one generator; --checkpoint chooses among those of a run")
    return found


def find(word: str) -> Path | None:
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
            f"{part.by} carries no trained generator; train one with `ganzoo run {part.name}`, and name its folder"
        )
    if name and name not in part.generators:
        raise UsageError(f"{part.by} carries no generator called {name!r}; it has {', '.join(part.generators)}")
    return place(part, name or part.generators[0])


def place(part: Part, name: str) -> Path:
    """Where a model's plugin keeps the generator of that name."""
    return Path(part.location) / FOLDER / name


def stored(expected: Mapping[str, tuple[str, tuple[int, ...]]], kind: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> dtype and shape as they are stored where kernels are of this type.

    Raises:
        ValueError: for a type that is none.
    """
    if kind not in ("float16", "float32"):
        raise ValueError(f"{HALVED} {kind!r}")
    return {
        name: (kind if dtype == "float32" and len(shape) > 1 else dtype, shape)
        for name, (dtype, shape) in expected.items()
    }


def widened(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Half precision -> float32, the rest as it is."""
    return {
        name: tensor.astype(np.float32) if tensor.dtype == np.float16 else tensor for name, tensor in tensors.items()
    }


def write(generator: Path, folder: Path) -> int:
    """Copy a saved generator with its kernels in half precision.

    Args:
        generator: its folder, see `generators.find_generator`.
        folder: where the copy will be.

    Returns:
        The bytes of its weights.

    Raises:
        UsageError: if they are over LIMIT, or a kernel is too large for half precision; then nothing is written.
        OSError: if the disk refuses.
    """
    card = msgspec.structs.replace(read_card(generator), kernels="float16")
    tensors = read_matching(generator / layout.WEIGHTS)
    with np.errstate(over="ignore"):  # told of below
        halved = {
            name: tensor.astype(np.float16) if tensor.dtype == np.float32 and tensor.ndim > 1 else tensor
            for name, tensor in tensors.items()
        }
    for name, tensor in halved.items():
        if not np.isfinite(tensor).all():
            raise UsageError(f"{generator}: {name} holds numbers that half precision cannot; it cannot be shipped so")
    weights = pack(halved)
    if len(weights) > LIMIT:
        raise UsageError(
            f"the weights are {len(weights):,} bytes in half precision; a wheel should carry at most {LIMIT:,}: "
            "train a narrower one"
        )
    about = msgspec.json.format(msgspec.json.encode(card), indent=1)
    atomic.write_folder(folder, {layout.WEIGHTS: weights, layout.CARD: about})
    return len(weights)
