"""How far what was compiled is from what it should be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RTOL = {"float32": 1e-4, "bfloat16": 5e-2}  # by precision: what `apart` may be


def apart(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest difference of two lists of arrays, each by the norm of what it should be.

    A gradient that is zero but for rounding, such as that of a bias before batch norm, has no norm to speak of:
    a tenth of the whole list's counts at least. NaN where anything is; infinity for lists of two lengths.
    """
    if len(found) != len(expected):
        return float("inf")
    norms = [float(np.linalg.norm(array.astype(np.float64))) for array in expected]
    least = max(float(np.linalg.norm(norms)) / 10, 1e-30)
    return max(
        (
            float(np.linalg.norm(a.astype(np.float64) - b.astype(np.float64))) / max(norm, least)
            for a, b, norm in zip(found, expected, norms, strict=True)
        ),
        key=lambda value: float("inf") if np.isnan(value) else value,
        default=0.0,
    )


def disagreement(found: Sequence[Sequence[np.ndarray]], expected: Sequence[Sequence[np.ndarray]], rtol: float) -> str:
    """What lists of arrays are too far apart for, in words; "" where they agree."""
    worst = max((apart(*pair) for pair in zip(found, expected, strict=True)), default=0.0)
    if worst <= rtol:  # NaN does not agree with anything
        return ""
    return f"compiled, it differs by {worst:.1g} of what it should be; {rtol:g} is allowed"
