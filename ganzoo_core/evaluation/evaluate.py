"""Evaluate a run: one child process draws images in the run's framework, another scores them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.arguments import check_count, check_seed, is_integer
from ganzoo_core.building import find_run_data_root
from ganzoo_core.data.classes import list_labels
from ganzoo_core.data.reading.options import read_settings
from ganzoo_core.discovery import catalog
from ganzoo_core.distributed.file_exchange import FileExchange
from ganzoo_core.distributed.launchers import Launch
from ganzoo_core.engines import check_device
from ganzoo_core.errors import UsageError
from ganzoo_core.evaluation.client import Scorer, say_nothing
from ganzoo_core.evaluation.image_files import read_images
from ganzoo_core.evaluation.rank_parts import draw_for_rank_zero, gather_parts, make_environment
from ganzoo_core.evaluation.request import PAIRS, ScoreRequest, has_ema, make_request, read_run_data
from ganzoo_core.generation.bundled import find_folder
from ganzoo_core.messages import pluralise
from ganzoo_core.processes import Child, Say
from ganzoo_core.runs import generators, layout, scores
from ganzoo_core.runs.folder import read_card
from ganzoo_core.runs.scores import Score
from ganzoo_core.settings import read_engine_settings
from ganzoo_core.storage import files
from ganzoo_core.storage.paths import expand_user
from ganzoo_core.terminal.progress import Reporter

MAX_DRAWN_IMAGES = 1_000_000  # largest number of images to draw
INHERITED = ("data.fit", "data.range", "data.frames", "data.max_megapixels")  # how images to score are read
MIN_DEFAULT_IMAGES, MAX_DEFAULT_IMAGES = 1_000, 10_000  # range of the default number of images


def evaluate(
    run: Any = None,
    *,
    metrics: Sequence[str] | None = None,
    extractor: str | None = None,
    n: int | None = None,
    checkpoint: str | int = "last",
    images: str | Path | np.ndarray | None = None,
    labels: str | int | Sequence[str | int] | np.ndarray | None = None,
    reference: str = "test",
    data: str | None = None,
    data_root: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    score_real_images: bool = True,
    say: Say = say_nothing,
    launch: Launch = Launch(),  # noqa: B008  (frozen)
) -> list[Score]:
    """Score a run's generator, or any other images, as `ganzoo evaluate` does.

    A run's scores are stored in its `scores.jsonl`, with their protocol. Scores of other images are not stored.

    Args:
        run: a run, or its folder; with `data`, also a saved generator or a model that carries one, whose scores are
            not stored. Optional with `images` and `data`.
        metrics: names; by default all metrics marked as default that fit the extractor.
        extractor: a name; by default the first of those marked as default that can serve the data.
        n: number of images to draw; by default as many as the reference has, but from 1,000 to 10,000. Of a generator
            with conditions at most one for each image of the test part, from whose conditions they are drawn.
        checkpoint: `last`, `best`, a number of images, `epoch:N`, or `all`.
        images: a folder of pictures, a .npz file, or uint8 [N,H,W,C]. All are scored. If a .npz file also holds
            `targets`, what each should be, they are compared pair by pair as well.
        labels: the classes that `images` were drawn as, N or one for all, by name or index; refused without `images`.
        reference: the split to compare with: `test`, `train` or `all`.
        data: the data set, `NAME` or `NAME:ARGUMENT`; by default the run's.
        data_root: folder of the data sets.
        seed: of the noise and of the metrics.
        device: for drawing the images.
        settings: of the extractor and the metrics, such as `{"metric.NAME.subsets": 50}`, and of `engine.*`, for the
            generator. Of `data.*`, how `images` are read: as the run's data was, but at their own size, which must be
            the same for all unless `data.size` is set.
        score_real_images: also score one half of the reference against the other: the floor.
        say: receives progress messages.
        launch: how this process was started, if all processes that were started with it call this alike, and share
            the work; see `distributed.launchers.read_launch`. By default it works on its own.

    Returns:
        One score for each checkpoint, in the order of training; none in ranks other than 0.

    Raises:
        UsageError, DataError, PluginError: see `api`.
    """
    check_seed(seed)
    rank = launch.rank
    if n is not None:
        check_count("n", n, "images", least=2, most=MAX_DRAWN_IMAGES)
        if images is not None:
            raise UsageError(
                "-n says how many images are drawn, and --images are scored as they are, all of them; leave -n out"
            )
    check_device(device)
    if labels is not None and images is None:
        raise UsageError("labels= belongs to images=; a run's generator is told its classes in turn")
    part_settings = {key: value for key, value in (settings or {}).items() if not key.startswith("data.")}
    if images is None and len(part_settings) < len(settings or {}):
        raise UsageError("settings of data.* say how --images are read, and there are none; a run's data keeps its own")
    folder = None if run is None else expand_user(run.folder if hasattr(run, "stats") else run)
    name, data_settings = _find_data(folder, data)
    if not rank.is_alone and (images is not None or folder is None or not files.is_file(folder / layout.CONFIG)):
        raise UsageError(
            f"{launch.starter} started {rank.world_size} processes, which score a run together; images from elsewhere "
            f"and saved generators are scored by one: say it without {launch.starter}"
        )
    drawn_from: list[Path] = []
    targets: np.ndarray | None = None
    if images is None:
        if folder is None:
            raise UsageError("name a run to evaluate, or images with --images and their data with --data")
        is_run = files.is_file(folder / layout.CONFIG)
        drawn_from = (
            generators.list_generators(folder, str(checkpoint)) if is_run else [find_folder(folder, str(checkpoint))]
        )
    elif not isinstance(images, np.ndarray):
        reading = {key: value for key, value in data_settings.items() if key in INHERITED}
        options = read_settings({**reading, **(settings or {})})
        images, file_labels, targets = read_images(expand_user(images), options, say=say)
        labels = file_labels if labels is None else labels
    if labels is not None and not isinstance(labels, str) and not is_integer(labels):
        assert images is not None
        labels = list_labels(labels, count=len(images))  # before the data are loaded; the scorer knows the classes
    engine = {
        key: part_settings.pop(key)
        for key in list(part_settings)
        if key.startswith("engine.") or key == "max_parameters"
    }
    timeout = read_engine_settings(engine)["engine.timeout"]
    request = make_request(
        data=name,
        data_settings=data_settings,
        data_root=data_root if folder is None else find_run_data_root(folder, data_root),
        reference=reference,
        extractor=extractor,
        metrics=metrics,
        settings=part_settings,
        score_real_images=score_real_images,
        run=folder if folder is not None and images is None and files.is_file(folder / layout.CONFIG) else None,
    )
    with contextlib.ExitStack() as stack:
        exchange, drawer = None, None
        if not rank.is_alone:
            assert folder is not None
            exchange = stack.enter_context(FileExchange(folder / layout.RANKS, launch, timeout=timeout))
        environment = make_environment(launch, device)
        if drawn_from:  # imports its framework and builds the first generator while the scorer makes itself ready
            module, task = "ganzoo_core.evaluation.drawing_worker", "draws the images"
            drawer = stack.enter_context(Child(module, task, environment=environment))
            drawer.send({"generator": str(drawn_from[0]), "device": device, "settings": engine})
        extracts_only = not rank.is_rank_zero
        scorer = stack.enter_context(Scorer(request, say=say, extracts_only=extracts_only, environment=environment))
        if images is not None:
            assert isinstance(images, np.ndarray)
            score = scorer.score(images, labels, targets=targets, seed=seed)
            if targets is None and folder is not None:
                _explain_missing_targets(folder, request, say)
            _explain_resizing(score, say)
            return [score]
        assert folder is not None
        assert drawer is not None
        if scorer.data_changes:
            changes = "; ".join(scorer.data_changes)
            Reporter().warn(f"the data are not those that the run was trained on: {changes}")
        count = n or choose_sample_count(scorer.reference_count)
        drawing = {"n": count, "seed": seed, "device": device, "settings": engine}
        drawing |= {"data": data, "data_root": None if data_root is None else str(data_root)}
        if exchange is not None and not rank.is_rank_zero:
            _help_rank_zero(drawn_from, scorer, drawer, drawing, exchange)
            return []
        return list(_score_generators(folder, drawn_from, scorer, drawer, drawing, exchange, say))


def choose_sample_count(reference_count: int) -> int:
    """The default number of images to draw: as many as the reference has, but from 1,000 to 10,000."""
    return min(max(reference_count, MIN_DEFAULT_IMAGES), MAX_DEFAULT_IMAGES)


def _explain_resizing(score: Score, say: Say) -> None:
    """Say how images of another size than the data's were brought to it."""
    (height, width), (own_height, own_width) = score.protocol["size"][:2], score.protocol["drawn_size"][:2]
    if (height, width) != (own_height, own_width):
        cut = "" if own_height * width == own_width * height else "cropped to its aspect and "
        say(f"the images are {own_width}×{own_height} pixels and the data {width}×{height}: they were {cut}resized")


