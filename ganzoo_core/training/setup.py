"""Prepare a run without touching its folder: check the mix, load the data, build the networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ganzoo_core import building, engines, evaluation
from ganzoo_core.api import ImageSource, Schedule
from ganzoo_core.data import shares
from ganzoo_core.discovery import catalog
from ganzoo_core.distributed import launchers
from ganzoo_core.distributed.ranks import SINGLE_PROCESS, ProcessGroup
from ganzoo_core.engines.protocol import Engine, Trainer
from ganzoo_core.errors import UsageError
from ganzoo_core.evaluation.request import ScoreRequest
from ganzoo_core.messages import pluralise
from ganzoo_core.mix import DataFit, Mix, add_schedule_notes, fit_batch_size, pick_preset
from ganzoo_core.report import notebook
from ganzoo_core.runs.folder import RunFolder, read_position
from ganzoo_core.settings import Settings, StepSettings, read_group
from ganzoo_core.settings.lengths import Interval, parse_minutes
from ganzoo_core.storage.records import Position
from ganzoo_core.terminal.progress import MuteReporter, Reporter
from ganzoo_core.training import timed_length
from ganzoo_core.training.intervals import RunIntervals
from ganzoo_core.training.resuming import FROM_SCRATCH, StartPoint


@dataclass(frozen=True)
class LoadedMix:
    """A mix and its data, checked against each other.

    Attributes:
        mix: the mix to train, with the preset chosen by the number of images.
        source: the original images.
        fit: how images and networks are matched.
        engine: created already in distributed training, since it holds the process group; else None.
        notes: messages for the user about the preset.
        data_root: see `building.find_data_root`.
    """

    mix: Mix
    source: ImageSource
    fit: DataFit
    engine: Engine | None
    notes: tuple[str, ...]
    data_root: str | Path | None


@dataclass(frozen=True)
class TrainingSetup:
    """Everything of a run except its folder.

    Attributes:
        mix: the mix to train, with its length in images.
        source: the original images.
        prepared: the images at the size and with the channels that the networks see.
        fit: how images and networks are matched.
        engine, trainer: see `engines`; the trainer holds the networks.
        schedule: images seen -> values.
        intervals: the run's length, and the intervals of reports, samples, checkpoints and scores.
        together: the process group.
        reporter: prints progress, messages and warnings.
        data_root: see `building.find_data_root`.
    """

    mix: Mix
    source: ImageSource
    prepared: ImageSource
    fit: DataFit
    engine: Engine
    trainer: Trainer
    schedule: Schedule
    intervals: RunIntervals
    together: ProcessGroup
    reporter: Reporter
    data_root: str | Path | None


def check(resolved: Mix, out: Path | None = None) -> None:
    """Check the mix against manifests and environment, before data are read or a framework is imported.

    Args:
        resolved: the mix.
        out: the folder of a new run, if one is named.

    Raises:
        UsageError, PluginError: if the parts do not fit together, do not allow this number of processes, or the
            folder or the device cannot be used.
    """
    if out is not None and launchers.rank_from_env().is_rank_zero:
        RunFolder.check_new(out)
    engines.check_device(resolved.settings["engine.device"])
    make_score_request(resolved)
    building.check_resolution(resolved, resolved.list_given_values())
    _check_launch(resolved, launchers.read_launch())
    building.fit_from_card(resolved)


def _check_launch(resolved: Mix, launch: launchers.Launch) -> None:
    batch_size, accumulate = resolved.settings["train.batch_size"], resolved.settings["train.accumulate"]
    launchers.check_launch(launch, framework=resolved.framework, batch_size=batch_size, accumulate=accumulate)


def rehearse(resolved: Mix, data_root: str | Path | None, out: Path | None) -> DataFit | None:
    """Check what a run would refuse, without reading the data, or importing a framework or any part but the dataset.

    A modifier is imported with the dataset that it may change.

    Returns:
        How images and networks are matched; None if that is known only once the data is read.

    Raises:
        UsageError, PluginError, DataError: as the run would.
    """
    check(resolved, out)
    fitted, most = building.fit_to_description(resolved, data_root)
    if most is not None:
        most = shares.count_share(most, resolved.settings["data.share"])
        if resolved.presets_by_max_images:
            resolved, _ = pick_preset(catalog.scan(), resolved, most)
        fit_batch_size(resolved, most, held_out=0, world_size=launchers.rank_from_env().world_size)
    return fitted


def _find_length(settings: Settings, epoch_images: int) -> int:
    """The run's length in images; for one in minutes, a length that is enough for every schedule."""
    if parse_minutes(settings["train.length"]):
        return timed_length.MAX_TIMED_IMAGES
    step_images = read_group(StepSettings, settings).images_per_step
    return RunIntervals.from_settings(settings, epoch_images=epoch_images, step_images=step_images).end


def make_score_request(resolved: Mix, data_root: str | Path | None = None) -> ScoreRequest | None:
    """The request for scores during training; None unless `train.evaluate_every` is set.

    Raises:
        UsageError: if nothing that is installed can compute them, or the images have no test part.
    """
    settings = resolved.settings
    if not Interval.parse(settings["train.evaluate_every"]).count:
        return None
    if "data" in resolved.objects:
        raise UsageError(
            "images that were given in Python have no test part to score against; name a dataset, or leave "
            "train.evaluate_every off"
        )
    data_settings = {key: value for key, value in settings.items() if key.startswith("data.")}
    return evaluation.make_request(data=settings["use.data"], data_settings=data_settings, data_root=data_root)


