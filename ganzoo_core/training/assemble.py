"""From a Mix to a run that is ready to start: check, load, build, open.

The first three are in `setup.py`; opening a run is what touches its folder.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganzoo_core import building, evaluation
from ganzoo_core.api import ImageSource
from ganzoo_core.data import fingerprint
from ganzoo_core.data.fingerprint import Fingerprint
from ganzoo_core.data.summary import word_lines
from ganzoo_core.distributed.ranks import Place, Together
from ganzoo_core.errors import UsageError
from ganzoo_core.evaluation.during_training import FAILURES, Watch
from ganzoo_core.generation import card
from ganzoo_core.mix import Mix
from ganzoo_core.runs import health, layout, licences
from ganzoo_core.runs.facts import SAME, comparable_settings, describe_run
from ganzoo_core.runs.folder import RunFolder, read_position
from ganzoo_core.settings.lengths import Interval
from ganzoo_core.storage import files
from ganzoo_core.storage.records import Position
from ganzoo_core.terminal.progress import Reporter
from ganzoo_core.training import resuming
from ganzoo_core.training.intervals import RunIntervals
from ganzoo_core.training.resuming import FROM_NOTHING, Beginning
from ganzoo_core.training.runner import Runner
from ganzoo_core.training.sample_grids import Samples
from ganzoo_core.training.setup import Built, build, load
from ganzoo_core.training.trackers import Trackers

VISIBLE = 10.0  # seconds until a file that one machine wrote must be seen by the others


def assemble(
    resolved: Mix, *, data_root: str | Path | None, out: Path | None, quiet: bool, beginning: Beginning = FROM_NOTHING
) -> Runner:
    """`load`, `build` and `open_run`.

    Args:
        resolved: what is trained.
        data_root: see `building.data_root_of`.
        out: the folder of a new run; None for one under `runs`.
        quiet: no progress.
        beginning: what the run goes on from.

    Raises:
        UsageError, PluginError, DataError: before anything is trained.
    """
    built = build(load(resolved, data_root), quiet=quiet, beginning=beginning)
    return open_run(built, out=out, beginning=beginning)


def open_run(built: Built, *, out: Path | None, beginning: Beginning = FROM_NOTHING) -> Runner:
    """Open the run's folder, and go to where the run begins; of several processes rank 0 alone writes.

    Args:
        built: what is trained.
        out: the folder of a new run; None for one under `runs`.
        beginning: what the run goes on from.

    Raises:
        UsageError: if the run cannot go on so, before anything is trained.
    """
    together, reporter, settings = built.together, built.reporter, built.mix.settings
    taken = fingerprint.take_fingerprint(built.source, reporter.say)
    facts = _describe(built, taken, beginning)
    advice = _advise_on_length(built.mix, built.intervals, built.source, beginning, reporter)
    facts["warnings"] += [advice] if advice else []
    if not together.place.is_alone:
        beginning = _agree(built, facts, beginning)
    if beginning.checkpoint is not None:
        position = read_position(beginning.checkpoint)
        together.first(lambda: resuming.check_same(position, facts, taken, settings, beginning, reporter))
        _check_length(built, position)
    if beginning.weights is not None:
        resuming.load_weights(beginning.weights, built.trainer, built.engine, reporter)
    runner = _make_runner(built, facts, beginning.folder or _create_folder(built, out))
    try:
        _begin(runner, beginning)
        parent = {} if beginning.parent is None else {"parent": dict(beginning.parent)}
        together.first(lambda: _write_facts(runner.folder, built, {**facts, **parent}, taken))
        together.first(lambda: runner.folder.add_pictures([layout.REAL_GRID], runner.samples.of_real()))
        if not together.place.is_alone:
            _check_seen(runner.folder, together)
            built.trainer.state()  # raises where the weights differ
    except BaseException:
        runner.close()
        raise
    _say_start(built, runner, facts["data_summary"])
    if advice and not runner.images:
        reporter.advise(advice)
    if runner.images:
        reporter.say(f"goes on from {runner.images:,} images")
    end = built.intervals.end
    if beginning.checkpoint is not None and runner.images >= end and beginning.folder is None:
        longer = f"say --images {2 * runner.images} or more in all"
        reporter.warn(f"nothing is left to train: the run is {end:,} images long, and has seen them; {longer}")
    return runner


def _describe(built: Built, taken: Fingerprint, beginning: Beginning) -> dict[str, Any]:
    """What the run is made with, for `config.yaml`."""
    facts: dict[str, Any] = describe_run(built.mix, built.fit, built.source, taken, built.engine)
    origin = beginning.folder.path if beginning.folder else beginning.checkpoint or beginning.weights
    facts["licences"] = licences.unite([*licences.find_licences(origin), built.mix.parts["data"].license])
    if not built.together.place.is_alone:
        facts["ranks"] = built.together.place.count
    return facts


def _advise_on_length(
    resolved: Mix, intervals: RunIntervals, source: ImageSource, beginning: Beginning, reporter: Reporter
) -> str:
    """What to say of a run that is too short; the reporter is given the preset to name where one takes long."""
    resumed, epoch, laptop = None if beginning.folder is None else beginning.folder.path, len(source.images), ""
    if reporter.cpu and beginning.is_new:
        reporter.laptop_preset = health.find_laptop_preset(resolved, intervals.end, epoch_images=epoch)
        laptop = health.find_laptop_preset(resolved, intervals.end, epoch_images=epoch, longer=True)
    return health.find_short(resolved, intervals.end // intervals.step, laptop=laptop, resumed=resumed)


def _agree(built: Built, facts: Mapping[str, Any], beginning: Beginning) -> Beginning:
    """Check that all processes train the same; the beginning, with the checkpoint that rank 0 found."""
    same = {key: facts[key] for key in ("ganzoo", "numpy", "parts", "modifiers", "code", "data")}
    own = ("engine.threads", "use.data")  # data may lie elsewhere on each machine: their fingerprint is compared
    settings = {key: value for key, value in built.mix.settings.items() if key not in own}
    built.engine.group.check_facts({**same, **settings})
    return _as_rank_0(beginning, built.together)


def _as_rank_0(beginning: Beginning, together: Together) -> Beginning:
    """With the checkpoint that rank 0 found."""
    own = beginning.checkpoint
    name = together.named("" if own is None else own.name)
    if not name:
        return replace(beginning, checkpoint=None)
    if own is None:
        assert beginning.folder is not None
        return replace(beginning, checkpoint=beginning.folder.checkpoints / name)
    return replace(beginning, checkpoint=own.with_name(name))


def _check_length(built: Built, position: Position) -> None:
    """May a run that stands there be of this length?"""
    end = built.intervals.end
    if end < position.images:
        said = built.mix.settings.origin("train.length")
        more = said if said in ("--epochs", "--steps") else "--images"
        raise UsageError(
            f"the run has seen {position.images:,} images already, and is to end at {end:,}; say more {more}"
        )
    if end != position.end:
        planned = building.schedule_of(built.mix, built.fit, position.end)
        resuming.check_longer(planned, built.schedule, images=position.images)


def _create_folder(built: Built, out: Path | None) -> RunFolder:
    """A new folder, made by rank 0."""
    name = f"{built.mix.parts['generator'].name}-{built.mix.parts['data'].name}".lower()
    folder = built.together.first(lambda: RunFolder.create(out, name))
    path = built.together.named("" if folder is None else str(folder.path.absolute()))
    return folder or RunFolder(Path(path))


def _make_runner(built: Built, facts: Mapping[str, Any], folder: RunFolder) -> Runner:
    """The runner, at the run's first step."""
    mix, settings, plan, together = built.mix, built.mix.settings, built.trainer.plan, built.together
    built.reporter.begin(folder.path)
    return Runner(
        engine=built.engine,
        trainer=built.trainer,
        schedule=built.schedule,
        plan=plan,
        pace=built.intervals,
        samples=Samples(
            plan=plan, real=built.prepared, framing=built.fit.framing, count=settings["train.sample_count"]
        ),
        folder=folder,
        card=card.describe(
            mix,
            built.fit,
            class_names=built.source.class_names,
            epoch_images=len(built.source.images),
            step_images=plan.step_images,
            licences=facts["licences"],
        ),
        reporter=built.reporter,
        facts={
            **{key: facts[key] for key in (*SAME, "ranks") if key in facts},
            "settings": comparable_settings(settings),
        },
        keep=settings["train.checkpoint_keep"],
        rolls_back=settings["train.on_divergence"] == "rollback",
        trackers=Trackers(
            mix.trackers if together.place.leads else (),
            options=mix.tracker_options(),
            folder=folder.path,
            settings=settings,
            facts=facts,
            reporter=built.reporter,
        ),
        watch=together.first(lambda: _make_watch(built, folder), long=True),
        together=together,
    )


