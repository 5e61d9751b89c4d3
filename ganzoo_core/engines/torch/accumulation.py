"""`train.accumulate` in PyTorch: a batch is computed in parts, and one update has the mean of their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ganzoo_core.engines.loss_step import sum_terms


@dataclass(frozen=True)
class Part:
    """One part of a batch: its number, from 0, and its rows in the whole batch."""

    number: int
    rows: slice


def split_rows(rows: slice, count: int) -> tuple[Part, ...]:
    """Split this process's rows of a batch into parts of equal size."""
    size = (rows.stop - rows.start) // count
    return tuple(
        Part(number, slice(rows.start + number * size, rows.start + (number + 1) * size)) for number in range(count)
    )


def iterate_parts(parts: Sequence[Part], memory: Mapping[str, torch.Tensor]) -> Iterator[Part]:
    """Yield the parts of a phase, each of which finds the loss's memory as it was before the phase.

    At the end the memory is the mean of what the parts left there. A scalar that none has written stays as it was, to
    the bit.
    """
    if len(parts) == 1:
        yield parts[0]
        return
    before = {name: tensor.clone() for name, tensor in memory.items()}
    changes = {name: torch.zeros_like(tensor) for name, tensor in memory.items()}
    for part in parts:
        yield part
        for name, tensor in memory.items():
            changes[name] += tensor - before[name]
            tensor.copy_(before[name])
    for name, tensor in memory.items():
        tensor += changes[name] / len(parts)


def add_gradients(
    terms: Mapping[str, Any], params: list[torch.Tensor], parts: int, *, retain_graph: bool = False
) -> None:
    """Add the gradient of a part's loss to the parameters' gradients, divided by the number of parts.

    Args:
        terms: the loss's, whose sum is differentiated.
        params: of the network that learns. `inputs` keeps autograd from computing the other's weight gradients.
        parts: their number.
        retain_graph: for another loss on the same graph.
    """
    is_first = parts > 1 and all(param.grad is None for param in params)
    loss = sum_terms(terms)
    (loss if parts == 1 else loss / parts).backward(inputs=params, retain_graph=retain_graph)
    if is_first and params[0].device.type == "cuda":
        # A gradient may lie in the memory of a CUDA graph, which the next part's would overwrite.
        for param in params:
            param.grad = None if param.grad is None else param.grad.clone()