def check_end(intervals: RunIntervals, settings: Settings, position: Position) -> None:
    """Raise UsageError if the run's new length is shorter than the images seen."""
    if intervals.end < position.images:
        origin = settings.find_origin("train.length")
        more = origin if origin in ("--epochs", "--steps") else "--images"
        raise UsageError(
            f"the run has seen {pluralise(position.images, 'image')} already, and is to end at {intervals.end:,}; "
            f"say more {more}"
        )


def load(resolved: Mix, data_root: str | Path | None, out: Path | None = None) -> LoadedMix:
    """Read the data, pick the preset by the number of images, and check that data and mix fit.

    With several processes, their group is formed before the data are read.

    Raises:
        UsageError, PluginError: if something does not fit.
        DataError: if the data cannot be read.
    """
    check(resolved, out)
    launch = launchers.read_launch()
    world_size, engine = launch.rank.world_size, None
    if world_size > 1:
        engine = engines.create_engine(resolved.framework, resolved.settings, launch=launch)
    together: ProcessGroup = SINGLE_PROCESS if engine is None else engine.group or SINGLE_PROCESS
    source = _read_data(resolved, data_root, together)
    note = ""
    if resolved.presets_by_max_images:
        without = resolved.get_options("data")
        resolved, note = pick_preset(catalog.scan(), resolved, source.whole or len(source.images))
        if resolved.get_options("data") != without:
            source = _read_data(resolved, data_root, together)
    fitted = building.fit_to_data(resolved, source)
    # An official test part cannot be added to the training images, and what is held out of a share is not the reason.
    can_have_more = source.whole and resolved.settings["data.share"] == 1
    held_out = int(source.held_out or 0) if can_have_more else 0
    resolved, smaller = fit_batch_size(resolved, len(source.images), held_out=held_out, world_size=world_size)
    _check_launch(resolved, launch)
    building.check_loss_and_schedule(resolved, fitted, _find_length(resolved.settings, len(source.images)))
    return LoadedMix(resolved, source, fitted, engine, tuple(filter(None, (note, smaller))), data_root)


def _read_data(resolved: Mix, data_root: str | Path | None, together: ProcessGroup) -> ImageSource:
    """Load the data on rank 0 first, which fills the cache that the other ranks read."""
    first = together.on_rank_zero(lambda: building.load_data(resolved, data_root), long=True)
    return together.on_all_ranks(lambda: building.load_data(resolved, data_root) if first is None else first)


def build(loaded: LoadedMix, *, quiet: bool, start_point: StartPoint = FROM_SCRATCH) -> TrainingSetup:
    """Import the framework, fix the run's length, and build the networks, their loss and their schedule.

    Args:
        loaded: the mix and its data.
        quiet: whether to hide the progress.
        start_point: a run, checkpoint or weights to start from.

    Raises:
        UsageError, PluginError: if something does not fit.
    """
    resolved, source, fitted = loaded.mix, loaded.source, loaded.fit
    length = resolved.settings["train.length"]
    if start_point.checkpoint is not None and parse_minutes(length):
        raise UsageError(
            f"train.length is {length}, and a length in time is for a run that begins from nothing; "
            "say --images, how long it is to be in all"
        )
    step_images = read_group(StepSettings, resolved.settings).images_per_step
    images = {"epoch_images": len(source.images), "step_images": step_images}
    if start_point.checkpoint is not None and loaded.engine is None:
        intervals = RunIntervals.from_settings(resolved.settings, **images)
        check_end(intervals, resolved.settings, read_position(start_point.checkpoint))
    engine = loaded.engine or engines.create_engine(resolved.framework, resolved.settings, quiet=quiet)
    together: ProcessGroup = engine.group or SINGLE_PROCESS
    reporter = _make_reporter(loaded, engine, start_point, quiet=quiet)
    prepared = together.on_all_ranks(lambda: building.prepare_data(resolved, fitted, source, say=reporter.say))
    resolved, initial = timed_length.fix_length(resolved, engine, fitted, prepared, together, reporter.say)
    intervals = RunIntervals.from_settings(resolved.settings, **images)
    schedule = building.build_schedule(resolved, fitted, intervals.end)
    values = schedule(0)
    building.check_resolution(resolved, values)
    told, resolved = len(resolved.warnings), add_schedule_notes(resolved, values)
    for note in resolved.warnings[told:]:
        reporter.warn(note)
    trainer = building.build_trainer(engine, resolved, fitted, prepared, values)
    if initial is not None:
        trainer.restore_state(initial)
    return TrainingSetup(
        mix=resolved,
        source=source,
        prepared=prepared,
        fit=fitted,
        engine=engine,
        trainer=trainer,
        schedule=schedule,
        intervals=intervals,
        together=together,
        reporter=reporter,
        data_root=loaded.data_root,
    )


def _make_reporter(loaded: LoadedMix, engine: Engine, start_point: StartPoint, *, quiet: bool) -> Reporter:
    """Return the reporter, which prints on rank 0 only, after printing the notes on mix, data and engine."""
    reporter: Reporter = MuteReporter()
    if launchers.rank_from_env().is_rank_zero:
        cpu = engine.describe()["device"] == "cpu"
        reporter = notebook.make_reporter(quiet=quiet, cpu=cpu, laptop_preset="")
    for note in loaded.notes:
        reporter.say(note)
    if not loaded.source.whole and _is_asked_for("data.holdout", loaded.mix.settings, start_point):
        reporter.say("data.holdout changes nothing here: these images have a test part of their own, or none")
    for note in (*loaded.mix.warnings, *loaded.source.notes, *engine.notes):
        reporter.warn(note)
    engine.tell = reporter.warn
    return reporter


def _is_asked_for(key: str, settings: Settings, start_point: StartPoint) -> bool:
    """Whether the user set this key for this run: on the command line, or in a file, other than the default."""
    entry = settings.entries[key]
    return entry.is_chosen and (entry.origin.startswith("--") or start_point.is_new)
