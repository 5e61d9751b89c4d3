"""The state of a run as a line of statistics and as progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganzoo_core.terminal.progress import Progress
from ganzoo_core.training.clock import Clock
from ganzoo_core.training.intervals import RunIntervals


@dataclass(frozen=True)
class RunStatus:
    """A run at one step.

    Attributes:
        images: real images seen.
        step: steps done.
        values: of the schedule, at the last step.
        intervals, clock: the intervals and the clock of the run.
    """

    images: int
    step: int
    values: Mapping[str, float]
    intervals: RunIntervals
    clock: Clock

    def make_statistics_line(self, terms: Mapping[str, float]) -> dict[str, Any]:
        """Return a line of statistics; `terms` are the means since the line before."""
        return {
            "images": self.images,
            "step": self.step,
            "epoch": self.images // self.intervals.epoch_images,
            "seconds": round(self.clock.read_seconds(), 3),
            "images_per_second": round(self.clock.compute_rate(self.images), 2),
            **terms,
            **self.values,
        }

    def make_progress(self, terms: Mapping[str, float]) -> Progress:
        """Return the progress shown to the user; `terms` are means of the loss terms."""
        intervals = self.intervals
        return Progress(
            images=self.images,
            end=intervals.end,
            step=self.step,
            steps=intervals.end // intervals.step_images,
            epoch=self.images // intervals.epoch_images,
            epochs=intervals.epochs,
            images_per_second=self.clock.compute_rate(self.images),
            seconds_left=self.clock.estimate_remaining(self.images, intervals.end),
            terms=terms,
            values=self.values,
        )
