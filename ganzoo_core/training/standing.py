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
            "epoch": self.images // self.pace.epoch,
            "seconds": round(self.clock.seconds(), 3),
            "images_per_second": round(self.clock.rate(self.images), 2),
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
            steps=pace.end // pace.step,
            epoch=self.images // pace.epoch,
            epochs=pace.epochs,
            rate=self.clock.rate(self.images),
            left=self.clock.remaining(self.images, pace.end),
            terms=terms,
            values=self.values,
        )
