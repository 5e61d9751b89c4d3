"""`ops` in TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from ganzoo_core.engines.loss_step import make_mask_error

Tensor = Any


@dataclass(frozen=True)
class BatchShare:
    """`size` rows, from `first` on, of a batch of `batch_size` samples; `first` may be a tensor."""

    batch_size: int
    size: int
    first: Any


class TensorFlowOps:
    """`api.Ops` on TensorFlow tensors. Sums and means of half-precision tensors are computed in float32.

    Args:
        seed: two int32, as a tensor or as numbers. Every draw depends only on the seed and the number of earlier
            draws from this object.
        share: the rows that are computed at once, where a batch is computed in parts.
    """

    def __init__(self, seed: Tensor | Sequence[int] = (0, 0), *, share: BatchShare | None = None) -> None:
        self._seed, self._share = seed, share
        self._draw_count = 0

    def mean(self, x: Tensor) -> Tensor:
        """The mean of all elements, a scalar."""
        return tf.reduce_mean(_at_least_float32(x))

    def sum(self, x: Tensor) -> Tensor:
        """The sum of all elements, a scalar."""
        return tf.reduce_sum(_at_least_float32(x))

    def sum_per_sample(self, x: Tensor) -> Tensor:
        """[N, ...] -> [N]: the sum over all axes but the first."""
        wide = _at_least_float32(x)
        return tf.reduce_sum(wide, axis=list(range(1, wide.shape.rank)))

    def mean_over_samples(self, x: Tensor) -> Tensor:
        """[N, ...] -> [...]: the mean over the first axis."""
        return tf.reduce_mean(_at_least_float32(x), axis=0)

    def min(self, x: Tensor) -> Tensor:
        """The minimum of all elements, a scalar."""
        return tf.reduce_min(_at_least_float32(x))

    def max(self, x: Tensor) -> Tensor:
        """The maximum of all elements, a scalar."""
        return tf.reduce_max(_at_least_float32(x))

    def square(self, x: Tensor) -> Tensor:
        return tf.square(x)

    def sqrt(self, x: Tensor) -> Tensor:
        return tf.sqrt(x)

    def abs(self, x: Tensor) -> Tensor:
        return tf.abs(x)

    def relu(self, x: Tensor) -> Tensor:
        return tf.nn.relu(x)

    def sigmoid(self, x: Tensor) -> Tensor:
        return tf.sigmoid(x)

    def softplus(self, x: Tensor) -> Tensor:
        """log(1 + exp(x)), without overflow."""
        return tf.nn.softplus(x)

    def lerp(self, start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
        """start + weight * (end - start)."""
        return start + weight * (end - start)

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over N of -log softmax(logits [N,K])[labels [N]], a scalar."""
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=_at_least_float32(logits))
        )

    def stop_gradient(self, x: Tensor) -> Tensor:
        """x, as a constant for differentiation."""
        return tf.stop_gradient(x)

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        """x, a tensor, an array or a number, as a tensor of another type, such as `float32`."""
        return tf.cast(x, dtype)

    def where(self, condition: Any, x: Any, y: Any) -> Tensor:
        """x where the condition holds, else y; tensors or numbers."""
        # A number takes the tensor's type; by itself TensorFlow would make an int32 of a 0.
        x, y = _as_tensor_like(x, y), _as_tensor_like(y, x)
        return tf.where(tf.cast(condition, tf.bool), x, y)

    def take(self, x: Tensor, indices: Any) -> Tensor:
        """[N, ...] and whole numbers [M] -> [M, ...]: those rows."""
        rows = tf.convert_to_tensor(indices)
        if rows.dtype == tf.bool:
            raise make_mask_error()
        return tf.gather(x, tf.cast(rows, tf.int64))

    def concat(self, tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
        """One tensor of all, one after the other along an axis."""
        return tf.concat(list(tensors), axis)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Float32 in [0, 1), drawn from the seed."""
        return self._draw(tf.random.stateless_uniform, tuple(shape))

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Float32, mean 0 and standard deviation 1, drawn from the seed."""
        return self._draw(tf.random.stateless_normal, tuple(shape))

    def _draw(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        share = self._share
        if share is None or not shape or shape[0] != share.size:
            return draw(shape, seed=self._next_seed())
        # Draw one row per sample of the whole batch, so that the parts together see the draws of a whole one.
        drawn = draw((share.batch_size, *shape[1:]), seed=self._next_seed())
        return tf.slice(drawn, [share.first, *[0] * (len(shape) - 1)], shape)

    def value_and_gradient(self, f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """One call of f at x: its value, and the gradient of the value's sum by x, shaped as x.

        Both are differentiable by the weights in f, and by what x was computed from.
        """
        x = tf.convert_to_tensor(x)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            value = tf.convert_to_tensor(f(x))
            summed = tf.reduce_sum(value)
        gradient = tape.gradient(summed, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return value, _at_least_float32(gradient)

    def score_and_gradient(self, D: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """One forward of D at x: the scores and the gradient of their sum by x, shaped as x.

        Both are differentiable by D's parameters, but not by what x was computed from. Scores may be patches
        [N, ...]. If D has a method `call_as(images, original=x)`, it is used, so that the engine records the scores
        as those of x although D sees another tensor.
        """
        call_as = getattr(D, "call_as", None)
        f = D if call_as is None else lambda leaf: call_as(leaf, original=x)
        return self.value_and_gradient(f, tf.stop_gradient(x))

    def _next_seed(self) -> Tensor:
        self._draw_count += 1
        return tf.convert_to_tensor(self._seed, tf.int32) + tf.constant([0, self._draw_count])


def _as_tensor_like(x: Any, other: Any) -> Any:
    return tf.cast(x, other.dtype) if isinstance(x, int | float) and tf.is_tensor(other) else x


def _at_least_float32(x: Tensor) -> Tensor:
    """Convert half precision and whole numbers to float32, in which sums are computed, and booleans to 0 and 1."""
    x = tf.convert_to_tensor(x)
    return x if x.dtype in (tf.float32, tf.float64) else tf.cast(x, tf.float32)


def make_ops_like(x: object) -> TensorFlowOps:
    """Make the `ops` for tensors such as `x`; TensorFlow chooses the device itself."""
    return TensorFlowOps()
