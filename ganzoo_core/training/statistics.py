"""Means of the loss terms since the last report and since the last epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganzoo_core.engines.protocol import Trainer
from ganzoo_core.storage.decoding import nan_to_null, null_to_nan
from ganzoo_core.storage.records import Position


class RunningMean:
    """Mean of each term over the steps since the last `take`."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.weights: dict[str, int] = {}

    def add(self, terms: Mapping[str, float], weight: int) -> None:
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * weight
            self.weights[name] = self.weights.get(name, 0) + weight

    def take(self) -> dict[str, float]:
        means = {name: total / self.weights[name] for name, total in self.sums.items()}
        self.sums, self.weights = {}, {}
        return means

    def state(self) -> list[Any]:
        """Return sums and weights as values that JSON stores exactly."""
        return [[name, total, self.weights[name]] for name, total in self.sums.items()]

    def restore(self, state: list[Any]) -> None:
        self.sums = {name: total for name, total, _ in state}
        self.weights = {name: weight for name, _, weight in state}


class Statistics:
    """Means of the loss terms over two spans. The device sums the terms; `fetch` reads the sums.

    Attributes:
        since_report: the terms since the last report.
        since_epoch: the terms since the last epoch.
        last_report: the means of the last report, which the progress line shows.
    """

    def __init__(self) -> None:
        self.since_report, self.since_epoch = RunningMean(), RunningMean()
        self.last_report: Mapping[str, float] = {}
        self._read_at = 0  # the step of the last `fetch`

    def fetch(self, trainer: Trainer, step: int) -> None:
        """Add the trainer's means since the last fetch; `step` is the number of steps done in all."""
        terms = trainer.pop_means()
        for mean in (self.since_report, self.since_epoch):
            mean.add(terms, step - self._read_at)
        self._read_at = step

    def state(self) -> dict[str, Any]:
        """Return the fields of a checkpoint's position, in values that JSON stores exactly."""
        return {
            "read_at": self._read_at,
            "report_terms": nan_to_null(self.since_report.state()),
            "epoch_terms": nan_to_null(self.since_epoch.state()),
        }

    def restore(self, position: Position) -> None:
        """Restore the state of a checkpoint's position."""
        self._read_at = position.read_at
        self.since_report.restore(null_to_nan(position.report_terms))
        self.since_epoch.restore(null_to_nan(position.epoch_terms))
