"""Write a trained generator into its plugin: in half precision where it draws the same so, in single precision else."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from ganzoo_core.errors import UsageError
from ganzoo_core.runs import layout
from ganzoo_core.runs.folder import read_card
from ganzoo_core.storage import atomic
from ganzoo_core.storage.records import Card
from ganzoo_core.storage.tensors import pack, read_matching

LIMIT = 10_000_000  # bytes of weights that a wheel should carry at most
COMPARED = 64  # images that both precisions draw
ALIKE = 0.5  # grey values by which they may differ in the mean; rounding alone moves some by one
Kernels = Literal["float16", "float32"]


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
    card = read_card(generator)
    tensors = read_matching(generator / layout.WEIGHTS)
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
    from ganzoo_core.generation.load import load

    first, second = (load(path).generate(COMPARED, seed=0).astype(np.int16) for path in (generator, other))
    return float(np.abs(first - second).mean()) <= ALIKE


def _store(folder: Path, card: Card, tensors: Mapping[str, np.ndarray], kind: Kernels) -> int:
    weights = pack(tensors)
    if len(weights) > LIMIT:
        raise UsageError(
            f"the weights are {len(weights):,} bytes; a wheel should carry at most {LIMIT:,}: train a narrower one"
        )
    about = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(card, kernels=kind)), indent=1)
    atomic.write_folder(folder, {layout.WEIGHTS: weights, layout.CARD: about})
    return len(weights)
