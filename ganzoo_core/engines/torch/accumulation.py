"""`train.accumulate` in PyTorch: a batch is computed in parts, and one update has the mean of their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from ganzoo_core.api import Memory
from ganzoo_core.engines.loss_services import PhaseTerms, Round
from ganzoo_core.engines.loss_step import sum_terms
from ganzoo_core.engines.torch.penalties import fill_resting_gradients


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


def iterate_parts(
    parts: Sequence[Part], memory: Mapping[str, torch.Tensor], declared: Mapping[str, Memory]
) -> Iterator[Part]:
    """Yield the parts of a phase, and bring together what each leaves in the loss's memory.

    What is averaged across processes is averaged across parts, too: each finds it as it was before the phase, and at
    the end it is the mean of what they left (whole numbers are rounded). An entry that none has written stays as it
    was, to the bit. What is a process's own goes from part to part.
    """
    if len(parts) == 1:
        yield parts[0]
        return
    shared = {name: tensor for name, tensor in memory.items() if declared[name].across == "mean"}
    before = {name: tensor.clone() for name, tensor in shared.items()}
    changes = {name: torch.zeros_like(_widen(tensor)) for name, tensor in shared.items()}
    for part in parts:
        yield part
        for name, tensor in shared.items():
            changes[name] += _widen(tensor) - _widen(before[name])
            tensor.copy_(before[name])
    for name, tensor in shared.items():
        mean = _widen(before[name]) + changes[name] / len(parts)
        tensor.copy_(mean if tensor.is_floating_point() else mean.round())


def _widen(tensor: torch.Tensor) -> torch.Tensor:
    """Whole numbers and booleans as floats, in which they have a mean."""
    kind = torch.float32 if tensor.device.type == "mps" else torch.float64
    return tensor if tensor.is_floating_point() else tensor.to(kind)


def add_gradients(
    phase: PhaseTerms,
    params: list[torch.Tensor],
    optimizer: torch.optim.Optimizer,
    here: Round,
    *,
    parts: int,
    retain_graph: bool = False,
) -> None:
    """Add the gradient of a part's loss to the parameters' gradients, divided by the number of parts.

    Args:
        phase: its terms, whose sum is differentiated.
        params: of the network that learns.
        optimizer: of these.
        here: the place in the run.
        parts: their number.
        retain_graph: for another loss on the same graph.
    """
    total, rests = sum_terms(phase.terms), phase.rests(here)
    is_first = parts > 1 and all(param.grad is None for param in params)
    if total.requires_grad or not rests:
        # `inputs` keeps autograd from computing the other network's weight gradients.
        (total if parts == 1 else total / parts).backward(inputs=params, retain_graph=retain_graph)
    if is_first and params[0].device.type == "cuda":
        # A gradient may lie in the memory of a CUDA graph, which the next part would overwrite.
        for param in params:
            param.grad = None if param.grad is None else param.grad.clone()
    if rests:
        fill_resting_gradients(params, optimizer)