def _make_watch(built: Built, folder: RunFolder) -> Watch | None:
    """What scores the generator as it trains, where that was asked for."""
    settings = built.mix.settings
    if not Interval.parse(settings["train.evaluate_every"]).count:
        return None
    if "data" in built.mix.objects:
        raise UsageError(
            "images that were given in Python have no test part to score against; name a dataset, or leave "
            "train.evaluate_every off"
        )
    own = {key: value for key, value in settings.items() if key.startswith("data.")}
    question = evaluation.pose(data=settings["use.data"], data_settings=own, data_root=built.data_root)
    scorer = evaluation.Scorer(question, say=built.reporter.say, attempts=FAILURES)
    return Watch(
        scorer,
        run=folder.path,
        plan=built.trainer.plan,
        classes=built.fit.spec.classes,
        framing=built.fit.framing,
        count=settings["train.evaluate_count"] or evaluation.samples_for(scorer.reference_count),
        reporter=built.reporter,
    )


def _begin(runner: Runner, beginning: Beginning) -> None:
    """Take the folder's lock, and go to the checkpoint from which the run goes on."""
    folder, together = runner.folder, runner.together
    runner.lock = together.first(folder.lock)
    if beginning.folder is not None:
        together.first(lambda: _check_unmoved(folder, beginning.checkpoint))
    if beginning.checkpoint is not None:
        runner.restore(beginning.checkpoint, elsewhere=beginning.folder is None)
    elif beginning.folder is not None:
        for aside in together.first(folder.begin_again) or ():
            runner.reporter.warn(f"generators of the attempt before were set aside as {aside}")


