"""Check whole numbers, seeds and labels passed from Python; raise UsageError for bad ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value

MAX_CLASSES = 100_000


def is_integer(number: object) -> bool:
    """Whether it is a Python or numpy integer; booleans do not count."""
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def check_count(name: str, number: Any, what: str, *, least: int = 1, most: int | None = None) -> None:
    """Raise UsageError unless `number` is a whole number from `least` to `most`; `most` None means no upper bound."""
    if not is_integer(number) or number < least or (most is not None and number > most):
        bounds = f", {least} or more" if most is None else f" from {least} to {most:,}"
        raise UsageError(f"{name} is {format_value(number)}; expected a whole number of {what}{bounds}")


def check_seed(seed: Any) -> None:
    """Raise UsageError unless the seed is a whole number from 0 to 2^63 - 1."""
    if not is_integer(seed) or not 0 <= seed < 2**63:
        raise UsageError(f"the seed is {format_value(seed)}; expected a whole number from 0 to 2^63 - 1")


def read_labels(labels: Any, expected: str, *, count: int, classes: int = MAX_CLASSES) -> np.ndarray:
    """Convert integer labels to int64 [N].

    Args:
        labels: a list, or an array.
        expected: the end of the error message, such as `expected 2 whole numbers from 0 to 9`.
        count: N.
        classes: the number of classes; labels must be from 0 to `classes - 1`.

    Raises:
        UsageError: for fractions, booleans, text, another shape, or numbers outside that range.
    """
    try:
        array = np.asarray(labels)
    except (TypeError, ValueError, OverflowError):  # lists of unequal lengths
        raise UsageError(f"labels are {format_value(labels)}; {expected}") from None
    if (
        array.dtype.kind not in "iu"
        or array.shape != (count,)
        or not count
        or array.min() < 0
        or array.max() >= classes
    ):
        raise UsageError(f"labels are {format_value(labels)}; {expected}")
    return array.astype(np.int64)
