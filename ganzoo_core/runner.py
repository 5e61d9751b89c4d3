"""The run: counts images, asks the schedule, lets the engine step, reports, samples, saves."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ganzoo_core.api import Diverged, Schedule
from ganzoo_core.console import Progress, Reporter
from ganzoo_core.engines import Plan
from ganzoo_core.intervals import Interval, is_due
from ganzoo_core.rundir import RunFolder
from ganzoo_core.samples import Samples

ESTIMATE_AFTER = 20  # steps before the end of the run is foretold
WARM_UP = 5  # steps that are slower than the rest


@dataclass(frozen=True)
class Pace:
    """How long a run is and when what happens, all in images seen; 0 for never."""

    end: int
    step: int
    epoch: int
    report: int
    sample: int
    sample_at: frozenset[int]
    snapshot: int

    @property
    def epochs(self) -> int:
        """Epochs begun; the rest of the last batch, which may lie in the next one, does not count."""
        return -(-(self.end - self.step + 1) // self.epoch)

    @classmethod
    def of(cls, settings: Mapping[str, Any], *, epoch_images: int, step_images: int) -> Pace:
        """Read the lengths in `train.*`; the run ends with the step that reaches its length."""

        def images(text: str) -> int:
            return Interval.parse(text).images(epoch_images=epoch_images, step_images=step_images)

        def at_step(count: int) -> int:
            return -(-count // step_images) * step_images

        return cls(
            end=at_step(images(settings["train.length"])),
            step=step_images,
            epoch=epoch_images,
            report=images(settings["train.report_every"]),
            sample=images(settings["train.sample_every"]),
            sample_at=frozenset(at_step(images(text)) for text in settings["train.sample_at"]),
            snapshot=images(settings["train.snapshot_every"]),
        )


class Runner:
    """One training run from its first step to its last.

    Args:
        engine, trainer: see `engines`.
        schedule: images seen -> values.
        plan, pace, samples: see there.
        folder: where the run is kept.
        card: what a saved generator says of itself.
        reporter: what the user sees.
    """

    def __init__(
        self,
        *,
        engine: Any,
        trainer: Any,
        schedule: Schedule,
        plan: Plan,
        pace: Pace,
        samples: Samples,
        folder: RunFolder,
        card: Mapping[str, Any],
        reporter: Reporter,
    ) -> None:
        self.engine, self.trainer, self.schedule = engine, trainer, schedule
        self.plan, self.pace, self.samples = plan, pace, samples
        self.folder, self.card, self.reporter = folder, card, reporter
        self.report_terms, self.epoch_terms = _Mean(), _Mean()
        self.shown_terms: Mapping[str, float] = {}
        self.read_at = 0
        self.sampled_at = -1

    def run(self) -> bool:
        """Train to the end; False if it was interrupted, after saving.

        Raises:
            Diverged: when a loss is no longer finite.
        """
        pace, images, step = self.pace, 0, 0
        clock = _Clock(step_images=pace.step)
        with _stop_on_signals() as stopped, self.reporter:
            while images < pace.end and not stopped():
                values = self.schedule(images)
                self.trainer.step(step, images, values)
                before, images, step = images, images + pace.step, step + 1

                if self.reporter.is_stale():
                    self.reporter.show(self._progress(step, images, self.shown_terms, values, clock))
                if step == ESTIMATE_AFTER and images < pace.end:
                    self.reporter.estimate(clock.remaining(images, pace.end))
                elif step == WARM_UP:
                    clock.warm(images)
                if is_due(pace.report, before, images) or images >= pace.end:
                    self._report(step, images, values, clock)
                    if self.sampled_at < 0:
                        self._sample(images, values)
                due = is_due(pace.sample, before, images) or images in pace.sample_at
                if due and self.sampled_at != images:
                    self._sample(images, values)
                if is_due(pace.epoch, before, images):
                    self._end_epoch(step, images, values, clock)
                if is_due(pace.snapshot, before, images):
                    self._save(images, values, self.folder.snapshots / str(images))

            if step:
                if stopped():
                    self._report(step, images, values, clock)
                if self.sampled_at != images:
                    self._sample(images, values)
                self._save(images, values, self.folder.generator)
        return not stopped()

    def _report(self, step: int, images: int, values: Mapping[str, float], clock: _Clock) -> None:
        """A line of statistics: the means since the last one."""
        self._drain(step)
        terms = self.report_terms.take()
        if not terms:
            return
        line = {
            "images": images,
            "step": step,
            "epoch": images // self.pace.epoch,
            "seconds": round(clock.seconds(), 3),
            "images_per_second": round(clock.rate(images), 2),
            **terms,
            **values,
        }
        self.folder.add_stats(line)
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        if bad:
            raise Diverged(_explain(bad[0], step, self.folder))
        self.shown_terms = terms
        self.reporter.report(self._progress(step, images, terms, values, clock))

    def _end_epoch(self, step: int, images: int, values: Mapping[str, float], clock: _Clock) -> None:
        self._drain(step)
        terms = self.epoch_terms.take()
        self.reporter.epoch(self._progress(step, images, terms, values, clock))

    def _drain(self, step: int) -> None:
        """Fetch what the device has summed since the last time."""
        terms = self.trainer.read()
        for mean in (self.report_terms, self.epoch_terms):
            mean.add(terms, step - self.read_at)
        self.read_at = step

    def _progress(
        self, step: int, images: int, terms: Mapping[str, float], values: Mapping[str, float], clock: _Clock
    ) -> Progress:
        pace = self.pace
        return Progress(
            images=images,
            end=pace.end,
            step=step,
            steps=pace.end // pace.step,
            epoch=images // pace.epoch,
            epochs=pace.epochs,
            rate=clock.rate(images),
            left=clock.remaining(images, pace.end),
            terms=terms,
            values=values,
        )

    def _sample(self, images: int, values: Mapping[str, float]) -> None:
        """A grid from the same noise each time."""
        png = self.samples.drawn(self.engine, self.trainer.best_generator, images, values)
        self.folder.add_picture(str(images), png)
        self.folder.add_picture("latest", png)
        self.sampled_at = images

    def _save(self, images: int, values: Mapping[str, float], folder: Any) -> None:
        """The generator, so that it can be drawn from without the data or the settings."""
        takes = {name: values[name] for name in self.plan.takes_g if name in values}
        card = {**self.card, "images": images, "values": takes}
        self.folder.write_generator(folder, self.engine.tensors(self.trainer.best_generator), card)


def _explain(term: str, step: int, folder: RunFolder) -> str:
    network = term.split("/")[0]
    return (
        f"the run diverged: {term} is no longer finite at step {step}, so the {network} can learn no more; "
        "usual remedies are a lower learning rate (--set lr=…), another loss, or --with spectral-norm; "
        f"snapshots from before are in {folder.snapshots}"
    )


class _Clock:
    """Seconds and images a second, the first slow steps left out of the latter."""

    def __init__(self, *, step_images: int) -> None:
        self.start = self.warm_start = time.perf_counter()
        self.warm_images = 0
        self.step_images = step_images

    def warm(self, images: int) -> None:
        self.warm_start, self.warm_images = time.perf_counter(), images

    def seconds(self) -> float:
        return time.perf_counter() - self.start

    def rate(self, images: int) -> float:
        elapsed = time.perf_counter() - self.warm_start
        return (images - self.warm_images) / elapsed if elapsed > 0 else 0.0

    def remaining(self, images: int, end: int) -> float:
        rate = self.rate(images)
        return (end - images) / rate if rate > 0 else 0.0


class _Mean:
    """The mean of each term over the steps since it was last taken."""

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


@contextmanager
def _stop_on_signals() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C or SIGTERM lets the step finish; the second acts at once."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(number, previous[number])

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    previous: dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, handler)
