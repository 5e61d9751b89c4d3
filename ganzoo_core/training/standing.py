"""How a run stands, as its statistics and its progress line tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganzoo_core.terminal.progress import Progress
from ganzoo_core.training.clock import Clock
from ganzoo_core.training.intervals import RunIntervals


@dataclass(frozen=True)
class Standing:
    """A moment of a run.

    Attributes:
        images: real images seen.
        step: steps done.
        values: the schedule's, at the last step.
        pace, clock: of the run.
    """

    images: int
    step: int
    values: Mapping[str, float]
    pace: RunIntervals
    clock: Clock

    def line(self, terms: Mapping[str, float]) -> dict[str, Any]:
        """A line of statistics, with the means of the loss terms since the line before."""
        return {
            "images": self.images,
            "step": self.step,
            "epoch": self.images // self.pace.epoch_images,
            "seconds": round(self.clock.read_seconds(), 3),
            "images_per_second": round(self.clock.compute_rate(self.images), 2),
            **terms,
            **self.values,
        }

    def progress(self, terms: Mapping[str, float]) -> Progress:
        """What the user sees, with the means of the loss terms."""
        pace = self.pace
        return Progress(
            images=self.images,
            end=pace.end,
            step=self.step,
            steps=pace.end // pace.step_images,
            epoch=self.images // pace.epoch_images,
            epochs=pace.epochs,
            images_per_second=self.clock.compute_rate(self.images),
            seconds_left=self.clock.estimate_remaining(self.images, pace.end),
            terms=terms,
            values=self.values,
        )
