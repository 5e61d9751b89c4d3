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

    `+ - * / **` and comparisons work on tensors directly. Reductions return float32, also of whole numbers
    and booleans.
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

    def where(self, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """x where the condition holds, else y, by element; each a tensor or a number, and broadcast.

        What `if` on a tensor cannot do in TensorFlow. Both sides are computed, and one that is not finite spoils the
        gradient though it is not chosen: choose what goes into a root or a quotient, not what comes out.
        """

    def take(self, x: Tensor, indices: Tensor) -> Tensor:
        """[N, ...] and whole numbers [M] from 0 to N-1 -> [M, ...]: those rows, in that order.

        Fractions are cut off towards 0. A number that is out of range is an error of the framework, or in TensorFlow
        on a GPU a row of zeros.

        Raises:
            PluginError: for booleans, whose 0 and 1 would pass for rows.
        """

    def concat(self, tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
        """One tensor of all, one after the other along an axis; the first is that of samples in every framework."""

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Float32 in [0, 1), drawn from the run's seed and step."""

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Float32, mean 0 and standard deviation 1, drawn from the run's seed and step."""

    def value_and_gradient(self, f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """One call of f at x: f(x), and the gradient of the sum of its elements with respect to x, shaped as x.

        So for an f that gives a number for each sample, [N], which depends on that sample alone, row i is the gradient
        of the i-th; for patches [N, ...] it is that of their sum; for a scalar it is the gradient. Where f does not
        depend on x it is 0.

        Both can be differentiated again: with respect to the weights in f, and to what x was computed from, as a
        penalty of the path from z over w to the images does (x = w). A penalty at given points, which x is not to
        follow, takes `stop_gradient(x)`.
        """

    def score_and_gradient(self, D: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """`value_and_gradient` of D at the images x as they are: the scores [N], and their sum's gradient by x.

        It can be differentiated again with respect to D's parameters, not to what x was computed from. Batch norm,
        dropout and the vectors of spectral normalisation are updated once, as in any other call of D; D's accuracies
        take the scores as those of x.
        """
