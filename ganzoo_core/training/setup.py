"""What a run needs before its folder is touched: a mix that can work, its data, and all that is built of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganzoo_core import building, engines
from ganzoo_core.api import ImageSource, Schedule
from ganzoo_core.data import framing
from ganzoo_core.discovery import catalog
from ganzoo_core.distributed import ranks
from ganzoo_core.distributed.launchers import check_cluster
from ganzoo_core.distributed.ranks import ALONE, Together
from ganzoo_core.errors import UsageError
from ganzoo_core.mix import Fit, Mix, fit_batch, pick_preset
from ganzoo_core.report import notebook
from ganzoo_core.settings import CORE, Settings
from ganzoo_core.settings.lengths import minutes_of
from ganzoo_core.terminal.progress import Mute, Reporter
from ganzoo_core.training import timed_length
from ganzoo_core.training.intervals import RunIntervals
from ganzoo_core.training.resuming import Beginning


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


@dataclass(frozen=True)
class Built:
    """All that a run is made of, but for its folder.

    Attributes:
        mix: what is trained, its length in images.
        source: the images as they are.
        prepared: the images as the networks are shown them.
        fit: how they and the networks fit.
        engine, trainer: see `engines`; the trainer has the networks.
        schedule: images seen -> values.
        intervals: the run's length, and when what is due.
        together: the processes that train it.
        reporter: what the user sees.
        data_root: see `building.data_root_of`.
    """

    mix: Mix
    source: ImageSource
    prepared: ImageSource
    fit: Fit
    engine: Any
    trainer: Any
    schedule: Schedule
    intervals: RunIntervals
    together: Together
    reporter: Reporter
    data_root: str | Path | None


def check(resolved: Mix) -> None:
    """Refuse what cannot work, as far as the cards and the environment tell: nothing is read or downloaded for it.

    Raises:
        UsageError, PluginError: if the parts do not fit, or not so many processes.
    """
    batch_size = resolved.settings["train.batch_size"]
    ranks.check(ranks.here(), framework=resolved.framework, batch_size=batch_size)
    check_cluster(resolved.framework)
    building.fit_of(resolved)


def load(resolved: Mix, data_root: str | Path | None) -> Loaded:
    """Read the data, take the preset that suits how many there are, and check that all fits.

    Where torchrun started several processes, they meet before the data are read.

    Raises:
        UsageError, PluginError: if something does not fit.
        DataError: if the data cannot be read.
    """
    check(resolved)
    place = ranks.here()
    engine = None if place.is_alone else engines.create(resolved.framework, resolved.settings, place=place)
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
    ranks.check(place, framework=resolved.framework, batch_size=resolved.settings["train.batch_size"])
    return Loaded(resolved, source, fitted, engine, tuple(filter(None, (note, smaller))), data_root)


def _read_data(resolved: Mix, data_root: str | Path | None, together: Together) -> ImageSource:
    """The data; rank 0 reads them first, and leaves them where the others find them."""
    source = together.first(lambda: building.load_data(resolved, data_root), long=True)
    return building.load_data(resolved, data_root) if source is None else source


def build(loaded: Loaded, *, quiet: bool, beginning: Beginning) -> Built:
    """Import the framework, fix the run's length, and build the networks, their loss and their schedule.

    Args:
        loaded: what is trained.
        quiet: no progress.
        beginning: what the run goes on from.

    Raises:
        UsageError, PluginError: if something does not fit.
    """
    resolved, source, fitted = loaded.mix, loaded.source, loaded.fit
    length = resolved.settings["train.length"]
    if beginning.checkpoint is not None and minutes_of(length):
        raise UsageError(
            f"train.length is {length}, and a length in time is for a run that begins from nothing; "
            "say --images, how long it is to be in all"
        )
    engine = loaded.engine or engines.create(resolved.framework, resolved.settings)
    together: Together = ALONE if ranks.here().is_alone else engine.group
    reporter = _make_reporter(loaded, engine, beginning, quiet=quiet)
    prepared = framing.prepare(source, fitted.framing, fitted.spec.channels, say=reporter.say)
    resolved, initial = timed_length.fix_length(resolved, engine, fitted, prepared, together, reporter.say)
    intervals = RunIntervals.of(
        resolved.settings, epoch_images=len(source.images), step_images=building.plan_of(resolved).step_images
    )
    schedule = building.schedule_of(resolved, fitted, intervals.end)
    building.check_resolution(resolved, schedule(0))
    trainer = building.build_trainer(engine, resolved, fitted, prepared, schedule(0))
    if initial is not None:
        trainer.restore(initial)
    return Built(
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


def _make_reporter(loaded: Loaded, engine: Any, beginning: Beginning, *, quiet: bool) -> Reporter:
    """Who tells the user of the run, of rank 0 alone; it begins with the notes on the mix, the data and the engine."""
    reporter: Reporter = Mute()
    if ranks.here().leads:
        cpu = engine.describe()["device"] == "cpu"
        reporter = notebook.reporter(quiet=quiet, cpu=cpu, laptop_preset="")
    for note in loaded.notes:
        reporter.say(note)
    if not loaded.source.whole and _is_asked_for("data.holdout", loaded.mix.settings, beginning):
        reporter.say("data.holdout changes nothing here: these images have a test part of their own, or none")
    for note in (*loaded.mix.warnings, *loaded.source.notes, *engine.notes):
        reporter.warn(note)
    engine.tell = reporter.warn
    return reporter


def _is_asked_for(key: str, settings: Settings, beginning: Beginning) -> bool:
    """Whether the user said so of this run: on its command line, or in a file that says another than the default."""
    entry = settings.entries[key]
    if entry.origin.startswith("--"):
        return True
    return entry.by_user and entry.value != CORE[key].default and beginning.is_new