def _check_unmoved(folder: RunFolder, newest: Path | None) -> None:
    """Raise UsageError if another process went on with the run before this one had its lock."""
    if folder.newest_checkpoint() != newest:
        raise UsageError(f"{folder.path} was gone on with by another process just now; resume it again")


def _write_facts(folder: RunFolder, built: Built, facts: Mapping[str, Any], taken: Fingerprint) -> None:
    """`config.yaml` with the paths by which the data are found again, and beside it the data's fingerprint."""
    kept = fingerprint.load(folder.path / layout.DATA)
    if kept is None or kept.sha256 != taken.sha256:
        fingerprint.save(folder.path / layout.DATA, taken)
    paths = building.keep_paths(built.mix, built.data_root, folder.path)
    folder.write_config(built.mix.settings, {**facts, "paths": paths})


def _check_seen(folder: RunFolder, together: Together) -> None:
    """Does every process see what rank 0 wrote? A run goes back and goes on from there."""
    until = time.monotonic() + VISIBLE
    while not (seen := files.is_file(folder.path / layout.CONFIG)) and time.monotonic() < until:
        time.sleep(0.2)
    together.every(seen, unseen(folder.path, together.place))


def unseen(path: Path, place: Place) -> str:
    """What is said where a process does not see the run's folder."""
    return (
        f"rank {place.rank} on {socket.gethostname()} does not see {path}; the processes of a run need its folder on a "
        "file system that all machines share: name such a one with --out"
    )


def _say_start(built: Built, runner: Runner, summary: Mapping[str, Any]) -> None:
    mix, spec, described = built.mix, built.fit.spec, built.engine.describe()
    g_count, d_count = (f"{built.engine.count_parameters(net):,}" for net in (built.trainer.G, built.trainer.D))
    preset = f", preset {mix.preset}" if mix.preset else ""
    names = {slot: part.name for slot, part in mix.parts.items()}
    built.reporter.say(
        f"{names['generator']} on {names['data']}{preset}: {len(built.source.images):,} images of "
        f"{spec.width}×{spec.height}×{spec.channels}, {names['loss']} loss{_around(mix)}; "
        f"G {g_count} and D {d_count} parameters, {described['device']}, {described['threads']} threads"
    )
    for line in word_lines(summary):
        built.reporter.say(line)
    built.reporter.say(f"run folder: {runner.folder.path}")


def _around(resolved: Mix) -> str:
    """The modifiers in words, in the order in which they are put around the parts, the first innermost."""
    names = [part.name for part in resolved.modifiers]
    return f" with {', then '.join(names)}" if names else ""
