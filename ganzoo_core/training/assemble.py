"""From a Mix to a run that is ready to start: read the data, check that it fits, build the parts."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ganzoo_core import building, engines, evaluation
from ganzoo_core.api import ImageSource
from ganzoo_core.data import fingerprint, framing
from ganzoo_core.data.fingerprint import Fingerprint
from ganzoo_core.data.summary import word_lines
from ganzoo_core.discovery import catalog
from ganzoo_core.distributed.launchers import check_cluster
from ganzoo_core.distributed.ranks import ALONE, Place, Together, check, here
from ganzoo_core.engines import Plan
from ganzoo_core.errors import UsageError
from ganzoo_core.evaluation.during_training import FAILURES, Watch
from ganzoo_core.generation import card
from ganzoo_core.mix import Fit, Mix, fit_batch, pick_preset
from ganzoo_core.report import notebook
from ganzoo_core.runs import health, layout, licences
from ganzoo_core.runs.facts import SAME, comparable_settings, describe_run
from ganzoo_core.runs.folder import RunFolder, read_position
from ganzoo_core.settings import CORE, Settings
from ganzoo_core.settings.lengths import Interval, minutes_of
from ganzoo_core.storage import files
from ganzoo_core.storage.records import Position
from ganzoo_core.terminal.progress import Mute, Reporter
from ganzoo_core.training import resuming, timed_length
from ganzoo_core.training.intervals import RunIntervals
from ganzoo_core.training.resuming import FROM_NOTHING, Beginning
from ganzoo_core.training.runner import Runner
from ganzoo_core.training.sample_grids import Samples
from ganzoo_core.training.trackers import Trackers

VISIBLE = 10.0  # seconds until a file that one machine wrote must be seen by the others


@dataclass(frozen=True)
class Loaded:
    """A mix and its data, which fit.

    Attributes:
        mix: what is trained, with the preset that the number of images suggests.
        source: the images as they are.
        fit: how they and the networks fit.
        engine: made already where several processes train together, whose group it holds.
        notes: what to tell the user of the preset.
        data_root: see `building.data_root_of`.
    """

    mix: Mix
    source: ImageSource
    fit: Fit
    engine: Any
    notes: tuple[str, ...]
    data_root: str | Path | None


def load(resolved: Mix, data_root: str | Path | None) -> Loaded:
    """Read the data, take the preset that suits how many there are, and check that all fits.

    Where torchrun started several processes, they meet before the data are read.

    Raises:
        UsageError, PluginError: if something does not fit.
        DataError: if the data cannot be read.
    """
    place = here()
    settings = resolved.settings
    check(place, framework=resolved.framework, batch_size=settings["train.batch_size"])
    check_cluster(resolved.framework)
    building.fit_of(resolved)  # the card alone may tell that it cannot work: then nothing is read or downloaded
    engine = None if place.is_alone else engines.create(resolved.framework, settings, place=place)
    together: Together = ALONE if engine is None else engine.group
    source = _read_data(resolved, data_root, together)
    note = ""
    if resolved.presets_by_count:
        without = resolved.options("data")
        resolved, note = pick_preset(catalog.scan(), resolved, source.whole or len(source.images))
        if resolved.options("data") != without:
            source = _read_data(resolved, data_root, together)
    fitted = building.fitted_to(resolved, source)
    resolved, smaller = fit_batch(resolved, len(source.images), ranks=place.count)
    check(place, framework=resolved.framework, batch_size=resolved.settings["train.batch_size"])
    return Loaded(resolved, source, fitted, engine, tuple(filter(None, (note, smaller))), data_root)


def _read_data(resolved: Mix, data_root: str | Path | None, together: Together) -> ImageSource:
    """The data; rank 0 reads them first, and leaves them where the others find them."""
    source = together.first(lambda: building.load_data(resolved, data_root), long=True)
    return building.load_data(resolved, data_root) if source is None else source


def assemble(
    resolved: Mix, *, data_root: str | Path | None, out: Path | None, quiet: bool, beginning: Beginning = FROM_NOTHING
) -> Runner:
    """`load`, then `open_run`."""
    return open_run(load(resolved, data_root), out=out, quiet=quiet, beginning=beginning)


def open_run(loaded: Loaded, *, out: Path | None, quiet: bool, beginning: Beginning = FROM_NOTHING) -> Runner:
    """Import the framework, build everything, and open the run's folder; of several processes rank 0 alone opens it.

    Args:
        loaded: what is trained.
        out: the folder of a new run; None for one under `runs`.
        quiet: no progress.
        beginning: what the run goes on from.

    Raises:
        UsageError, PluginError: before anything is trained.
    """
    resolved, source, fitted, data_root = loaded.mix, loaded.source, loaded.fit, loaded.data_root
    settings, model, place = resolved.settings, resolved.parts["generator"], here()
    if beginning.checkpoint is not None and minutes_of(settings["train.length"]):
        raise UsageError(
            f"train.length is {settings['train.length']}, and a length in time is for a run that begins from nothing; "
            "say --images, how long it is to be in all"
        )
    engine = loaded.engine or engines.create(resolved.framework, settings)
    together: Together = ALONE if place.is_alone else engine.group
    reporter: Reporter = Mute()
    if place.leads:
        cpu = engine.describe()["device"] == "cpu"
        reporter = notebook.reporter(quiet=quiet, cpu=cpu, laptop_preset="")
    for note in loaded.notes:
        reporter.say(note)
    if not source.whole and _is_asked_for("data.holdout", settings, beginning):
        reporter.say("data.holdout changes nothing here: these images have a test part of their own, or none")
    for note in (*resolved.warnings, *source.notes, *engine.notes):
        reporter.warn(note)
    engine.tell = reporter.warn

    prepared = framing.prepare(source, fitted.framing, fitted.spec.channels, say=reporter.say)
    resolved, initial = timed_length.fix_length(resolved, engine, fitted, prepared, together, reporter.say)
    settings = resolved.settings
    pace = RunIntervals.of(
        settings, epoch_images=len(source.images), step_images=building.plan_of(resolved).step_images
    )
    schedule = building.schedule_of(resolved, fitted, pace.end)
    building.check_resolution(resolved, schedule(0))
    trainer = building.build_trainer(engine, resolved, fitted, prepared, schedule(0))
    if initial is not None:
        trainer.restore(initial)
    plan = trainer.plan

    taken = fingerprint.take_fingerprint(source, reporter.say)
    made_with = describe_run(resolved, fitted, source, taken, engine)
    going_on = beginning.folder.path if beginning.folder else beginning.checkpoint or beginning.weights
    made_with["licences"] = licences.unite([*licences.find_licences(going_on), resolved.parts["data"].license])
    advice = _advise_on_length(resolved, pace, source, beginning, reporter)
    made_with["warnings"] += [advice] if advice else []
    made_with |= {} if place.is_alone else {"ranks": place.count}
    if not place.is_alone:
        same = {key: made_with[key] for key in ("ganzoo", "numpy", "parts", "modifiers", "code", "data")}
        own = ("engine.threads", "use.data")  # data may lie elsewhere on each machine: their fingerprint is compared
        engine.group.check_facts({**same, **{key: value for key, value in settings.items() if key not in own}})
        beginning = _as_rank_0(beginning, together)
    position = read_position(beginning.checkpoint) if beginning.checkpoint else None
    if position is not None:
        together.first(lambda: resuming.check_same(position, made_with, taken, settings, beginning, reporter))
        _check_length(
            position,
            pace,
            schedule,
            lambda end: building.schedule_of(resolved, fitted, end),
            said=settings.origin("train.length"),
        )
    if beginning.weights is not None:
        resuming.load_weights(beginning.weights, trainer, engine, reporter)
    folder = beginning.folder or _created(together, out, f"{model.name}-{resolved.parts['data'].name}".lower())
    reporter.begin(folder.path)
    parent = {} if beginning.parent is None else {"parent": dict(beginning.parent)}
    samples = Samples(plan=plan, real=prepared, framing=fitted.framing, count=settings["train.sample_count"])
    runner = Runner(
        engine=engine,
        trainer=trainer,
        schedule=schedule,
        plan=plan,
        pace=pace,
        samples=samples,
        folder=folder,
        card=card.describe(
            resolved,
            fitted,
            class_names=source.class_names,
            epoch_images=len(source.images),
            step_images=plan.step_images,
            licences=made_with["licences"],
        ),
        reporter=reporter,
        facts={
            **{key: made_with[key] for key in (*SAME, "ranks") if key in made_with},
            "settings": comparable_settings(settings),
        },
        keep=settings["train.checkpoint_keep"],
        rolls_back=settings["train.on_divergence"] == "rollback",
        trackers=Trackers(
            resolved.trackers if place.leads else (),
            options=resolved.tracker_options(),
            folder=folder.path,
            settings=settings,
            facts=made_with,
            reporter=reporter,
        ),
        watch=together.first(
            lambda: _watch(resolved, fitted, plan, data_root=data_root, folder=folder, reporter=reporter), long=True
        ),
        together=together,
    )
    try:
        runner.lock = together.first(folder.lock)
        if beginning.folder is not None:
            together.first(lambda: _check_unmoved(folder, beginning.checkpoint))
        if beginning.checkpoint is not None:
            runner.restore(beginning.checkpoint, elsewhere=beginning.folder is None)
        elif beginning.folder is not None:
            for aside in together.first(folder.begin_again) or ():
                reporter.warn(f"generators of the attempt before were set aside as {aside}")
        together.first(lambda: _write_facts(folder, resolved, {**made_with, **parent}, taken, data_root))
        together.first(lambda: folder.add_pictures(["real"], samples.of_real()))
        if not place.is_alone:
            _check_seen(folder, together)
            trainer.state()  # raises where the weights differ
    except BaseException:
        runner.close()
        raise
    _say_start(reporter, resolved, fitted, source, engine, (trainer.G, trainer.D), folder, made_with["data_summary"])
    if advice and not runner.images:
        reporter.advise(advice)
    if runner.images:
        reporter.say(f"goes on from {runner.images:,} images")
    if position is not None and runner.images >= pace.end and beginning.folder is None:
        longer = f"say --images {2 * runner.images} or more in all"
        reporter.warn(f"nothing is left to train: the run is {pace.end:,} images long, and has seen them; {longer}")
    return runner


def _advise_on_length(
    resolved: Mix, pace: RunIntervals, source: ImageSource, beginning: Beginning, reporter: Reporter
) -> str:
    """What to say of a run that is too short; the reporter is given the preset to name where one takes long."""
    resumed, epoch, laptop = None if beginning.folder is None else beginning.folder.path, len(source.images), ""
    if reporter.cpu and beginning.is_new:
        reporter.laptop_preset = health.find_laptop_preset(resolved, pace.end, epoch_images=epoch)
        laptop = health.find_laptop_preset(resolved, pace.end, epoch_images=epoch, longer=True)
    return health.find_short(resolved, pace.end // pace.step, laptop=laptop, resumed=resumed)


def _is_asked_for(key: str, settings: Settings, beginning: Beginning) -> bool:
    """Whether the user said so of this run: on its command line, or in a file that says another than the default."""
    entry = settings.entries[key]
    if entry.origin.startswith("--"):
        return True
    return entry.by_user and entry.value != CORE[key].default and beginning.is_new


def _write_facts(
    folder: RunFolder,
    resolved: Mix,
    facts: Mapping[str, Any],
    taken: Fingerprint,
    data_root: str | Path | None,
) -> None:
    """`config.yaml` with the paths by which the data are found again, and beside it the data's fingerprint."""
    kept = fingerprint.load(folder.path / layout.DATA)
    if kept is None or kept.sha256 != taken.sha256:
        fingerprint.save(folder.path / layout.DATA, taken)
    paths = building.keep_paths(resolved, data_root, folder.path)
    folder.write_config(resolved.settings, {**facts, "paths": paths})


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


