"""How far what was compiled is from what it should be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ResultsAndGradients = tuple[Sequence[np.ndarray], Sequence[np.ndarray]]  # what a function gave, and gradients

# What `relative_error` may be, by precision: for results, and for gradients. An input of a ReLU that is zero but for
# rounding
# may fall on either side: that moves a gradient by 0.1 % of its norm, and so does the last bit of the weights.
RTOL = {"float32": (1e-4, 1e-2), "bfloat16": (5e-2, 2e-1)}


def relative_error(actual: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest difference of two lists of arrays, each by the norm of what it should be.

    A gradient that is zero but for rounding, such as that of a bias before batch norm, has no norm to speak of:
    a tenth of the whole list's counts at least. NaN where anything is; infinity for lists of two lengths.
    """
    if len(actual) != len(expected):
        return float("inf")
    norms = [float(np.linalg.norm(array.astype(np.float64))) for array in expected]
    least = max(float(np.linalg.norm(norms)) / 10, 1e-30)
    return max(
        (
            float(np.linalg.norm(a.astype(np.float64) - b.astype(np.float64))) / max(norm, least)
            for a, b, norm in zip(actual, expected, norms, strict=True)
        ),
        key=lambda value: float("inf") if np.isnan(value) else value,
        default=0.0,
    )


def describe_difference(actual: ResultsAndGradients, expected: ResultsAndGradients, precision: str = "float32") -> str:
    """What results and gradients are too far apart for, in words; "" where they agree."""
    for what, first, second, rtol in zip(("results", "gradients"), actual, expected, RTOL[precision], strict=True):
        worst = relative_error(first, second)
        if not worst <= rtol:  # NaN does not agree with anything
            return f"compiled, its {what} differ by {worst:.1g} of what they should be; {rtol:g} is allowed"
    return ""
