"""`ops` in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class BatchShare:
    """One process's part of a batch of `batch_size` samples: the rows, and a generator that is the same in all of
    them."""

    batch_size: int
    rows: slice
    rng: torch.Generator


class TorchOps:
    """`api.Ops` on torch tensors. Sums and means of half-precision tensors are taken in float32.

    Args:
        device: where random numbers are drawn, from that device's default generator; the engine seeds it
            for each phase.
        share: this process's part of each batch, where several train together.
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
        # Not by a reshape, which would copy a channels_last tensor; and torch's sum over no axis is over all.
        return _at_least_float32(x).sum(dim=tuple(range(1, x.ndim))) if x.ndim > 1 else _at_least_float32(x)

    def mean_over_samples(self, x: Tensor) -> Tensor:
        """[N, ...] -> [...]: the mean over the first axis."""
        return _at_least_float32(x).mean(dim=0)

    def min(self, x: Tensor) -> Tensor:
        """The least of all elements, a scalar."""
        return _at_least_float32(x).min()

    def max(self, x: Tensor) -> Tensor:
        """The largest of all elements, a scalar."""
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
        """log(1 + exp(x)), without overflow; x itself above 20, where the two differ by 2e-9 at most."""
        return F.softplus(x)

    def lerp(self, start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
        """start + weight * (end - start)."""
        return start + weight * (end - start)  # torch.lerp rounds otherwise above a weight of a half

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over N of -log softmax(logits [N,K])[labels [N]], a scalar."""
        return F.cross_entropy(_at_least_float32(logits), labels)

    def stop_gradient(self, x: Tensor) -> Tensor:
        """x, as a constant to differentiation."""
        return x.detach()

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
        # What has a row a sample is drawn for the whole batch, so that all processes together see what one would.
        rows = share.rows if shape and shape[0] == share.rows.stop - share.rows.start else None
        whole = shape if rows is None else (share.batch_size, *shape[1:])
        drawn = draw(whole, device=self.device, dtype=torch.float32, generator=share.rng)
        return drawn if rows is None else drawn[rows]

    def score_and_gradient(self, D: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """One forward of D at x: the scores and the gradient of their sum by x, shaped as x.

        Both keep their graph to D's parameters; neither has one to whatever x was computed from. Scores may be
        patches [N, ...]. A D that offers `call_as(images, original=x)` is called by it, so that the engine
        knows the scores for those of x although D sees another tensor.
        """
        leaf = x.detach().requires_grad_(True)
        with torch.enable_grad():
            call_as = getattr(D, "call_as", None)
            scores = D(leaf) if call_as is None else call_as(leaf, original=x)
            (gradient,) = torch.autograd.grad(scores.sum(), leaf, create_graph=True)
        return scores, _at_least_float32(gradient)


def _at_least_float32(x: Tensor) -> Tensor:
    """x in at least float32, in which sums are taken; a comparison's result counts as 0 and 1."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16, torch.bool) else x


def make_ops_like(x: object) -> TorchOps:
    """The arithmetic on the device where a tensor lies."""
    return TorchOps(x.device if isinstance(x, Tensor) else "cpu")