def _created(together: Together, out: Path | None, name: str) -> RunFolder:
    """A new folder, made by rank 0."""
    folder = together.first(lambda: RunFolder.create(out, name))
    path = together.named("" if folder is None else str(folder.path.absolute()))
    return folder or RunFolder(Path(path))


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


def _watch(
    resolved: Mix,
    fitted: Fit,
    plan: Plan,
    *,
    data_root: str | Path | None,
    folder: RunFolder,
    reporter: Reporter,
) -> Watch | None:
    """What scores the generator as it trains, where that was asked for."""
    settings = resolved.settings
    if not Interval.parse(settings["train.evaluate_every"]).count:
        return None
    if "data" in resolved.objects:
        raise UsageError(
            "images that were given in Python have no test part to score against; name a dataset, or leave "
            "train.evaluate_every off"
        )
    own = {key: value for key, value in settings.items() if key.startswith("data.")}
    question = evaluation.pose(data=settings["use.data"], data_settings=own, data_root=data_root)
    scorer = evaluation.Scorer(question, say=reporter.say, attempts=FAILURES)
    return Watch(
        scorer,
        run=folder.path,
        plan=plan,
        classes=fitted.spec.classes,
        framing=fitted.framing,
        count=settings["train.evaluate_count"] or evaluation.samples_for(scorer.reference_count),
        reporter=reporter,
    )


