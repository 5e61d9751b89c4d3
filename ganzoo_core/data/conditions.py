"""Conditions: rows of data that belong to the images, and that networks are called with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ganzoo_core.api import Images
from ganzoo_core.messages import pluralise
from ganzoo_core.randomness import philox

Rows = Images | np.ndarray
"""float32 [N,F], int64 [N], or pictures uint8 [N,H,W,C], which may be read on demand."""
Conditions = Mapping[str, Rows]


def is_picture(rows: Rows) -> bool:
    """Whether each row is a picture [H,W,C]."""
    return rows.ndim == 4


def map_pictures(conditions: Conditions, size: tuple[int, int], change: Callable[[Rows], Rows]) -> dict[str, Rows]:
    """Change the pictures of one height and width, such as that of the images; other conditions stay as they are."""
    return {
        name: change(rows) if is_picture(rows) and tuple(rows.shape[1:3]) == size else rows
        for name, rows in conditions.items()
    }


def take_rows(conditions: Conditions, index: Any, select_pictures: Callable[[Images, Any], Images]) -> dict[str, Rows]:
    """The rows at an index of every condition; pictures are selected by a function, which may leave them on disk."""
    return {
        name: select_pictures(rows, index) if is_picture(rows) else np.asarray(rows)[index]
        for name, rows in conditions.items()
    }


def read_rows(conditions: Conditions, index: Any, names: Collection[str]) -> dict[str, np.ndarray]:
    """The rows at an index of the named conditions, in memory."""
    return {name: np.asarray(conditions[name][index]) for name in names}


def make_random_rows(shapes: Mapping[str, tuple[int, ...]], count: int, seed: int) -> dict[str, np.ndarray]:
    """Rows drawn at random, to try a network with: soft noise, normal numbers, and zeros for whole numbers.

    Args:
        shapes: name -> shape of one row; see `api.Spec.conditions`.
        count: N.
        seed: of the numbers.
    """
    rng = philox(seed, "random conditions")

    def make_rows(shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) < 2:
            return rng.standard_normal((count, *shape), dtype=np.float32) if shape else np.zeros(count, np.int64)
        height, width, channels = shape
        coarse = rng.integers(0, 256, (count, -(-height // 4), -(-width // 4), channels), dtype=np.uint8)
        return coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]

    return {name: make_rows(shape) for name, shape in sorted(shapes.items())}


def describe_shapes(conditions: Conditions) -> dict[str, tuple[int, ...]]:
    """Name -> the shape of one row; see `api.Spec.conditions`."""
    return {name: tuple(map(int, rows.shape[1:])) for name, rows in conditions.items()}


def format_shape(shape: Sequence[int]) -> str:
    """Format the shape of one row: `32×32×1` (height, width, channels), `4 numbers`, or `a whole number`."""
    if len(shape) == 1:
        return pluralise(shape[0], "number")
    return "×".join(map(str, shape)) or "a whole number"
