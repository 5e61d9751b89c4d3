"""Scores of a run: images are drawn in the run's own framework, in a process of its own, and scored in another."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.arguments import check_count, check_seed, read_labels
from ganzoo_core.building import find_run_data_root
from ganzoo_core.errors import UsageError
from ganzoo_core.evaluation.client import Scorer, say_nothing
from ganzoo_core.evaluation.image_files import read_images
from ganzoo_core.evaluation.request import has_ema, make_request, read_run_data
from ganzoo_core.messages import pluralise
from ganzoo_core.processes import Child, Say
from ganzoo_core.runs import generators, layout, scores
from ganzoo_core.runs.scores import Score
from ganzoo_core.settings import read_engine_settings
from ganzoo_core.storage import files
from ganzoo_core.storage.paths import expand_user
from ganzoo_core.terminal.progress import Reporter

MAX_IMAGES = 1_000_000  # images that are drawn at most
MIN_DEFAULT_IMAGES, MAX_DEFAULT_IMAGES = 1_000, 10_000  # images that are drawn where nobody says how many


def evaluate(
    run: Any = None,
    *,
    metrics: Sequence[str] | None = None,
    extractor: str | None = None,
    n: int | None = None,
    checkpoint: str | int = "last",
    images: str | Path | np.ndarray | None = None,
    labels: np.ndarray | None = None,
    reference: str = "test",
    data: str | None = None,
    data_root: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    score_real_images: bool = True,
    say: Say = say_nothing,
) -> list[Score]:
    """Score a run's generator, or images from anywhere; as `ganzoo evaluate` does.

    What is found of a run is kept in its `scores.jsonl`, with all that it was computed with. Images from anywhere are
    scored and not kept.

    Args:
        run: a run, or its folder. It may be missing where there are `images` and `data`.
        metrics: names; all that say they are default without.
        extractor: a name; the one that says it is the default without.
        n: how many images are drawn; as many as the reference has, but from 1,000 to 10,000, without.
        checkpoint: `last`, `best`, a number of images, `epoch:N`, or `all`.
        images: a folder of pictures, a .npz file, or uint8 [N,H,W,C].
        labels: int64 [N], the classes of these images, where they were drawn by class.
        reference: the part of the data they are compared with: `test`, `train` or `all`.
        data: the dataset, `NAME` or `NAME:ARGUMENT`; the run's own without.
        data_root: where data sets lie.
        seed: of the noise and of the metrics.
        device: on which the images are drawn.
        settings: of the extractor and the metrics, such as `{"metric.NAME.subsets": 50}`, and of `engine.*`, for the
            generator.
        score_real_images: whether real images are scored as well, for comparison.
        say: told what takes long.

    Returns:
        One score for each checkpoint, in the order of training.

    Raises:
        UsageError, DataError, PluginError: see `api`.
    """
    check_seed(seed)
    if n is not None:
        check_count("n", n, "images", least=2, most=MAX_IMAGES)
    folder = None if run is None else expand_user(run.folder if hasattr(run, "stats") else run)
    name, data_settings = _find_data(folder, data)
    drawn_from: list[Path] = []
    if images is None:
        if folder is None:
            raise UsageError("name a run to evaluate, or images with --images and their data with --data")
        drawn_from = generators.list_generators(folder, str(checkpoint))
    elif not isinstance(images, np.ndarray):
        images, found = read_images(expand_user(images))
        labels = found if labels is None else labels
    if images is not None and labels is not None:
        labels = read_labels(labels, f"expected {len(images)} whole numbers, one for each image", count=len(images))
    given = dict(settings or {})
    engine = {key: given.pop(key) for key in list(given) if key.startswith("engine.") or key == "max_parameters"}
    read_engine_settings(engine)
    question = make_request(
        data=name,
        data_settings=data_settings,
        data_root=data_root if folder is None else find_run_data_root(folder, data_root),
        reference=reference,
        extractor=extractor,
        metrics=metrics,
        settings=given,
        score_real_images=score_real_images,
        run=folder if folder is not None and images is None and files.is_file(folder / layout.CONFIG) else None,
    )
    with Scorer(question, say=say) as scorer:
        if images is not None:
            assert isinstance(images, np.ndarray)
            return [scorer.score(images, labels, seed=seed)]
        assert folder is not None
        if scorer.data_changes:
            changes = "; ".join(scorer.data_changes)
            Reporter().warn(f"the data are not those that the run was trained on: {changes}")
        count = n or choose_sample_count(scorer.reference_count)
        drawing = {"n": count, "seed": seed, "device": device, "settings": engine}
        return list(_score_generators(folder, drawn_from, scorer, drawing, say))


def choose_sample_count(reference_count: int) -> int:
    """How many images are drawn where nobody says: as many as the reference has, but from 1,000 to 10,000."""
    return min(max(reference_count, MIN_DEFAULT_IMAGES), MAX_DEFAULT_IMAGES)


def _find_data(folder: Path | None, data_name: str | None) -> tuple[str, dict[str, Any]]:
    if folder is not None and data_name is None:
        return read_run_data(folder)
    if data_name is None:
        raise UsageError("images from anywhere are compared with a dataset; say --data NAME, or name a run")
    same = folder is not None and files.is_file(folder / layout.CONFIG)
    own = read_run_data(folder) if folder is not None and same else ("", {})
    # The same data may lie somewhere else by now.
    return data_name, own[1] if own[0].partition(":")[0] == data_name.partition(":")[0] else {}


def _score_generators(
    run: Path, folders: Sequence[Path], scorer: Scorer, drawing: Mapping[str, Any], say: Say
) -> Iterator[Score]:
    ema = has_ema(run)
    with (
        tempfile.TemporaryDirectory(prefix="ganzoo-drawn-") as made,
        Child("ganzoo_core.evaluation.drawing_worker", "draws the images") as child,
    ):
        arrays = {"images": str(Path(made) / "images.npy"), "labels": str(Path(made) / "labels.npy")}
        for folder in folders:
            say(f"drawing {pluralise(drawing['n'], 'image')} from {folder}")
            drawn = child.ask({**drawing, **arrays, "generator": str(folder)}, say)
            told = {**arrays, "labels": arrays["labels"] if drawn["conditional"] else None}
            more = {"generator": drawn["generator"], "during": "evaluate"}
            more |= {"data_changes": scorer.data_changes} if scorer.data_changes else {}
            score = scorer.score_files(told, seed=drawing["seed"], seen=drawn["images"], ema=ema, **more)
            try:
                scores.append(run, score)
            except OSError as error:
                say(f"the scores could not be kept in {run}: {error.strerror or error}")
            yield score