def _explain_missing_targets(run: Path, request: ScoreRequest, say: Say) -> None:
    """Say which metrics are left out where a run draws from conditions, and the images come without their targets."""
    card = run / layout.GENERATOR / layout.CARD
    if not files.is_file(card) or not read_card(card.parent).spec.conditions:
        return
    picked = dict.fromkeys(name for candidate in request.candidates for name in candidate.metrics)
    metrics = [catalog.scan().find("metrics", name) for name in picked]
    names = [part.name for part in metrics if PAIRS in part.needs]
    if names:
        verb, they_are = ("compares", "it is") if len(names) == 1 else ("compare", "they are")
        say(
            f"{' and '.join(names)} {verb} each image with its target, and these images come without any: {they_are} "
            "left out; a .npz file with images and targets has them, as ganzoo generate RUN --on test --out FILE.npz "
            "writes it"
        )


def _find_data(folder: Path | None, data_name: str | None) -> tuple[str, dict[str, Any]]:
    if folder is not None and data_name is None:
        return read_run_data(folder)
    if data_name is None:
        raise UsageError("images from anywhere are compared with a dataset; say --data NAME, or name a run")
    same = folder is not None and files.is_file(folder / layout.CONFIG)
    own = read_run_data(folder) if folder is not None and same else ("", {})
    # The run's options still apply if `data` is the same data set at another path.
    return data_name, own[1] if own[0].partition(":")[0] == data_name.partition(":")[0] else {}


