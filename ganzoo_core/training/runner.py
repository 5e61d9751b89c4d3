"""The training loop: steps, schedule values, reports, samples, scores and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.api import Schedule
from ganzoo_core.distributed.ranks import SINGLE_PROCESS, ProcessGroup, mark_shared
from ganzoo_core.engines import Plan
from ganzoo_core.engines.protocol import Engine, Trainer
from ganzoo_core.errors import Diverged, UsageError
from ganzoo_core.evaluation.during_training import TrainingEvaluator
from ganzoo_core.interrupts import stop_on_signals
from ganzoo_core.messages import pluralise
from ganzoo_core.runs import layout, scores
from ganzoo_core.runs.folder import RunFolder, read_position
from ganzoo_core.runs.health import SeparationDetector, explain_separation
from ganzoo_core.settings.lengths import is_due
from ganzoo_core.storage.decoding import nan_to_null
from ganzoo_core.terminal.progress import Reporter
from ganzoo_core.training.clock import WARM_UP_STEPS, Clock
from ganzoo_core.training.divergence import ROLLBACKS, check_finite, check_terms, lower_rates
from ganzoo_core.training.intervals import RunIntervals
from ganzoo_core.training.resuming import restore_trainer
from ganzoo_core.training.run_status import RunStatus
from ganzoo_core.training.sample_grids import SampleGrids
from ganzoo_core.training.statistics import Statistics
from ganzoo_core.training.trackers import Trackers

ESTIMATE_AFTER_STEPS = 20  # steps before the remaining time is estimated


class Runner:
    """One training run, from its first step or a checkpoint to its end.

    Args:
        engine, trainer: see `engines.protocol`.
        schedule: images seen -> values.
        plan, intervals, samples: see their classes.
        folder: of the run.
        card: the model card saved with the generator.
        reporter: prints progress, messages and warnings.
        facts: versions, device and data fingerprint, compared on resume.
        checkpoint_keep: how many checkpoints to keep.
        rolls_back: whether a diverged run returns to its last checkpoint with half the learning rates.
        trackers: of the run.
        watch: scores the generator; None without scores, and in ranks that take no part in them.
        together: the process group. All ranks take the same decisions; only rank 0 writes and prints.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        trainer: Trainer,
        schedule: Schedule,
        plan: Plan,
        intervals: RunIntervals,
        samples: SampleGrids,
        folder: RunFolder,
        card: Mapping[str, Any],
        reporter: Reporter,
        facts: Mapping[str, Any],
        checkpoint_keep: int,
        rolls_back: bool,
        trackers: Trackers,
        watch: TrainingEvaluator | None = None,
        together: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.engine, self.trainer, self.schedule = engine, trainer, schedule
        self.plan, self.intervals, self.samples = plan, intervals, samples
        self.folder, self.card, self.reporter = folder, card, reporter
        self.facts, self.checkpoint_keep, self.rolls_back = facts, checkpoint_keep, rolls_back
        self.trackers, self.watch = trackers, watch
        self.together, self.leads = together, together.rank.is_rank_zero
        self.images = self.step = self.rollbacks = 0
        self.values: Mapping[str, float] = {}
        self.sampled_at, self.checkpoint_at = -1, -1
        self.statistics, self.clock, self.separation = Statistics(), Clock(), SeparationDetector()
        self.lock: Any = None  # held until `close`

    def close(self) -> None:
        """Release the lock and stop the scoring process."""
        if self.watch is not None:
            self.watch.close()
        if self.lock is not None:
            self.lock.release()

    def run(self) -> bool:
        """Train to the end; if interrupted, save and return False.

        Raises:
            Diverged: if a loss or a weight is not finite.
            OSError: if training ended and the generator or the last checkpoint could not be saved.
        """
        with stop_on_signals() as asked, self.reporter:
            stopped, began_at = self.together.make_stop_check(asked), self.step
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
        """Whether a fully trained run was stopped before its generator was saved."""
        saved = self.together.on_rank_zero(self.folder.read_generator_images)
        return self.step > 0 and bool(self.together.broadcast_int(int(saved is not None and saved != self.images)))

    def _train(self, is_stopped: Callable[[], bool], began_at: int) -> None:
        intervals = self.intervals
        while self.images < intervals.end and not is_stopped():
            self.values = self._read_schedule(self.images)
            self.trainer.step(self.step, self.images, self.values)
            before, self.images, self.step = self.images, self.images + intervals.step_images, self.step + 1

            if self.reporter.is_stale():
                self.reporter.show(self._read_status().make_progress(self.statistics.last_report))
            if self.step - began_at == ESTIMATE_AFTER_STEPS and self.images < intervals.end:
                self.reporter.estimate(self.clock.estimate_remaining(self.images, intervals.end))
            elif self.step - began_at == WARM_UP_STEPS:
                self.clock.end_warm_up(self.images)
            if is_due(intervals.report, before, self.images) or self.images >= intervals.end:
                self._report()
                if self.sampled_at < 0:
                    self._sample()
            due = is_due(intervals.sample, before, self.images) or self.images in intervals.sample_at
            if due and self.sampled_at != self.images:
                self._sample()
            if is_due(intervals.epoch_images, before, self.images):
                self._end_epoch()
            if is_due(intervals.evaluate, before, self.images) or (intervals.evaluate and self.images >= intervals.end):
                self._evaluate()
            if is_due(intervals.snapshot, before, self.images):
                self._try_to_save("the snapshot", self._snapshot)
            if is_due(intervals.checkpoint, before, self.images):
                self._try_to_save("the checkpoint", self._checkpoint)

    def _finish(self, *, interrupted: bool) -> None:
        """Save the generator and the last checkpoint; a failure here fails the run."""
        self._checkpoint()
        if interrupted:
            self._report()
        if self.sampled_at != self.images:
            self._sample()
        self._save(self.folder.generator)
        self.together.on_rank_zero(self.folder.flush_stats)  # the last report's line

    def _read_schedule(self, images: int) -> Mapping[str, float]:
        """The schedule's values; after a rollback, with lower learning rates."""
        return lower_rates(self.schedule(images), self.plan, self.rollbacks)

    def _try_to_save(self, what: str, save: Callable[[], object]) -> bool:
        """Save; if the disk refuses, warn and go on. The next save is tried as planned."""
        try:
            save()
            return True
        except OSError as error:
            self.reporter.warn(
                f"{what} at {pluralise(self.images, 'image')} could not be saved ({error.strerror or error}); "
                "what was saved before is untouched, and training goes on"
            )
            return False

    def _report(self) -> None:
        """Write a line of statistics with the means since the last one."""
        self.statistics.fetch(self.trainer, self.step)
        terms = self.statistics.since_report.take()
        if not terms:
            return
        line = self._read_status().make_statistics_line(terms)
        if self.leads:
            self._try_to_save("the statistics", lambda: self.folder.add_stats(line))
        self.trackers.notify("on_report", line=line)
        check_terms(terms, step=self.step, folder=self.folder.path)
        self.statistics.last_report = terms
        self.reporter.report(self._read_status().make_progress(terms))
        if self.separation.update(line):
            self.reporter.advise(self._explain_separation())

    def _explain_separation(self) -> str:
        ended = self.images if self.images >= self.intervals.end else 0
        schedule = self.facts["parts"]["schedule"].rpartition(" ")[0]
        return explain_separation(
            self.images, run=self.folder.path, lr_d=self.plan.optimizer_d.lr, final_images=ended, schedule=schedule
        )

    def _end_epoch(self) -> None:
        self.statistics.fetch(self.trainer, self.step)
        self.reporter.report_epoch(self._read_status().make_progress(self.statistics.since_epoch.take()))

    def _read_status(self) -> RunStatus:
        return RunStatus(self.images, self.step, self.values, self.intervals, self.clock)

    def _sample(self) -> None:
        """Write a sample grid, always from the same noise."""
        self._read_generator_tensors()
        self.sampled_at = self.images
        if not self.leads:
            return
        png = self.samples.draw_grid(self.engine, self.trainer.inference_generator, self.images, self.values)
        name = layout.grid_at(self.images)
        if self._try_to_save("the samples", lambda: self.folder.write_sample_grid((name, layout.LATEST_GRID), png)):
            self.trackers.notify("on_samples", images=self.images, path=self.folder.samples / name)

    def _snapshot(self) -> None:
        self._save(self.folder.snapshots / layout.saved_at(self.images))

    def _save(self, folder: Path) -> None:
        """Save the generator so that images can be drawn without the data or the settings."""
        takes = {name: self.values[name] for name in self.plan.takes_g if name in self.values}
        card = {**self.card, "images": self.images, "values": takes}
        tensors = self._read_generator_tensors()
        self.together.on_rank_zero(lambda: self.folder.write_generator(folder, tensors, card))

    def _evaluate(self) -> None:
        """Score the generator; if it is the best so far, save a snapshot and a checkpoint."""
        own = self._read_generator_tensors()  # raises Diverged instead of scoring weights that are not finite
        watch, G = self.watch, self.trainer.inference_generator
        if not self.together.broadcast_int(int(watch is not None and not watch.has_given_up)):
            return
        is_shared = bool(self.together.broadcast_int(int(watch is not None and watch.is_shared)))
        if is_shared:
            self.together.broadcast_network(G)  # each rank has running statistics of its own

        def is_best() -> bool:
            if watch is None:  # other ranks score it
                return False
            return watch.is_best(watch.evaluate(self.engine, G, images=self.images, values=self.values))

        with self.clock.pause():
            best = self.together.on_all_ranks(is_best)
        if is_shared and not self.leads:
            self.engine.load_weights(G, own)  # as if there had been no score
        if self.together.broadcast_int(int(best)):
            self._try_to_save("the best snapshot", self._snapshot)
            self._try_to_save("the best checkpoint", self._checkpoint)

    def _checkpoint(self) -> None:
        """Save the full training state."""
        if self.checkpoint_at == self.images:
            return
        tensors = self.trainer.read_state()
        self._check_finite(tensors)
        self.together.on_rank_zero(self.folder.flush_stats)  # a checkpoint records how many lines there are
        position = self._make_position()
        path = self.together.on_rank_zero(
            lambda: self.folder.write_checkpoint(self.images, tensors, position, keep=self.checkpoint_keep)
        )
        self.checkpoint_at = self.images
        self.trackers.notify("on_checkpoint", images=self.images, path=path)

    def _check_finite(self, tensors: Mapping[str, np.ndarray]) -> None:
        check_finite(tensors, together=self.together, step=self.step, folder=self.folder.path)

    def _read_generator_tensors(self) -> dict[str, np.ndarray]:
        """Read the weights that samples are drawn from; raise Diverged if they are not finite."""
        tensors: dict[str, np.ndarray] = self.engine.read_weights(self.trainer.inference_generator)
        self._check_finite({f"G/{name}": tensor for name, tensor in tensors.items()})
        return tensors

    def _make_position(self) -> dict[str, Any]:
        """The run's position, in values that JSON stores exactly."""
        return {
            "format": 1,
            "images": self.images,
            "step": self.step,
            "end": self.intervals.end,
            "facts": dict(self.facts),
            "values": dict(self.values),
            "rollbacks": self.rollbacks,
            "pending": nan_to_null(self.trainer.read_pending_sums()),
            **self.statistics.state(),
            "sampled_at": self.sampled_at,
            "stats_lines": self.folder.count_stats(),
            "seconds": self.clock.read_seconds(),
        }

    def restore(self, folder: Path, *, is_other_run: bool = False) -> None:
        """Restore a checkpoint.

        Args:
            folder: of the checkpoint.
            is_other_run: whether it belongs to another run; then the statistics start afresh.

        Raises:
            UsageError: if it does not fit the networks.
        """
        position = read_position(folder)
        self.images, self.step, self.values = position.images, position.step, position.values
        largest, ranks = max(self.samples.framing.target_size), self.together.rank.world_size
        restore_trainer(self.trainer, folder, position, largest_side=largest, ranks=ranks)
        self.rollbacks, self.sampled_at = position.rollbacks, position.sampled_at
        self.statistics.restore(position)
        if not is_other_run:
            self.checkpoint_at = self.images
            self.together.on_rank_zero(lambda: self._cut_later_records(position.stats_lines))
            self.separation.rewind(self.folder.read_stats() if self.leads else ())
        self.clock = Clock(seconds=position.seconds, images=self.images)

    def _cut_later_records(self, lines: int) -> None:
        """Delete the statistics and scores written after the checkpoint; the run will write them again."""
        scores.remove_later_scores(self.folder.path, self.images)
        self.folder.truncate_stats(lines)

    def _roll_back(self, error: Diverged) -> None:
        """Restore the last checkpoint with lower learning rates; raise `error` if that is off or used up."""
        newest = self.folder.find_newest_checkpoint() if self.rolls_back and self.leads else None
        name = self.together.broadcast_text("" if newest is None else newest.name)
        if not name or self.rollbacks >= ROLLBACKS:
            raise error
        checkpoint = self.folder.checkpoints / name
        rollbacks = self.rollbacks + 1
        try:
            self.restore(checkpoint)
        except UsageError as reason:  # a growing network does not shrink
            raise mark_shared(Diverged(f"{error}; it cannot go back: {reason}")) from None
        self.rollbacks = rollbacks
        self.reporter.warn(
            f"{error}; back at {pluralise(self.images, 'image')}, with the learning rates divided by {2**rollbacks}"
        )
