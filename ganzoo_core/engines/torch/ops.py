"""`ops` in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ganzoo_core.engines.loss_step import make_mask_error


@dataclass(frozen=True)
class BatchShare:
    """One process's rows of a batch of `batch_size` samples, and a random generator with the same state in all
    processes."""

    batch_size: int
    rows: slice
    rng: torch.Generator


class TorchOps:
    """`api.Ops` on torch tensors. Sums and means of half-precision tensors are computed in float32.

    Args:
        device: for random numbers, from its default generator, which the engine seeds for each phase.
        share: this process's part of each batch in distributed training.
    """

    def __init__(self, device: torch.device | str, *, share: BatchShare | None = None) -> None:
        self.device, self.share = torch.device(device), share

    def mean(self, x: Tensor) -> Tensor:
        """The mean of all elements, a scalar."""
        return _at_least_float32(x).mean()

    def sum(self, x: Tensor) -> Tensor:
        """The sum of all elements, a scalar."""
        return _at_least_float32(x).sum()

    def sum_per_sample(self, x: Tensor) -> Tensor:
        """[N, ...] -> [N]: the sum over all axes but the first."""
        # A reshape would copy a channels_last tensor. With an empty `dim` torch would sum over all axes.
        return _at_least_float32(x).sum(dim=tuple(range(1, x.ndim))) if x.ndim > 1 else _at_least_float32(x)

    def mean_over_samples(self, x: Tensor) -> Tensor:
        """[N, ...] -> [...]: the mean over the first axis."""
        return _at_least_float32(x).mean(dim=0)

    def min(self, x: Tensor) -> Tensor:
        """The minimum of all elements, a scalar."""
        return _at_least_float32(x).min()

    def max(self, x: Tensor) -> Tensor:
        """The maximum of all elements, a scalar."""
        return _at_least_float32(x).max()

    def square(self, x: Tensor) -> Tensor:
        return torch.square(x)

    def sqrt(self, x: Tensor) -> Tensor:
        return torch.sqrt(x)

    def abs(self, x: Tensor) -> Tensor:
        return torch.abs(x)

    def relu(self, x: Tensor) -> Tensor:
        return F.relu(x)

    def sigmoid(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    def softplus(self, x: Tensor) -> Tensor:
        """log(1 + exp(x)), without overflow; returns x above 20, where the two differ by at most 2e-9."""
        return F.softplus(x)

    def lerp(self, start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
        """start + weight * (end - start)."""
        return start + weight * (end - start)  # torch.lerp rounds differently for weights above 0.5

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over N of -log softmax(logits [N,K])[labels [N]], a scalar."""
        return F.cross_entropy(_at_least_float32(logits), labels)

    def stop_gradient(self, x: Tensor) -> Tensor:
        """x, as a constant for differentiation."""
        return x.detach()

    def cast(self, x: Any, dtype: str) -> Tensor:
        """x, a tensor, an array or a number, as a tensor of another type, such as `float32`."""
        kind: torch.dtype = getattr(torch, dtype)
        if isinstance(x, Tensor):
            return x.to(kind)
        if isinstance(x, int | float):  # filled on the device, not copied to it
            return torch.full((), x, dtype=kind, device=self.device)
        return torch.tensor(x, dtype=kind, device=self.device)

    def where(self, condition: Any, x: Any, y: Any) -> Tensor:
        """x where the condition holds, else y; tensors or numbers."""
        return torch.where(self.cast(condition, "bool"), x, y)

    def take(self, x: Tensor, indices: Any) -> Tensor:
        """[N, ...] and whole numbers [M] -> [M, ...]: those rows."""
        rows = torch.as_tensor(indices, device=x.device)
        if rows.dtype == torch.bool:
            raise make_mask_error()
        return x.index_select(0, self.cast(rows, "int64"))

    def concat(self, tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
        """One tensor of all, one after the other along an axis."""
        return torch.cat(tuple(tensors), dim=axis)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Float32 in [0, 1), drawn from the device's default generator."""
        return self._draw(torch.rand, tuple(shape))

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Float32, mean 0 and standard deviation 1, drawn from the device's default generator."""
        return self._draw(torch.randn, tuple(shape))

    def _draw(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        share = self.share
        if share is None:
            return draw(shape, device=self.device, dtype=torch.float32)
        # Draw one row per sample of the whole batch, so that the processes together see the draws of a single one.
        rows = share.rows if shape and shape[0] == share.rows.stop - share.rows.start else None
        whole = shape if rows is None else (share.batch_size, *shape[1:])
        drawn = draw(whole, device=self.device, dtype=torch.float32, generator=share.rng)
        return drawn if rows is None else drawn[rows]

    def value_and_gradient(self, f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """One call of f at x: its value, and the gradient of the value's sum by x, shaped as x.

        Both are differentiable by the weights in f, and by what x was computed from.
        """
        with torch.enable_grad():
            x = x if isinstance(x, Tensor) else torch.as_tensor(x, device=self.device)
            point = x if x.requires_grad else x.detach().requires_grad_(True)
            value = f(point)
            value = value if isinstance(value, Tensor) else torch.as_tensor(value, device=x.device)
            if not value.requires_grad:
                return value, torch.zeros_like(point, dtype=_at_least_float32(point).dtype)
            # What does not depend on x has a gradient of 0.
            (gradient,) = torch.autograd.grad(
                value.sum(), point, create_graph=True, allow_unused=True, materialize_grads=True
            )
        return value, _at_least_float32(gradient)

    def score_and_gradient(self, D: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """One forward of D at x: the scores and the gradient of their sum by x, shaped as x.

        Both are differentiable by D's parameters, but not by what x was computed from. Scores may be patches
        [N, ...]. If D has a method `call_as(images, original=x)`, it is used, so that the engine records the scores
        as those of x although D sees another tensor.
        """
        call_as = getattr(D, "call_as", None)
        return self.value_and_gradient(D if call_as is None else lambda leaf: call_as(leaf, original=x), x.detach())


def _at_least_float32(x: Tensor) -> Tensor:
    """Convert half precision and whole numbers to float32, in which sums are computed, and booleans to 0 and 1."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def make_ops_like(x: object) -> TorchOps:
    """Make the `ops` for the device of `x`."""
    return TorchOps(x.device if isinstance(x, Tensor) else "cpu")
