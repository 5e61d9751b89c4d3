"""`ops` in numpy: a third implementation to test losses against, and a way to try one without a framework."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ganzoo_core.engines.loss_step import make_mask_error
from ganzoo_core.errors import UsageError

Array = Any
MAX_ELEMENTS = 10_000  # of an x by which numpy differentiates
STEP_SIZE = 1e-5


class NumpyOps:
    """`api.Ops` on numpy arrays. float32 stays float32 and float64 stays float64; nothing is differentiated.

    Args:
        rng: the generator that `uniform` and `normal` draw from.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def mean(self, x: Array) -> Array:
        """The mean of all elements, a scalar."""
        return np.mean(_at_least_float32(x))

    def sum(self, x: Array) -> Array:
        """The sum of all elements, a scalar."""
        return np.sum(_at_least_float32(x))

    def sum_per_sample(self, x: Array) -> Array:
        """[N, ...] -> [N]: the sum over all axes but the first."""
        wide = _at_least_float32(x)
        return np.sum(wide, axis=tuple(range(1, wide.ndim)))

    def mean_over_samples(self, x: Array) -> Array:
        """[N, ...] -> [...]: the mean over the first axis."""
        return np.mean(_at_least_float32(x), axis=0)

    def min(self, x: Array) -> Array:
        """The minimum of all elements, a scalar."""
        return _at_least_float32(x).min()

    def max(self, x: Array) -> Array:
        """The maximum of all elements, a scalar."""
        return _at_least_float32(x).max()

    def square(self, x: Array) -> Array:
        return np.square(x)

    def sqrt(self, x: Array) -> Array:
        return np.sqrt(x)

    def abs(self, x: Array) -> Array:
        return np.abs(x)

    def relu(self, x: Array) -> Array:
        return np.maximum(x, 0)

    def sigmoid(self, x: Array) -> Array:
        return 0.5 * (1 + np.tanh(0.5 * np.asarray(x)))  # unlike 1 / (1 + exp(-x)), it cannot overflow

    def softplus(self, x: Array) -> Array:
        """log(1 + exp(x)), without overflow."""
        return np.logaddexp(0, x)

    def lerp(self, start: Array, end: Array, weight: Array) -> Array:
        """start + weight * (end - start)."""
        return start + weight * (end - start)

    def cross_entropy(self, logits: Array, labels: Array) -> Array:
        """The mean over N of -log softmax(logits [N,K])[labels [N]], a scalar."""
        wide = _at_least_float32(logits)
        shifted = wide - wide.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(shifted).sum(axis=1))
        return np.mean(log_sums - shifted[np.arange(len(shifted)), labels])

    def stop_gradient(self, x: Array) -> Array:
        """x itself: nothing is differentiated here."""
        return x

    def cast(self, x: Array, dtype: str) -> Array:
        """x, an array or a number, as an array of another type, such as `float32`."""
        return np.asarray(x).astype(dtype)

    def where(self, condition: Array, x: Array, y: Array) -> Array:
        """x where the condition holds, else y; arrays or numbers."""
        return np.where(condition, x, y)

    def take(self, x: Array, indices: Array) -> Array:
        """[N, ...] and whole numbers [M] -> [M, ...]: those rows."""
        rows = np.asarray(indices)
        if rows.dtype == bool:
            raise make_mask_error()
        return np.take(x, rows.astype(np.int64), axis=0)

    def concat(self, tensors: Sequence[Array], axis: int = 0) -> Array:
        """One array of all, one after the other along an axis."""
        return np.concatenate(list(tensors), axis)

    def uniform(self, shape: Sequence[int]) -> Array:
        """Float32 in [0, 1), drawn from the generator."""
        return self.rng.random(tuple(shape), dtype=np.float32)

    def normal(self, shape: Sequence[int]) -> Array:
        """Float32, mean 0 and standard deviation 1, drawn from the generator."""
        return self.rng.standard_normal(tuple(shape), dtype=np.float32)

    def value_and_gradient(self, f: Callable[[Array], Array], x: Array) -> tuple[Array, Array]:
        """f(x) and the gradient of its sum by x, by central differences in float64: f is called twice an element.

        So f must compute in float64 what it is given in it, and be smooth around x.

        Raises:
            UsageError: if x has more than `MAX_ELEMENTS`.
        """
        x = np.asarray(x)
        if x.size > MAX_ELEMENTS:
            raise UsageError(
                f"numpy finds gradients by trying each of the {x.size:,} numbers of the images, and tries at most "
                f"{MAX_ELEMENTS:,}: give a D that has a method `score_and_gradient(x)`, fewer or smaller images, or "
                "evaluate the loss on a framework's tensors"
            )
        point, gradient = x.astype(np.float64), np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            above, below = point.copy(), point.copy()
            above[index] += STEP_SIZE
            below[index] -= STEP_SIZE
            gradient[index] = (np.sum(f(above)) - np.sum(f(below))) / (above[index] - below[index])
        return f(x), gradient.astype(np.promote_types(x.dtype, np.float32), copy=False)

    def score_and_gradient(self, D: Callable[[Array], Array], x: Array) -> tuple[Array, Array]:
        """D's scores at x and the gradient of their sum by x: D's own `score_and_gradient(x)`, if it has one."""
        known = getattr(D, "score_and_gradient", None)
        scores, gradient = self.value_and_gradient(D, x) if known is None else known(x)
        return scores, gradient


def _at_least_float32(x: Array) -> Array:
    """Promote x to at least float32, in which sums are computed."""
    array = np.asarray(x)
    return array.astype(np.promote_types(array.dtype, np.float32), copy=False)
