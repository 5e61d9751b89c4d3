"""The operations that a loss is written with, so that it runs in every framework.

Array shapes name their axes: N samples, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Tensor = Any
"""An array of the framework in use: `torch.Tensor`, `tf.Tensor` or `numpy.ndarray`."""


class Ops(Protocol):
    """The operations that losses are written with. Each engine supplies them, so a loss runs in every framework.

    `+ - * / **` and comparisons work on tensors directly. Reductions return float32.
    """

    def mean(self, x: Tensor) -> Tensor:
        """The mean of all elements, a scalar."""

    def sum(self, x: Tensor) -> Tensor:
        """The sum of all elements, a scalar."""

    def sum_per_sample(self, x: Tensor) -> Tensor:
        """[N, ...] -> [N]: the sum over all axes but the first."""

    def mean_over_samples(self, x: Tensor) -> Tensor:
        """[N, ...] -> [...]: the mean over the first axis, as feature matching compares it."""

    def min(self, x: Tensor) -> Tensor:
        """The smallest of all elements, a scalar."""

    def max(self, x: Tensor) -> Tensor:
        """The largest of all elements, a scalar."""

    def square(self, x: Tensor) -> Tensor: ...
    def sqrt(self, x: Tensor) -> Tensor: ...
    def abs(self, x: Tensor) -> Tensor: ...
    def relu(self, x: Tensor) -> Tensor: ...
    def sigmoid(self, x: Tensor) -> Tensor: ...
    def softplus(self, x: Tensor) -> Tensor:
        """log(1 + exp(x)), without overflow."""

    def lerp(self, start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
        """start + weight * (end - start)."""

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over N of -log softmax(logits [N,K])[labels [N]], a scalar."""

    def stop_gradient(self, x: Tensor) -> Tensor:
        """x, treated as a constant in differentiation."""

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        """x, a tensor, an array or a number, as a tensor of another type: `float32`, `int64` (towards 0), `bool`, …"""

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Float32 in [0, 1), drawn from the run's seed and step."""

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Float32, mean 0 and standard deviation 1, drawn from the run's seed and step."""

    def score_and_gradient(self, D: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """One forward pass of D at x: the scores [N] and the gradient of their sum with respect to x, shaped as x.

        The gradient can be differentiated again with respect to D's parameters. Batch norm, dropout and the vectors
        of spectral normalisation are updated once, as in any other call of D.
        """
