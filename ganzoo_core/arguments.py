"""Whole numbers, seeds, labels and images as they are given in Python: checked, and refused in a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganzoo_core.api import DataError, Images, ImageSource, UsageError
from ganzoo_core.settings import shown

MOST_CLASSES = 100_000


def is_whole(number: object) -> bool:
    """Whether it is an int of Python or numpy; True and False are none."""
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def check_count(name: str, number: Any, what: str, *, least: int = 1, most: int | None = None) -> None:
    """Raise UsageError for what is no whole number from `least` to `most`, where there is one."""
    if not is_whole(number) or number < least or (most is not None and number > most):
        bounds = f", {least} or more" if most is None else f" from {least} to {most:,}"
        raise UsageError(f"{name} is {shown(number)}; expected a whole number of {what}{bounds}")


def check_seed(seed: Any) -> None:
    """Raise UsageError for what is no whole number from 0 to 2^63 - 1."""
    if not is_whole(seed) or not 0 <= seed < 2**63:
        raise UsageError(f"the seed is {shown(seed)}; expected a whole number from 0 to 2^63 - 1")


def read_labels(labels: Any, expected: str, *, count: int, classes: int = MOST_CLASSES) -> np.ndarray:
    """Labels of whatever integers -> int64 [N].

    Args:
        labels: a list, or an array.
        expected: what is said of others: `expected 2 whole numbers from 0 to 9`.
        count: N.
        classes: they are below it.

    Raises:
        UsageError: for fractions, truth values, text, another shape, or numbers that are no classes.
    """
    try:
        found = np.asarray(labels)
    except (TypeError, ValueError, OverflowError):  # lists of unequal lengths
        raise UsageError(f"labels are {shown(labels)}; {expected}") from None
    if (
        found.dtype.kind not in "iu"
        or found.shape != (count,)
        or not count
        or found.min() < 0
        or found.max() >= classes
    ):
        raise UsageError(f"labels are {shown(labels)}; {expected}")
    return found.astype(np.int64)


def check_source(source: ImageSource) -> None:
    """Raise DataError unless shapes, types and labels of a source are as `ImageSource` describes them."""
    images, labels, sizes = source.images, source.labels, source.sizes
    if not isinstance(images, np.ndarray | Images) or images.dtype != np.uint8 or images.ndim != 4:
        found = f"{images.dtype} {list(images.shape)}" if isinstance(images, Images) else type(images).__name__
        raise DataError(f"images are {found}; expected a uint8 array [N,H,W,C]")
    if images.shape[3] not in (1, 3):
        raise DataError(f"images have {images.shape[3]} channels; expected 1 (grey) or 3 (RGB)")
    if 0 in images.shape:
        raise DataError(f"images have the shape {list(images.shape)}: there is nothing to train on")
    if sizes is not None and (
        not isinstance(sizes, np.ndarray)
        or sizes.dtype != np.int64
        or sizes.shape != (len(images), 2)
        or sizes.min() < 1
    ):
        raise DataError(f"sizes must be an int64 array [N,2] with N = {len(images)}: height and width of each, above 0")
    for name, number in (("held_out", source.held_out or 0), ("skipped", source.skipped)):
        if not is_whole(number) or number < 0:
            raise DataError(f"{name} is {shown(number)}; expected a whole number of images, 0 or more")
    if labels is None:
        return
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        raise DataError(f"labels must be an int64 array [N] with N = {len(images)}, one for each image")
    if len(source.class_names) == 0:
        raise DataError("images with labels need `class_names`, one name for each class")
    if labels.min() < 0 or labels.max() >= len(source.class_names):
        raise DataError(
            f"labels run from {labels.min()} to {labels.max()}, but there are {len(source.class_names)} class names; "
            f"labels must be 0 to {len(source.class_names) - 1}"
        )
