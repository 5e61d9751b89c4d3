"""The run: counts images, asks the schedule, lets the engine step, reports, samples, saves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.api import Schedule
from ganzoo_core.distributed.ranks import ALONE, Together, shared
from ganzoo_core.engines import Plan
from ganzoo_core.errors import Diverged, UsageError
from ganzoo_core.evaluation.during_training import Watch
from ganzoo_core.interrupts import stop_on_signals
from ganzoo_core.runs import layout, scores
from ganzoo_core.runs.folder import RunFolder, read_position
from ganzoo_core.runs.health import Separation, explain_separation
from ganzoo_core.settings.lengths import is_due
from ganzoo_core.storage.decoding import null_for_nan
from ganzoo_core.terminal.progress import Reporter
from ganzoo_core.training.clock import WARM_UP, Clock
from ganzoo_core.training.divergence import ROLLBACKS, check_finite, check_terms, lower_rates
from ganzoo_core.training.intervals import RunIntervals
from ganzoo_core.training.resuming import restore_trainer
from ganzoo_core.training.sample_grids import Samples
from ganzoo_core.training.standing import Standing
from ganzoo_core.training.statistics import Statistics
from ganzoo_core.training.trackers import Trackers

ESTIMATE_AFTER = 20  # steps before the end of the run is foretold


class Runner:
    """One training run from its first step, or from a checkpoint, to its last.

    Args:
        engine, trainer: see `engines.protocol`.
        schedule: images seen -> values.
        plan, pace, samples: see there.
        folder: where the run is kept.
        card: what a saved generator says of itself.
        reporter: what the user sees.
        facts: versions, device and data fingerprint, compared on resume.
        keep: checkpoints that stay.
        rolls_back: whether a diverging run goes back to its last checkpoint, with half the learning rate.
        trackers: who is told of it.
        watch: scores its generator; None where nobody asked for that.
        together: the processes that train it. All of them take the same decisions; rank 0 alone writes and tells.
    """

    def __init__(
        self,
        *,
        engine: Any,
        trainer: Any,
        schedule: Schedule,
        plan: Plan,
        pace: RunIntervals,
        samples: Samples,
        folder: RunFolder,
        card: Mapping[str, Any],
        reporter: Reporter,
        facts: Mapping[str, Any],
        keep: int,
        rolls_back: bool,
        trackers: Trackers,
        watch: Watch | None = None,
        together: Together = ALONE,
    ) -> None:
        self.engine, self.trainer, self.schedule = engine, trainer, schedule
        self.plan, self.pace, self.samples = plan, pace, samples
        self.folder, self.card, self.reporter = folder, card, reporter
        self.facts, self.keep, self.rolls_back = facts, keep, rolls_back
        self.trackers, self.watch = trackers, watch
        self.together, self.leads = together, together.place.leads
        self.images = self.step = self.rollbacks = 0
        self.values: Mapping[str, float] = {}
        self.sampled_at, self.checkpoint_at = -1, -1
        self.statistics, self.clock, self.separation = Statistics(), Clock(), Separation()
        self.lock: Any = None  # held for as long as the runner lives

    def close(self) -> None:
        """Let go of what is held beside the run's files: its lock, and the process that scores."""
        if self.watch is not None:
            self.watch.close()
        if self.lock is not None:
            self.lock.release()

    def run(self) -> bool:
        """Train to the end; False if it was interrupted, after saving.

        Raises:
            Diverged: when a loss or a weight is no longer finite.
            OSError: when all is trained and the generator or the last checkpoint could not be saved.
        """
        with stop_on_signals() as asked, self.reporter:
            stopped, began_at = self.together.agreed(asked), self.step
            while True:
                try:
                    self._train(stopped, began_at)
                    if self.step > began_at or self._lacks_generator():
                        self._finish(interrupted=stopped())
                except Diverged as error:
                    self._roll_back(error)
                else:
                    return not stopped()

    def _lacks_generator(self) -> bool:
        """Whether a run that had nothing to train was stopped before its generator was saved."""
        saved = self.together.first(self.folder.finished_at)
        return self.step > 0 and bool(self.together.chosen(int(saved is not None and saved != self.images)))

    def _train(self, stopped: Callable[[], bool], began_at: int) -> None:
        pace = self.pace
        while self.images < pace.end and not stopped():
            self.values = self._values(self.images)
            self.trainer.step(self.step, self.images, self.values)
            before, self.images, self.step = self.images, self.images + pace.step, self.step + 1

            if self.reporter.is_stale():
                self.reporter.show(self._standing().progress(self.statistics.shown))
            if self.step - began_at == ESTIMATE_AFTER and self.images < pace.end:
                self.reporter.estimate(self.clock.remaining(self.images, pace.end))
            elif self.step - began_at == WARM_UP:
                self.clock.warm(self.images)
            if is_due(pace.report, before, self.images) or self.images >= pace.end:
                self._report()
                if self.sampled_at < 0:
                    self._sample()
            due = is_due(pace.sample, before, self.images) or self.images in pace.sample_at
            if due and self.sampled_at != self.images:
                self._sample()
            if is_due(pace.epoch, before, self.images):
                self._end_epoch()
            if is_due(pace.evaluate, before, self.images) or (pace.evaluate and self.images >= pace.end):
                self._evaluate()
            if is_due(pace.snapshot, before, self.images):
                self._try("the snapshot", self._snapshot)
            if is_due(pace.checkpoint, before, self.images):
                self._try("the checkpoint", self._checkpoint)

    def _finish(self, *, interrupted: bool) -> None:
        """Save all that is needed to draw and to go on. A failure here is the run's."""
        self._checkpoint()
        if interrupted:
            self._report()
        if self.sampled_at != self.images:
            self._sample()
        self._save(self.folder.generator)
        self.together.first(self.folder.flush_stats)  # the last report's line

    def _values(self, images: int) -> Mapping[str, float]:
        """The schedule's; after a rollback with lower rates."""
        return lower_rates(self.schedule(images), self.plan, self.rollbacks)

    def _try(self, what: str, save: Callable[[], object]) -> bool:
        """Training goes on where the disk does not take something: it is tried again at the next time."""
        try:
            save()
            return True
        except OSError as error:
            self.reporter.warn(
                f"{what} at {self.images:,} images could not be saved ({error.strerror or error}); what was saved "
                "before is untouched, and training goes on"
            )
            return False

    def _report(self) -> None:
        """A line of statistics: the means since the last one."""
        self.statistics.fetch(self.trainer, self.step)
        terms = self.statistics.report.take()
        if not terms:
            return
        line = self._standing().line(terms)
        if self.leads:
            self._try("the statistics", lambda: self.folder.add_stats(line))
        self.trackers.tell("on_report", line=line)
        check_terms(terms, step=self.step, folder=self.folder.path)
        self.statistics.shown = terms
        self.reporter.report(self._standing().progress(terms))
        if self.separation.see(line):
            self.reporter.advise(self._explain_separation())

    def _explain_separation(self) -> str:
        ended = self.images if self.images >= self.pace.end else 0
        schedule = self.facts["parts"]["schedule"].rpartition(" ")[0]
        return explain_separation(
            self.images, run=self.folder.path, lr_d=self.plan.lr_d, ended=ended, schedule=schedule
        )

    def _end_epoch(self) -> None:
        self.statistics.fetch(self.trainer, self.step)
        self.reporter.epoch(self._standing().progress(self.statistics.epoch.take()))

    def _standing(self) -> Standing:
        return Standing(self.images, self.step, self.values, self.pace, self.clock)

    def _sample(self) -> None:
        """A grid from the same noise each time."""
        self._own_generator()
        self.sampled_at = self.images
        if not self.leads:
            return
        png = self.samples.drawn(self.engine, self.trainer.best_generator, self.images, self.values)
        name = layout.grid_at(self.images)
        if self._try("the samples", lambda: self.folder.add_pictures((name, layout.LATEST_GRID), png)):
            self.trackers.tell("on_samples", images=self.images, path=self.folder.samples / name)

    def _snapshot(self) -> None:
        self._save(self.folder.snapshots / layout.saved_at(self.images))

    def _save(self, folder: Path) -> None:
        """The generator, so that it can be drawn from without the data or the settings."""
        takes = {name: self.values[name] for name in self.plan.takes_g if name in self.values}
        card = {**self.card, "images": self.images, "values": takes}
        tensors = self._own_generator()
        self.together.first(lambda: self.folder.write_generator(folder, tensors, card))

    def _evaluate(self) -> None:
        """Score the generator; what is best so far is kept, to be drawn from and to be gone on with."""
        self._own_generator()  # weights that are no numbers are not scored
        G = self.trainer.best_generator

        def is_best() -> bool:
            assert self.watch is not None
            found = self.watch.evaluate(self.engine, G, images=self.images, values=self.values)
            return self.watch.is_best(found)

        with self.clock.beside():
            best = self.together.first(is_best, long=True)
        if self.together.chosen(int(best or False)):
            self._try("the best snapshot", self._snapshot)
            self._try("the best checkpoint", self._checkpoint)

    def _checkpoint(self) -> None:
        """Save the full training state."""
        if self.checkpoint_at == self.images:
            return
        tensors = self.trainer.state()
        self._check_finite(tensors)
        self.together.first(self.folder.flush_stats)  # a checkpoint promises the lines that were told so far
        position = self._position()
        path = self.together.first(lambda: self.folder.write_checkpoint(self.images, tensors, position, keep=self.keep))
        self.checkpoint_at = self.images
        self.trackers.tell("on_checkpoint", images=self.images, path=path)

    def _check_finite(self, tensors: Mapping[str, np.ndarray]) -> None:
        check_finite(tensors, together=self.together, step=self.step, folder=self.folder.path)

    def _own_generator(self) -> dict[str, np.ndarray]:
        """The tensors that samples are drawn from; raises Diverged where they are not finite."""
        tensors: dict[str, np.ndarray] = self.engine.tensors(self.trainer.best_generator)
        self._check_finite({f"G/{name}": tensor for name, tensor in tensors.items()})
        return tensors

    def _position(self) -> dict[str, Any]:
        """Where the run stands, in words that JSON keeps exactly."""
        return {
            "format": 1,
            "images": self.images,
            "step": self.step,
            "end": self.pace.end,
            "facts": dict(self.facts),
            "values": dict(self.values),
            "rollbacks": self.rollbacks,
            "pending": null_for_nan(self.trainer.pending()),
            **self.statistics.state(),
            "sampled_at": self.sampled_at,
            "stats_lines": self.folder.count_stats(),
            "seconds": self.clock.seconds(),
        }

    def restore(self, folder: Path, *, elsewhere: bool = False) -> None:
        """Go back, or on, to a checkpoint.

        Args:
            folder: of the checkpoint.
            elsewhere: it belongs to another run, so that this one's statistics begin here.

        Raises:
            UsageError: if it does not fit the networks.
        """
        position = read_position(folder)
        self.images, self.step = position.images, position.step
        self.values, self.rollbacks = position.values, position.rollbacks
        restore_trainer(self.trainer, folder, position, largest=max(self.samples.framing.target))
        self.sampled_at = position.sampled_at
        self.statistics.restore(position)
        if not elsewhere:
            self.checkpoint_at = self.images
            self.together.first(lambda: self._forget_later(position.stats_lines))
            self.separation.go_back(self.folder.stats() if self.leads else ())
        self.clock = Clock(seconds=position.seconds, images=self.images)

    def _forget_later(self, lines: int) -> None:
        """Take away what the run wrote after the checkpoint that it goes back to, and will write again."""
        scores.cut(self.folder.path, self.images)
        self.folder.cut_stats(lines)

    def _roll_back(self, error: Diverged) -> None:
        """Go on from the last checkpoint with lower rates, where that was asked for and can help."""
        newest = self.folder.newest_checkpoint() if self.rolls_back and self.leads else None
        name = self.together.named("" if newest is None else newest.name)
        if not name or self.rollbacks >= ROLLBACKS:
            raise error
        found = self.folder.checkpoints / name
        rollbacks = self.rollbacks + 1
        try:
            self.restore(found)
        except UsageError as reason:  # a growing network does not shrink
            raise shared(Diverged(f"{error}; it cannot go back: {reason}")) from None
        self.rollbacks = rollbacks
        self.reporter.warn(
            f"{error}; back at {self.images:,} images, with the learning rates divided by {2**rollbacks}"
        )
