"""Write a trained generator into its plugin, in half precision if that does not change its images, else in single."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from ganzoo_core.data.conditions import make_random_rows
from ganzoo_core.errors import UsageError
from ganzoo_core.runs import layout
from ganzoo_core.runs.folder import read_card
from ganzoo_core.storage import atomic
from ganzoo_core.storage.records import Card
from ganzoo_core.storage.tensors import pack_tensors, read_all_tensors

MAX_WEIGHT_BYTES = 10_000_000  # limit of a generator's weights in a wheel
COMPARED_IMAGES = 64  # images drawn in both precisions
MAX_MEAN_DIFFERENCE = 0.5  # mean absolute difference in grey values; rounding alone changes some by one
KernelType = Literal["float16", "float32"]


def write_bundle(generator: Path, folder: Path) -> int:
    """Copy a saved generator, with its kernels in half precision if that does not change its images.

    Args:
        generator: its folder; see `generators.find_generator`.
        folder: destination of the copy.

    Returns:
        The size of its weights in bytes.

    Raises:
        UsageError: if they exceed `MAX_WEIGHT_BYTES`; nothing is written then.
        OSError: if the disk refuses.
    """
    card = read_card(generator)
    tensors = read_all_tensors(generator / layout.WEIGHTS)
    halved = to_half_precision(tensors)
    if halved is not None:
        with tempfile.TemporaryDirectory() as temporary:
            _store(Path(temporary) / "halved", card, halved, "float16")
            if not is_equivalent(generator, Path(temporary) / "halved"):
                halved = None
    if halved is None:
        return _store(folder, card, tensors, "float32")
    return _store(folder, card, halved, "float16")


def to_half_precision(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """Convert float32 tensors with two or more axes to float16, others unchanged; None if a number overflows."""
    with np.errstate(over="ignore"):
        halved = {
            name: tensor.astype(np.float16) if tensor.dtype == np.float32 and tensor.ndim > 1 else tensor
            for name, tensor in tensors.items()
        }
    return halved if all(np.isfinite(tensor).all() for tensor in halved.values()) else None


def is_equivalent(generator: Path, other: Path) -> bool:
    """Whether two saved generators draw the same images from the same noise and the same random conditions, up to a
    mean absolute difference of `MAX_MEAN_DIFFERENCE` grey values."""
    from ganzoo_core.generation.load import load

    loaded = [load(path) for path in (generator, other)]
    on = make_random_rows(loaded[0].spec.conditions, COMPARED_IMAGES, seed=0) or None
    first, second = (each.generate(COMPARED_IMAGES, seed=0, on=on).astype(np.int16) for each in loaded)
    return float(np.abs(first - second).mean()) <= MAX_MEAN_DIFFERENCE


def _store(folder: Path, card: Card, tensors: Mapping[str, np.ndarray], kernel_type: KernelType) -> int:
    weights = pack_tensors(tensors)
    if len(weights) > MAX_WEIGHT_BYTES:
        raise UsageError(
            f"the weights are {len(weights):,} bytes; a wheel should carry at most {MAX_WEIGHT_BYTES:,}: train a "
            "narrower one"
        )
    card_json = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(card, kernels=kernel_type)), indent=1)
    atomic.write_folder(folder, {layout.WEIGHTS: weights, layout.CARD: card_json})
    return len(weights)
