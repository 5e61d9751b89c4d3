"""Make the evaluator of a run, which scores its generator as it trains, in all ranks that take part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ganzoo_core import evaluation
from ganzoo_core.api import ImageSource
from ganzoo_core.data.classes import Classes
from ganzoo_core.distributed.launchers import Launch, read_launch
from ganzoo_core.evaluation import rank_parts
from ganzoo_core.evaluation.during_training import MAX_FAILURES, TrainingEvaluator
from ganzoo_core.generation import data_rows
from ganzoo_core.generation.data_rows import DataRows, explain_fewer
from ganzoo_core.runs.folder import RunFolder
from ganzoo_core.training.setup import TrainingSetup, make_score_request


def load_test_part(built: TrainingSetup) -> ImageSource | None:
    """The images that are held out, if the generator is drawn from conditions; else None."""
    return data_rows.load_test_part(built.mix, built.data_root) if built.trainer.plan.conditions_g else None


def read_rows(
    built: TrainingSetup, test_part: ImageSource | None, count: int, *, in_order: bool = False
) -> DataRows | None:
    """Some rows of the test part, see `data_rows.choose_rows`; None without one."""
    if test_part is None:
        return None
    indices = data_rows.choose_rows(len(test_part.images), count, in_order=in_order)
    return data_rows.read_data_rows(built.mix, built.fit, test_part, indices)


def make_evaluator(built: TrainingSetup, folder: RunFolder, test_part: ImageSource | None) -> TrainingEvaluator | None:
    """Return the evaluator that scores the generator during training.

    None unless `train.evaluate_every` is set, and in ranks for which there is no part of the images.
    """
    question, together, launch = make_score_request(built.mix, built.data_root), built.together, read_launch()
    if question is None:
        return None
    environment = rank_parts.make_environment(launch, built.mix.settings["engine.device"])
    options: dict[str, Any] = {"say": built.reporter.say, "attempts": MAX_FAILURES, "environment": environment}
    # Rank 0 first: it fills caches that the others read.
    scorer = together.on_rank_zero(lambda: evaluation.Scorer(question, **options), long=True)
    count, parts = 0, 0
    if scorer is not None:
        count = built.mix.settings["train.evaluate_count"] or evaluation.choose_sample_count(scorer.reference_count)
        parts = 1 if together.rank.is_alone else -(-count // rank_parts.choose_rank_part_size(scorer))
    count, parts = together.broadcast_int(count), together.broadcast_int(parts)
    helpers = min(parts, together.rank.world_size)  # with rank 0
    among_helpers = replace(launch, rank=replace(launch.rank, world_size=helpers)) if helpers > 1 else Launch()

    def make() -> TrainingEvaluator | None:
        if together.rank.number >= helpers:
            return None
        own = scorer or evaluation.Scorer(question, extracts_only=True, **options)
        rows = read_rows(built, test_part or load_test_part(built), count, in_order=True)
        if rows is not None and len(rows) < count:
            built.reporter.say(explain_fewer(count, len(rows)))
        return TrainingEvaluator(
            own,
            run=folder.path,
            plan=built.trainer.plan,
            classes=Classes.of(built.source) if built.fit.spec.classes else Classes(()),
            framing=built.fit.framing,
            count=count if rows is None else len(rows),
            held_out=rows,
            reporter=built.reporter,
            launch=among_helpers,
            timeout=built.mix.settings["engine.timeout"],
        )

    return together.on_all_ranks(make)