def _check_unmoved(folder: RunFolder, newest: Path | None) -> None:
    """Raise UsageError if another process went on with the run before this one had its lock."""
    if folder.newest_checkpoint() != newest:
        raise UsageError(f"{folder.path} was gone on with by another process just now; resume it again")


def _check_length(
    position: Position, pace: RunIntervals, schedule: Any, schedule_for: Callable[[int], Any], *, said: str
) -> None:
    """May a run that stands there be of this length, which `said` says where somebody did?"""
    if pace.end < position.images:
        more = said if said in ("--epochs", "--steps") else "--images"
        raise UsageError(
            f"the run has seen {position.images:,} images already, and is to end at {pace.end:,}; say more {more}"
        )
    if pace.end != position.end:
        resuming.check_longer(schedule_for(position.end), schedule, images=position.images)


def _say_start(
    reporter: Reporter,
    resolved: Mix,
    fitted: Fit,
    source: ImageSource,
    engine: Any,
    built: tuple[Any, Any],
    folder: RunFolder,
    summary: Mapping[str, Any],
) -> None:
    spec, described = fitted.spec, engine.describe()
    g_count, d_count = (f"{engine.count_parameters(network):,}" for network in built)
    preset = f", preset {resolved.preset}" if resolved.preset else ""
    names = {slot: part.name for slot, part in resolved.parts.items()}
    reporter.say(
        f"{names['generator']} on {names['data']}{preset}: {len(source.images):,} images of "
        f"{spec.width}×{spec.height}×{spec.channels}, {names['loss']} loss{_around(resolved)}; "
        f"G {g_count} and D {d_count} parameters, {described['device']}, {described['threads']} threads"
    )
    for line in word_lines(summary):
        reporter.say(line)
    reporter.say(f"run folder: {folder.path}")


def _around(resolved: Mix) -> str:
    """The modifiers in words, in the order in which they are put around the parts, the first innermost."""
    names = [part.name for part in resolved.modifiers]
    return f" with {', then '.join(names)}" if names else ""
