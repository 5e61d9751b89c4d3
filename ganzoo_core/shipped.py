"""Generators that a model's plugin carries in its wheel, so that `ganzoo generate MODEL` draws without any training.

They lie in the plugin's package as `generators/NAME/`, and the manifest lists the names. Kernels are stored in half
precision, which halves the wheel, where that draws the same but for a grey value here and there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from ganzoo_core import catalog, checkpoint, generators, rundir
from ganzoo_core.api import UsageError
from ganzoo_core.manifest import Part
from ganzoo_core.records import Card

FOLDER = "generators"
LIMIT = 10_000_000  # bytes of weights that a wheel should carry at most
HALVED = "kernels"  # of a card: the type in which tensors of two axes or more are stored
COMPARED = 64  # images that both precisions draw
ALIKE = 0.5  # grey values by which they may differ in the mean; rounding alone moves some by one

Kernels = Literal["float16", "float32"]


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
    """Copy a saved generator, with its kernels in half precision if it draws the same so.

    Args:
        generator: its folder, see `generators.find_generator`.
        folder: where the copy will be.

    Returns:
        The bytes of its weights.

    Raises:
        UsageError: if they are over LIMIT; then nothing is written.
        OSError: if the disk refuses.
    """
    card = rundir.read_card(generator)
    tensors = checkpoint.read_matching(generator / rundir.WEIGHTS)
    halved = halve(tensors)
    if halved is not None:
        with tempfile.TemporaryDirectory() as place:
            _store(Path(place) / "halved", card, halved, "float16")
            if not draw_alike(generator, Path(place) / "halved"):
                halved = None
    if halved is None:
        return _store(folder, card, tensors, "float32")
    return _store(folder, card, halved, "float16")


def halve(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """Tensors of two axes or more in half precision, the rest as it is; None if one holds numbers too large for it."""
    with np.errstate(over="ignore"):
        halved = {
            name: tensor.astype(np.float16) if tensor.dtype == np.float32 and tensor.ndim > 1 else tensor
            for name, tensor in tensors.items()
        }
    return halved if all(np.isfinite(tensor).all() for tensor in halved.values()) else None


def draw_alike(generator: Path, other: Path) -> bool:
    """Whether two saved generators draw the same from the same noise, to `ALIKE` grey values of 255 in the mean."""
    from ganzoo_core.session import load

    first, second = (load(path).generate(COMPARED, seed=0).astype(np.int16) for path in (generator, other))
    return float(np.abs(first - second).mean()) <= ALIKE


def _store(folder: Path, card: Card, tensors: Mapping[str, np.ndarray], kind: Kernels) -> int:
    weights = checkpoint.pack(tensors)
    if len(weights) > LIMIT:
        raise UsageError(
            f"the weights are {len(weights):,} bytes; a wheel should carry at most {LIMIT:,}: train a narrower one"
        )
    about = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(card, kernels=kind)), indent=1)
    checkpoint.write_folder(folder, {rundir.WEIGHTS: weights, rundir.CARD: about})
    return len(weights)
