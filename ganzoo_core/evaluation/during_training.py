"""Scores during training: of the same noise each time, kept in the run, with a word where the generator collapses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.data.framing import Framing, crop_padding
from ganzoo_core.engines import Plan
from ganzoo_core.engines.protocol import Engine
from ganzoo_core.errors import GanzooError
from ganzoo_core.evaluation.client import Scorer
from ganzoo_core.messages import pluralise
from ganzoo_core.processes import ChildEnded
from ganzoo_core.randomness import latents, philox
from ganzoo_core.runs import health, scores
from ganzoo_core.runs.scores import Score
from ganzoo_core.terminal.progress import Reporter

SEED = 0
MAX_FAILURES = 3  # in a row, after which a run is scored no more


class TrainingEvaluator:
    """Evaluates one run as it trains. A failure is told and never stops the run.

    The images are those that `ganzoo evaluate RUN --checkpoint IMAGES -n COUNT` draws later, and so are the scores.

    Args:
        scorer: see there; it is closed with this.
        run: the run's folder.
        plan: says where z comes from, and what G takes.
        classes: of a conditional model; 0 for an unconditional one.
        framing: how the images came to the networks' size; padding is cut away.
        count: images that are drawn each time.
        reporter: what the user sees.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        run: Path,
        plan: Plan,
        classes: int,
        framing: Framing,
        count: int,
        reporter: Reporter,
    ) -> None:
        self.scorer, self.run, self.framing, self.reporter = scorer, run, framing, reporter
        self.takes, self.ema = plan.takes_g, plan.ema_halflife is not None
        self.noise = latents(philox(SEED, "generate"), count, plan.latent_dim, plan.latent)
        self.labels = np.arange(count) % classes if classes else None
        self._collapsed = False
        self._failures = 0  # in a row

    def evaluate(self, engine: Engine, G: Any, *, images: int, values: Mapping[str, float]) -> Score | None:
        """Score a generator as it stands, and keep the score; None where that failed, which was told.

        Args:
            engine: the one that G belongs to.
            G: the generator, or its moving average.
            images: real images seen so far.
            values: the schedule's.
        """
        if self._failures >= MAX_FAILURES:
            return None
        taken = {name: values[name] for name in self.takes if name in values}
        drawn = crop_padding(
            engine.draw(G, self.noise, self.labels, taken), self.framing.crop, self.framing.target_size
        )
        try:
            found = self._score(drawn, images)
            scores.append(self.run, found)
            self._failures = 0
            self._report_score(found)
        except (GanzooError, OSError) as error:
            self.reporter.warn(f"at {pluralise(images, 'image')} there is no score: {error}; training goes on")
            self._count_failure()
            return None
        return found

    def _score(self, drawn: np.ndarray, images: int) -> Score:
        """Score, in a process that is started again as often as it ends, but for too many times in a row."""
        while True:
            try:
                return self.scorer.score(drawn, self.labels, seed=SEED, seen=images, ema=self.ema, during="training")
            except ChildEnded as error:
                if self._failures + 1 >= MAX_FAILURES:
                    raise
                self._failures += 1
                self.reporter.warn(f"{error}; it is started again")
                self.scorer.restart()

    def _count_failure(self) -> None:
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            self.scorer.close()
            self.reporter.warn(
                f"scoring failed {MAX_FAILURES} times in a row, so this run is scored no more; `ganzoo evaluate "
                f"{self.run} "
                "--checkpoint all` scores its snapshots later"
            )

    def is_best(self, newest: Score | None) -> bool:
        """Whether no score of the run is better than this one."""
        if newest is None:
            return False
        try:
            best = scores.find_best(scores.read(self.run))
        except (GanzooError, OSError):  # told when it was written
            return False
        return best is not None and best.images == newest.images

    def close(self) -> None:
        """End the process that scores."""
        self.scorer.close()

    def _report_score(self, newest: Score) -> None:
        named = " · ".join(f"{name} {value:.4g}" for name, value in newest.scores.items() if name in newest.better)
        self.reporter.say(f"  {pluralise(newest.images or 0, 'image')} · {named}")
        alike = [
            score for score in scores.select_latest(scores.read(self.run)) if not scores.find_differences(score, newest)
        ]
        main = scores.find_main_score()
        values = [score.scores.get(main, float("nan")) for score in alike]
        was, self._collapsed = self._collapsed, main in newest.scores and scores.has_collapsed(values)
        if self._collapsed and not was:
            best = min(alike, key=lambda score: score.scores.get(main, float("inf")))
            self.reporter.warn(
                f"{main} was over twice its best, {best.scores[main]:.4g} at "
                f"{pluralise(best.images or 0, 'image')}, at {scores.COLLAPSE_EVALUATIONS} evaluations running: the "
                "generator has "
                f"collapsed. `ganzoo generate {self.run} --checkpoint best` draws from the best that is kept; a lower "
                f"learning rate, another loss{health.advise_modifiers(' or ')} may keep a new run from it"
            )