def _help_rank_zero(
    folders: Sequence[Path], scorer: Scorer, drawer: Child, drawing: Mapping[str, Any], exchange: FileExchange
) -> None:
    drawer.receive(say_nothing)  # that it is ready
    with tempfile.TemporaryDirectory(prefix="ganzoo-drawn-") as temporary:
        for number, folder in enumerate(folders):
            asked = {**drawing, "generator": str(folder)}
            draw_for_rank_zero(exchange, scorer, drawer, asked, number, Path(temporary))


def _score_generators(
    run: Path,
    folders: Sequence[Path],
    scorer: Scorer,
    drawer: Child,
    drawing: Mapping[str, Any],
    exchange: FileExchange | None,
    say: Say,
) -> Iterator[Score]:
    is_run = files.is_file(run / layout.CONFIG)
    ema = has_ema(run) if is_run else None
    with tempfile.TemporaryDirectory(prefix="ganzoo-drawn-") as temporary:
        for number, folder in enumerate(folders):
            say(f"drawing {pluralise(drawing['n'], 'image')} from {folder}")
            if number == 0:
                drawer.receive(say)  # that it is ready
            drawn: dict[str, Any] = {}
            asked = {**drawing, "generator": str(folder)}
            scorer.send_parts(
                gather_parts(exchange, scorer, drawer, asked, number, Path(temporary), drawn, say),
            )
            more = {"generator": drawn["generator"], "during": "evaluate"}
            more |= {"data_changes": scorer.data_changes} if scorer.data_changes else {}
            score = scorer.finish(seed=drawing["seed"], seen=drawn["images"], ema=ema, **more)
            try:
                if is_run:
                    scores.append(run, score)
            except OSError as error:
                say(f"the scores could not be kept in {run}: {error.strerror or error}")
            yield score
