"""Length of a run, and the intervals of its reports, samples, checkpoints and scores, in images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganzoo_core.settings.lengths import Interval


@dataclass(frozen=True)
class RunIntervals:
    """Length and intervals of a run, in images seen; 0 for never."""

    end: int
    step_images: int
    epoch_images: int
    report: int
    sample: int
    sample_at: frozenset[int]
    snapshot: int
    checkpoint: int
    evaluate: int

    @property
    def epochs(self) -> int:
        """Epochs begun. An epoch that only the end of the last batch reaches into does not count."""
        return -(-(self.end - self.step_images + 1) // self.epoch_images)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], *, epoch_images: int, step_images: int) -> RunIntervals:
        """Read the lengths in `train.*`; the run ends with the step that reaches its length."""

        def images(text: str) -> int:
            return Interval.parse(text).to_images(epoch_images=epoch_images, step_images=step_images)

        def at_step(count: int) -> int:
            return -(-count // step_images) * step_images

        return cls(
            end=at_step(images(settings["train.length"])),
            step_images=step_images,
            epoch_images=epoch_images,
            report=images(settings["train.report_every"]),
            sample=images(settings["train.sample_every"]),
            sample_at=frozenset(at_step(images(text)) for text in settings["train.sample_at"]),
            snapshot=images(settings["train.snapshot_every"]),
            checkpoint=images(settings["train.checkpoint_every"]),
            evaluate=images(settings["train.evaluate_every"]),
        )
