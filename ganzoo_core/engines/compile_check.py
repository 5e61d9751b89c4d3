"""Compare the results and gradients of compiled code with those of uncompiled code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ResultsAndGradients = tuple[Sequence[np.ndarray], Sequence[np.ndarray]]  # of one function

# Largest `relative_error` allowed for results and for gradients, by precision. Rounding may move an input of a ReLU
# across zero: that changes a gradient by 0.1 % of its norm, as does a change in the last bit of the weights.
RTOL = {"float32": (1e-4, 1e-2), "bfloat16": (5e-2, 2e-1)}


def relative_error(actual: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest difference between two lists of arrays, each relative to the norm of the expected array.

    The divisor is at least a tenth of the norm of the whole list: a gradient that is zero except for rounding, such as
    that of a bias before batch norm, has almost no norm of its own. NaN if any difference is NaN; infinity if the
    lists have different lengths.
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
    """Describe results or gradients that differ by more than `RTOL`; "" if they agree."""
    for what, first, second, rtol in zip(("results", "gradients"), actual, expected, RTOL[precision], strict=True):
        worst = relative_error(first, second)
        if not worst <= rtol:  # not `>`: NaN must count as a difference
            return f"compiled, its {what} differ by {worst:.1g} of what they should be; {rtol:g} is allowed"
    return ""
