"""The means of a run's terms since the last report, summed on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from ganzoo_core.engines.torch.process_group import TorchProcessGroup


class MeanAccumulator:
    """Sums of scalars by name; of several processes, each its own, and the mean over all of them is read.

    Args:
        device: where the scalars are.
        group: the processes; None for one alone.
    """

    def __init__(self, device: torch.device, group: TorchProcessGroup | None) -> None:
        self.device, self.group = device, group
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, value: torch.Tensor) -> None:
        """Take in one value, a constant to differentiation."""
        # Summed on the device: reading a value each step would make a GPU wait.
        self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._counts[name] = self._counts.get(name, 0) + 1

    def pop_means(self) -> dict[str, float]:
        """The mean by name since the last call; empties them."""
        if not self._sums:
            return {}
        sums = torch.stack([value.float() for value in self._sums.values()]).tolist()
        counts = [float(self._counts[name]) for name in self._sums]
        if self.group is not None:
            both = self.group.all_reduce_sum([*sums, *counts])
            sums, counts = both[: len(sums)], both[len(sums) :]
        means = {name: total / count for name, total, count in zip(self._sums, sums, counts, strict=True)}
        self._sums, self._counts = {}, {}
        return means

    def read_pending_sums(self) -> list[Any]:
        """What `pop_means` would take the means of, as numbers that JSON keeps exactly; of several processes a list."""
        sums: list[Any] = [float(value) for value in self._sums.values()]
        if self.group is not None:
            sums = [list(of_ranks) for of_ranks in zip(*self.group.all_gather(sums), strict=True)]
        return [[name, total, self._counts[name]] for name, total in zip(self._sums, sums, strict=True)]

    def restore_pending_sums(self, pending: list[Any]) -> None:
        """Put back what `read_pending_sums` gave."""
        own = {name: self._select_own(value) for name, value, _ in pending}
        self._sums = {name: torch.tensor(value, device=self.device) for name, value in own.items()}
        self._counts = {name: count for name, _, count in pending}

    def _select_own(self, saved: float | list[float]) -> float:
        """This process's part of what `read_pending_sums` gave; the mean, where there were more or fewer of them."""
        if not isinstance(saved, list):
            return saved
        place = None if self.group is None else self.group.rank
        return saved[place.number] if place is not None and place.world_size == len(saved) else sum(saved) / len(saved)
