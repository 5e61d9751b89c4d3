"""Accumulate the means of reported scalars on the device."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ganzoo_core.engines.tensorflow.process_group import TensorFlowProcessGroup


class MeanAccumulator:
    """Sums the scalars that a graph reports in each process; their means are over all processes.

    Args:
        group: the process group of distributed training, or None.
    """

    def __init__(self, group: TensorFlowProcessGroup | None) -> None:
        self.group = group
        self._sums: dict[tuple[str, ...], tuple[Any, int]] = {}

    def add(self, names: tuple[str, ...], values: Any) -> None:
        """Add one value [names] of each name."""
        before, count = self._sums.get(names, (None, 0))
        # Summed on the device: reading a value each step would make a GPU wait.
        self._sums[names] = (values if before is None else before + values, count + 1)

    def pop_means(self) -> dict[str, float]:
        """Return the means by name since the last call, and reset them."""
        totals: dict[str, tuple[float, int]] = {}
        for names, (sums, count) in self._sums.items():
            for name, value in zip(names, sums.numpy(), strict=True):
                total, times = totals.get(name, (0.0, 0))
                totals[name] = total + float(value), times + count
        self._sums = {}
        means = [total / times for total, times in totals.values()]
        if self.group is not None and means:
            means = [total / self.group.rank.world_size for total in self.group.all_reduce_sum(means)]
        return dict(zip(totals, means, strict=True))

    def read_pending_sums(self) -> list[Any]:
        """Rows [names, sums, count] behind `pop_means`, exact in JSON; with several ranks, `sums` is a list over
        them."""
        return [[list(names), self._gather(sums.numpy()), count] for names, (sums, count) in self._sums.items()]

    def _gather(self, sums: Any) -> list[Any]:
        gathered: list[Any] = (sums if self.group is None else self.group.gather_array(sums)).tolist()
        return gathered

    def restore_pending_sums(self, pending: list[Any]) -> None:
        """Restore the result of `read_pending_sums`."""
        own = [(tuple(names), self._select_own(sums), count) for names, sums, count in pending]
        if any(len(names) != len(sums) for names, sums, _ in own):
            raise ValueError("a row has another number of sums than of names")
        self._sums = {names: (tf.constant(sums, tf.float32), count) for names, sums, count in own}

    def _select_own(self, saved: list[Any]) -> list[float]:
        """This rank's sums, or their mean over the ranks if the number of ranks has changed."""
        if not saved or not isinstance(saved[0], list):
            return saved
        rank = None if self.group is None else self.group.rank
        if rank is not None and rank.world_size == len(saved):
            return list(saved[rank.number])
        return [sum(column) / len(saved) for column in zip(*saved, strict=True)]
