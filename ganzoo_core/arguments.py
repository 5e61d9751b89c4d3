"""Whole numbers, seeds, labels and images as they are given in Python: checked, and refused in a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value

MAX_CLASSES = 100_000


def is_integer(number: object) -> bool:
    """Whether it is an int of Python or numpy; True and False are none."""
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def check_count(name: str, number: Any, what: str, *, least: int = 1, most: int | None = None) -> None:
    """Raise UsageError for what is no whole number from `least` to `most`, where there is one."""
    if not is_integer(number) or number < least or (most is not None and number > most):
        bounds = f", {least} or more" if most is None else f" from {least} to {most:,}"
        raise UsageError(f"{name} is {format_value(number)}; expected a whole number of {what}{bounds}")


def check_seed(seed: Any) -> None:
    """Raise UsageError for what is no whole number from 0 to 2^63 - 1."""
    if not is_integer(seed) or not 0 <= seed < 2**63:
        raise UsageError(f"the seed is {format_value(seed)}; expected a whole number from 0 to 2^63 - 1")


def read_labels(labels: Any, expected: str, *, count: int, classes: int = MAX_CLASSES) -> np.ndarray:
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
        raise UsageError(f"labels are {format_value(labels)}; {expected}") from None
    if (
        found.dtype.kind not in "iu"
        or found.shape != (count,)
        or not count
        or found.min() < 0
        or found.max() >= classes
    ):
        raise UsageError(f"labels are {format_value(labels)}; {expected}")
    return found.astype(np.int64)
