"""Evaluation during training, always from the same noise; scores are kept in the run, a collapse gives a warning."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.data.classes import Classes
from ganzoo_core.data.framing import Framing, crop_padding, shrink_conditions
from ganzoo_core.engines import Plan
from ganzoo_core.engines.protocol import Engine
from ganzoo_core.errors import GanzooError
from ganzoo_core.evaluation.client import Scorer
from ganzoo_core.generation.data_rows import DataRows
from ganzoo_core.messages import pluralise
from ganzoo_core.processes import ChildEnded
from ganzoo_core.randomness import latents, philox
from ganzoo_core.runs import health, scores
from ganzoo_core.runs.scores import Score
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
        self._collapsed = False
        self._failures = 0  # in a row

    def evaluate(self, engine: Engine, G: Any, *, images: int, values: Mapping[str, float]) -> Score | None:
        """Score the current generator and store the score; None after a failure, which gives a warning.

        Args:
            engine: G's engine.
            G: the generator, or its moving average.
            images: real images seen so far.
            values: the schedule's current values.
        """
        if self._failures >= MAX_FAILURES:
            return None
        parts = self._draw(engine, G, {name: values[name] for name in self.takes if name in values})
        first = [next(parts)]  # before the `try`: an error in drawing is the run's
        try:
            score = self._score(first, parts, images)
            scores.append(self.run, score)
            self._failures = 0
            self._report_score(score)
        except (GanzooError, OSError) as error:
            self.reporter.warn(f"at {pluralise(images, 'image')} there is no score: {error}; training goes on")
            self._count_failure()
            return None
        return score

    def _draw(self, engine: Engine, G: Any, values: Mapping[str, float]) -> Iterator[np.ndarray]:
        """Draw the images part by part, uint8 [P,H,W,C]."""
        size, crop = self.framing.target_size, self.framing.crop
        conditions = shrink_conditions(self.conditions, size, values)
        for first in range(0, len(self.noise), self.scorer.part_size):
            rows = slice(first, first + self.scorer.part_size)
            more: dict[str, Any] = {"conditions": {name: of_name[rows] for name, of_name in conditions.items()}}
            more |= {"alone": self.alone, "noise_seed": SEED, "first": first}
            labels = None if self.labels is None else self.labels[rows]
            yield crop_padding(engine.draw(G, self.noise[rows], labels, values, **more), crop, size)

    def _score(self, drawn: list[np.ndarray], rest: Iterator[np.ndarray], images: int) -> Score:
        """Score the images, restarting the process if it ends, up to `MAX_FAILURES` failures in a row.

        Args:
            drawn: the first part; the others are added, so that a new process is shown all of them.
            rest: draws the others.
            images: real images seen so far.
        """
        while True:
            try:
                return self.scorer.score_parts(
                    _remember(drawn, rest),
                    self.labels,
                    targets=self._find_targets(drawn[0]),
                    seed=SEED,
                    seen=images,
                    ema=self.ema,
                    during="training",
                )
            except ChildEnded as error:
                if self._failures + 1 >= MAX_FAILURES:
                    raise
                self._failures += 1
                self.reporter.warn(f"{error}; it is started again")
                self.scorer.restart()

    def _find_targets(self, drawn: np.ndarray) -> np.ndarray | None:
        """What each image should be; None for a growing network's smaller ones."""
        return self.targets if self.targets is not None and self.targets.shape[1:] == drawn.shape[1:] else None

    def _count_failure(self) -> None:
        self._failures += 1
        if self._failures >= MAX_FAILURES:
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


def _remember(known: list[np.ndarray], rest: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the parts that are known, then the rest, which is known from then on."""
    yield from list(known)
    for part in rest:
        known.append(part)
        yield part
