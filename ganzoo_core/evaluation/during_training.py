"""Evaluation during training, always from the same noise; scores are kept in the run, a collapse gives a warning.

Where several ranks train, each draws and looks at every so many parts, and rank 0 scores them in their order: the
scores are those of one process. `rank_parts` does the same for `ganzoo evaluate`, where other processes draw.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.data.classes import Classes
from ganzoo_core.data.framing import Framing, crop_padding, shrink_conditions
from ganzoo_core.distributed.file_exchange import FileExchange
from ganzoo_core.distributed.launchers import Launch
from ganzoo_core.engines import Plan
from ganzoo_core.engines.protocol import Engine
from ganzoo_core.errors import GanzooError
from ganzoo_core.evaluation.client import Scorer
from ganzoo_core.evaluation.rank_parts import PartRecord, check_alike, choose_rank_part_size, find_stride
from ganzoo_core.generation.data_rows import DataRows
from ganzoo_core.messages import pluralise
from ganzoo_core.processes import ChildEnded
from ganzoo_core.randomness import latents, philox
from ganzoo_core.runs import health, layout, scores
from ganzoo_core.runs.scores import Score
from ganzoo_core.storage import files
from ganzoo_core.terminal.progress import Reporter

SEED = 0
MAX_FAILURES = 3  # in a row, after which scoring stops


class TrainingEvaluator:
    """Evaluates a run as it trains. A failure gives a warning and never stops the run.

    Images and scores are the same as from `ganzoo evaluate RUN --checkpoint IMAGES -n COUNT` later.

    Args:
        scorer: closed by `close`.
        run: the run's folder.
        plan: gives the latent distribution, and the schedule values that G takes.
        classes: of the training data; none for an unconditional model.
        framing: how the data were framed; padding is cropped from generated images.
        count: images drawn per evaluation.
        held_out: `count` rows that they are drawn from, if G takes conditions; else None.
        reporter: shows messages to the user.
        launch: how this process was started, if all ranks evaluate together; by default it works on its own.
        timeout: seconds without a sign of life after which another rank has ended.

    Attributes:
        is_shared: whether the other ranks take part. All then call `evaluate`, with rank 0's generator.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        run: Path,
        plan: Plan,
        classes: Classes,
        framing: Framing,
        count: int,
        reporter: Reporter,
        held_out: DataRows | None = None,
        launch: Launch = Launch(),  # noqa: B008  (frozen)
        timeout: float = 0.0,
    ) -> None:
        self.scorer, self.run, self.framing, self.reporter = scorer, run, framing, reporter
        self.takes, self.ema, self.alone = plan.takes_g, plan.ema is not None, plan.drawn_alone
        self.noise = latents(philox(SEED, "generate"), count, plan.latent_dim, plan.latent)
        self.labels = classes.take_turns(count) if classes else None
        self.conditions = {} if held_out is None else held_out.conditions
        self.targets = None
        if held_out is not None:
            self.targets = crop_padding(held_out.images, framing.crop, framing.target_size)
        if held_out is not None and classes:
            self.labels = held_out.labels
        self.launch, self.timeout, self.is_shared = launch, timeout, not launch.rank.is_alone
        self._collapsed = False
        self._failures = 0  # in a row
        self._drawing_error: Exception | None = None

    @property
    def part_size(self) -> int:
        """Images in a part."""
        return choose_rank_part_size(self.scorer) if self.is_shared else self.scorer.part_size

    @property
    def has_given_up(self) -> bool:
        """Whether scoring failed too often, so that the run is scored no more."""
        return self._failures >= MAX_FAILURES

    def evaluate(self, engine: Engine, G: Any, *, images: int, values: Mapping[str, float]) -> Score | None:
        """Score the current generator and store the score.

        Args:
            engine: G's engine.
            G: the generator, or its moving average.
            images: real images seen so far.
            values: the schedule's current values.

        Returns:
            The score; None after a failure, of which rank 0 warns, and in the other ranks.
        """
        if self.has_given_up:
            return None
        values = {name: values[name] for name in self.takes if name in values}
        try:
            with self._meet_others() as exchange:
                if not self.launch.rank.is_rank_zero:
                    assert exchange is not None
                    self._help_rank_zero(exchange, engine, G, values, images)
                    return None
                own = self._draw(engine, G, values, self._list_own_parts())
                score = self._score(exchange, own, images)
            scores.append(self.run, score)
            self._failures = 0
            self._report_score(score)
        except (GanzooError, OSError) as error:
            if error is self._drawing_error:  # that is the run's
                raise
            if self.launch.rank.is_rank_zero:
                self.reporter.warn(f"at {pluralise(images, 'image')} there is no score: {error}; training goes on")
                self._count_failure()
            elif not getattr(error, "is_shared", False):  # rank 0 did not hear of it
                why = files.explain_os_error(error) if isinstance(error, OSError) else str(error)
                number = self.launch.rank.number
                Reporter().warn(f"rank {number} cannot help with the score at {pluralise(images, 'image')}: {why}")
            return None
        return score

    def _meet_others(self) -> contextlib.AbstractContextManager[FileExchange | None]:
        if not self.is_shared:
            return contextlib.nullcontext()
        return FileExchange(self.run / layout.RANKS, self.launch, timeout=self.timeout)

    def _draw(
        self, engine: Engine, G: Any, values: Mapping[str, float], indices: Iterable[int]
    ) -> Iterator[np.ndarray]:
        """Draw the parts of these numbers, uint8 [P,H,W,C]."""
        size, crop = self.framing.target_size, self.framing.crop
        conditions = shrink_conditions(self.conditions, size, values)
        for index in indices:
            rows = self._find_rows(index)
            more: dict[str, Any] = {"conditions": {name: of_name[rows] for name, of_name in conditions.items()}}
            more |= {"alone": self.alone, "noise_seed": SEED, "first": rows.start}
            labels = None if self.labels is None else self.labels[rows]
            try:
                drawn = engine.draw(G, self.noise[rows], labels, values, **more)
            except (GanzooError, OSError) as error:
                self._drawing_error = error
                raise
            yield crop_padding(drawn, crop, size)

    def _list_own_parts(self) -> list[int]:
        """The numbers of this rank's parts."""
        first, step = find_stride(self.launch.rank)
        return list(range(first, -(-len(self.noise) // self.part_size), step))

    def _find_rows(self, index: int) -> slice:
        """The rows of a part."""
        return slice(index * self.part_size, (index + 1) * self.part_size)

    def _score(self, exchange: FileExchange | None, own: Iterator[np.ndarray], images: int) -> Score:
        """Score the images, restarting the process if it ends, up to `MAX_FAILURES` failures in a row.

        Args:
            exchange: with the other ranks, if they take part.
            own: draws this rank's parts.
            images: real images seen so far.
        """
        drawn: list[np.ndarray | Path] = [next(own)]
        targets = self._find_targets(drawn[0])
        # What was drawn is kept, so that a new process is shown all of it.
        rest = own if exchange is None else self._gather(exchange, own, images)
        while True:
            try:
                return self.scorer.score_parts(
                    self._join_for_whole(_remember(drawn, rest)),
                    self.labels,
                    targets=targets,
                    seed=SEED,
                    seen=images,
                    ema=self.ema,
                    during="training",
                )
            except ChildEnded as error:
                self._restart(error, self.reporter.warn)

    def _gather(self, exchange: FileExchange, own: Iterator[np.ndarray], images: int) -> Iterator[np.ndarray | Path]:
        """All ranks' parts behind the first, in order: rank 0's as it draws them, and files of the others."""
        for index in range(1, -(-len(self.noise) // self.part_size)):
            owner = index % self.launch.rank.world_size
            if owner == 0:
                yield next(own)
                continue
            record, box = exchange.take(owner, f"{index}.json", PartRecord)
            for warning in record.warnings:
                self.reporter.warn(f"rank {owner}: {warning}")
            check_alike(owner, record, self.scorer, self._describe_part(images))
            yield box / f"{index}.npz" if self.scorer.batch else np.load(box / f"{index}.npy", allow_pickle=False)

    def _join_for_whole(self, parts: Iterator[np.ndarray | Path]) -> Iterator[np.ndarray | Path]:
        """The parts; a single one for an extractor that looks at all images at once."""
        if not self.is_shared or self.scorer.batch:
            return parts
        return iter([np.concatenate([np.asarray(part) for part in parts])])

    def _help_rank_zero(
        self, exchange: FileExchange, engine: Engine, G: Any, values: Mapping[str, float], images: int
    ) -> None:
        """Draw this rank's parts, look at them, and give their features to rank 0, or the images themselves."""
        record = {**self._describe_part(images), "conditions": json.dumps(self.scorer.conditions)}
        indices, warnings = self._list_own_parts(), list[str]()
        while indices:
            own = self._draw(engine, G, values, tuple(indices))
            try:
                for _ in self._give_parts(exchange, own, tuple(indices)):
                    exchange.put(f"{indices[0]}.json", {**record, "warnings": warnings})
                    warnings.clear()
                    del indices[0]  # rank 0 may be reading it: a new process begins behind it
                    exchange.check()
            except ChildEnded as error:
                self._restart(error, warnings.append)
        self._failures = 0

    def _give_parts(
        self, exchange: FileExchange, own: Iterator[np.ndarray], indices: Sequence[int]
    ) -> Iterator[object]:
        """Write the parts of these numbers into this rank's box; yield when each is there."""
        if not self.scorer.batch:
            for index, part in zip(indices, own, strict=True):
                np.save(exchange.box / f"{index}.npy", part, allow_pickle=False)
                yield part
            return
        first = next(own)
        targets, rows = self._find_targets(first), [self._find_rows(index) for index in indices]
        yield from self.scorer.save_features(
            itertools.chain([first], own),
            _select(self.labels, rows),
            targets=_select(targets, rows),
            paths=[exchange.box / f"{index}.npz" for index in indices],
        )

    def _describe_part(self, images: int) -> dict[str, Any]:
        """What is the same in all ranks of a score; see `PartRecord`."""
        facts = {"count": len(self.noise), "images": images, "generator": str(images)}
        return {**facts, "conditional": self.labels is not None, "paired": self.targets is not None}

    def _restart(self, error: ChildEnded, warn: Callable[[str], None]) -> None:
        """Start the scoring process again, and warn; raise the error if that was done too often."""
        if self._failures + 1 >= MAX_FAILURES:
            raise error
        self._failures += 1
        warn(f"{error}; it is started again")
        self.scorer.restart()

    def _find_targets(self, drawn: Any) -> np.ndarray | None:
        """What each image should be; None for a growing network's smaller ones."""
        return self.targets if self.targets is not None and self.targets.shape[1:] == drawn.shape[1:] else None

    def _count_failure(self) -> None:
        self._failures += 1
        if self.has_given_up:
            self.scorer.close()
            self.reporter.warn(
                f"scoring failed {MAX_FAILURES} times in a row, so this run is scored no more; `ganzoo evaluate "
                f"{shlex.quote(str(self.run))} --checkpoint all` scores its snapshots later"
            )

    def is_best(self, newest: Score | None) -> bool:
        """Whether `newest` is the run's best score."""
        if newest is None:
            return False
        try:
            best = scores.find_best(scores.read(self.run))
        except (GanzooError, OSError):  # was reported when it was written
            return False
        return best is not None and best.images == newest.images

    def close(self) -> None:
        """End the scoring process."""
        self.scorer.close()

    def _report_score(self, newest: Score) -> None:
        named = " · ".join(
            f"({name} {text})" if name in newest.doubts else f"{name} {text}"
            for name, text in ((name, newest.format(name)) for name in newest.scores if name in newest.better)
        )
        self.reporter.say(f"  {pluralise(newest.images or 0, 'image')} · {named}")
        alike = [
            score for score in scores.select_latest(scores.read(self.run)) if not scores.find_differences(score, newest)
        ]
        main = scores.find_main_score(newest)
        values = [score.scores.get(main, float("nan")) for score in alike]
        best = min(alike, key=lambda score: score.scores.get(main, float("inf")), default=newest)
        spread = best.scores.get(main + scores.STD_SUFFIX, 0.0)
        was_collapsed, self._collapsed = self._collapsed, bool(main) and scores.has_collapsed(values, spread)
        if self._collapsed and not was_collapsed:
            draw = f"ganzoo generate {shlex.quote(str(self.run))} --checkpoint best"
            draw += " --on test" if self.conditions else ""
            self.reporter.warn(
                f"{main} was over twice its best, {best.scores[main]:.4g} at "
                f"{pluralise(best.images or 0, 'image')}, at {scores.COLLAPSE_EVALUATIONS} evaluations running: the "
                f"generator has collapsed. `{draw}` draws from the best that is kept; a lower learning rate, another "
                f"loss{health.advise_modifiers(' or ')} may keep a new run from it"
            )


def _select(array: np.ndarray | None, rows: list[slice]) -> np.ndarray | None:
    """These rows of an array, one after the other."""
    return None if array is None else np.concatenate([array[each] for each in rows])


def _remember(
    known: list[np.ndarray | Path], rest: Iterator[np.ndarray] | Iterator[np.ndarray | Path]
) -> Iterator[np.ndarray | Path]:
    """Yield the parts that are known, then the rest, which is known from then on."""
    yield from list(known)
    for part in rest:
        known.append(part)
        yield part
