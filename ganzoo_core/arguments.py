"""Check whole numbers and seeds passed from Python; raise UsageError for bad ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value


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
