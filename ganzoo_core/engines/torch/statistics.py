"""Accumulate the means of reported scalars on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from ganzoo_core.engines.torch.process_group import TorchProcessGroup


class MeanAccumulator:
    """Sums scalars by name in each process; their means are over all processes.

    Args:
        device: of the scalars.
        group: the process group of distributed training, or None.
    """

    def __init__(self, device: torch.device, group: TorchProcessGroup | None) -> None:
        self.device, self.group = device, group
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, value: torch.Tensor) -> None:
        """Add one value, detached from the graph."""
        # Summed on the device: reading a value each step would make a GPU wait.
        self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._counts[name] = self._counts.get(name, 0) + 1

    def pop_means(self) -> dict[str, float]:
        """Return the means by name since the last call, and reset them."""
        if not self._sums:
            return {}
        sums = torch.stack([value.float() for value in self._sums.values()]).tolist()
        counts = [float(self._counts[name]) for name in self._sums]
        if self.group is not None:
            totals = self.group.all_reduce_sum([*sums, *counts])
            sums, counts = totals[: len(sums)], totals[len(sums) :]
        means = {name: total / count for name, total, count in zip(self._sums, sums, counts, strict=True)}
        self._sums, self._counts = {}, {}
        return means

    def read_pending_sums(self) -> list[Any]:
        """Rows [name, sum, count] behind `pop_means`, exact in JSON; with several ranks, sum is a list over them."""
        sums: list[Any] = [float(value) for value in self._sums.values()]
        if self.group is not None:
            sums = [list(of_ranks) for of_ranks in zip(*self.group.all_gather(sums), strict=True)]
        return [[name, total, self._counts[name]] for name, total in zip(self._sums, sums, strict=True)]

    def restore_pending_sums(self, pending: list[Any]) -> None:
        """Restore the result of `read_pending_sums`."""
        own = {name: self._select_own(value) for name, value, _ in pending}
        self._sums = {name: torch.tensor(value, device=self.device) for name, value in own.items()}
        self._counts = {name: count for name, _, count in pending}

    def _select_own(self, saved: float | list[float]) -> float:
        """This rank's sum from `read_pending_sums`, or the mean over ranks if the number of ranks has changed."""
        if not isinstance(saved, list):
            return saved
        rank = None if self.group is None else self.group.rank
        return saved[rank.number] if rank is not None and rank.world_size == len(saved) else sum(saved) / len(saved)
