"""Going on with a run: is what is here now what it was made with, and may it be longer than planned?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.api import Schedule
from ganzoo_core.data import changes, fingerprint
from ganzoo_core.data.fingerprint import Fingerprint
from ganzoo_core.engines.protocol import Engine, Trainer
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import pluralise
from ganzoo_core.runs import generators, layout
from ganzoo_core.runs.facts import COMPARED_FACTS, explain_differences, select_compared_settings
from ganzoo_core.runs.folder import RunFolder, find_readable_checkpoint
from ganzoo_core.settings import Settings
from ganzoo_core.storage import decoding, files, tensors
from ganzoo_core.storage.paths import make_absolute
from ganzoo_core.storage.records import Position
from ganzoo_core.storage.run_records import DataFacts
from ganzoo_core.terminal.progress import Reporter

# Defaults for facts that old checkpoints lack.
_OLD_DEFAULTS = {"engine": {"precision": "float32", "compile": False}}
SCHEDULE_PROBES = 64  # points at which two schedules are compared


@dataclass(frozen=True)
class StartPoint:
    """Where a run begins, when it is not from nothing.

    Attributes:
        folder: the run to go on in; None for a new one.
        checkpoint: to go on from.
        weights: a checkpoint or a saved generator whose weights alone are taken over.
        parent: what a new run's `config.yaml` says of the run that it comes from.
        allow_inexact: whether what is here now may differ from what the checkpoint was made with.
    """

    folder: RunFolder | None = None
    checkpoint: Path | None = None
    weights: Path | None = None
    parent: Mapping[str, Any] | None = None
    allow_inexact: bool = False

    @property
    def is_new(self) -> bool:
        """Whether nothing goes on: neither a run nor, in a new one, what a checkpoint holds."""
        return self.folder is None and self.checkpoint is None


FROM_SCRATCH = StartPoint()


def start_from_weights(weights: str | Path | None) -> StartPoint:
    """A beginning with the weights of another run: of both networks from its newest checkpoint, else of G alone."""
    if weights is None:
        return StartPoint()
    path = make_absolute(weights)
    newest = find_readable_checkpoint(RunFolder.open(path)) if files.describe(path / layout.CONFIG) else None
    return StartPoint(weights=newest or generators.find_generator(path), parent={"weights": str(path)})


def find_checkpoint(folder: RunFolder, *, restart: bool, leads: bool) -> Path | None:
    """The checkpoint to go on from, once damaged ones are set aside and named.

    Args:
        folder: of the run.
        restart: begin from nothing, where no checkpoint is valid.
        leads: whether this process may change the folder; it takes the lock for that.

    Raises:
        UsageError: if another process has the run, if no checkpoint is valid and nobody asked for a restart, or if one
            is and somebody did.
    """
    if not leads:
        return folder.find_newest_checkpoint()
    lock = folder.lock()
    try:
        newest = folder.find_newest_checkpoint()
        damaged = folder.list_damaged_checkpoints()
        if newest is None and not restart:
            names = ", ".join(path.name for path in damaged)
            why = f" that is valid ({names} are damaged, or another run's)" if damaged else ""
            raise UsageError(
                f"{folder.path} has no checkpoint{why}, so there is nothing to go on from; "
                f"`ganzoo resume {folder.path} --restart` begins the run again"
            )
        if newest is not None and restart:
            raise UsageError(
                f"{folder.path} has a valid checkpoint at {pluralise(int(newest.name), 'image')}; "
                f"`ganzoo resume {folder.path}` without --restart goes on from there"
            )
        for path in damaged:
            aside = folder.set_aside(path)
            Reporter().warn(f"the checkpoint {path.name} is damaged, or another run's; it was set aside as {aside}")
        if damaged and newest is not None:
            Reporter().warn(f"going on from {pluralise(int(newest.name), 'image')}")
    finally:
        lock.release()
    return newest


def check_resumable(
    position: Position,
    run_facts: Mapping[str, Any],
    data_fingerprint: Fingerprint,
    settings: Settings,
    start_point: StartPoint,
    reporter: Reporter,
) -> None:
    """Raise UsageError if a checkpoint was made with something else, unless that is allowed; then it is only told.

    Args:
        position: of the checkpoint that `start_point` names.
        run_facts: see `facts.describe_run`.
        data_fingerprint: the data's fingerprint.
        settings: of now. Where a new run begins, what it was given with `--set` does not count.
        start_point: says what is allowed.
        reporter: is told.
    """
    assert start_point.checkpoint is not None
    then = {"ranks": 1, **position.facts}
    then |= {key: {**known, **then[key]} for key, known in _OLD_DEFAULTS.items() if key in then}
    now = {
        **{key: run_facts[key] for key in COMPARED_FACTS},
        "ranks": run_facts.get("ranks", 1),
        "settings": select_compared_settings(settings, exclude_command_line=start_point.folder is None),
    }
    if start_point.folder is None:
        then, now = (_drop_picks(facts, settings) for facts in (then, now))
    recorded = decoding.convert(then["data"], DataFacts, start_point.checkpoint) if "data" in then else None
    kept = fingerprint.load(start_point.checkpoint.parents[1] / layout.DATA)
    differences = explain_differences(then, now, changes.compare(recorded, kept, data_fingerprint))
    if not differences:
        return
    told = "; ".join(differences)
    if not start_point.allow_inexact:
        raise UsageError(
            f"the run would not go on as it was: {told}. Say --allow-inexact to go on "
            f"nevertheless{_advise_on_edits(then, now)}"
        )
    reporter.warn(f"going on, though {told}")


def _drop_picks(facts: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Without the parts that were picked for a new run on this command line, or in this call."""
    picked = {slot for slot in ("loss", "schedule", "with") if settings.find_origin(f"use.{slot}").startswith("--")}
    kept = dict(facts)
    if isinstance(facts.get("parts"), Mapping):
        kept["parts"] = {slot: part for slot, part in facts["parts"].items() if slot not in picked}
    if "with" in picked:
        kept.pop("modifiers", None)
    return kept


def _advise_on_edits(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What else there is to say where a setting was edited."""
    was, is_ = then.get("settings"), now.get("settings")
    if not isinstance(was, Mapping) or not isinstance(is_, Mapping):
        return ""
    changed = [key for key in sorted(is_) if key in was and was[key] != is_[key]]
    if not changed:
        return ""
    words = " ".join(f"--set {key}={json.dumps(is_[key])}" for key in changed)
    return f", put {layout.CONFIG} back as it was, or begin a new run with `ganzoo resume RUN {words}`"


def check_same_schedule(old_schedule: Schedule, new_schedule: Schedule, *, images: int) -> None:
    """Raise UsageError unless both schedules give the same values for all of a run that is over.

    Args:
        old_schedule, now: the schedule for the length that was planned, and for the new one.
        images: seen so far.
    """
    for point in np.linspace(0, max(images - 1, 0), SCHEDULE_PROBES).astype(np.int64):
        before, after = old_schedule(int(point)), new_schedule(int(point))
        for name in before:
            if before[name] != after.get(name):
                raise UsageError(
                    f"the schedule depends on the run's length: at {pluralise(point, 'image')} {name} was "
                    f"{before[name]:g} and with the new length would have been {after.get(name, float('nan')):g}; "
                    "`ganzoo resume RUN --set schedule=NAME --images N`, with a schedule that does not, goes on "
                    "in a new run"
                )


def restore_trainer(trainer: Trainer, folder: Path, position: Position, *, largest_side: int) -> None:
    """Give the trainer the state that a checkpoint holds.

    Args:
        trainer: of the run.
        folder, position: of the checkpoint.
        largest_side: the longer side of the images; networks that grow do so up to it.

    Raises:
        UsageError: if the state does not fit the networks.
    """
    where = folder / layout.POSITION
    if "resolution" in position.values:
        size = position.values["resolution"]
        if not 1 <= size <= largest_side:
            raise UsageError(
                f"{where}: values.resolution is {size:g}; expected 1 to {largest_side}, the size of the images"
            )
        trainer.grow(position.values)
    trainer.restore_state(tensors.read_tensors(folder / layout.STATE, *trainer.describe_state()))
    try:
        trainer.restore_pending_sums(decoding.null_to_nan(position.pending))
    except (TypeError, ValueError, IndexError) as error:
        raise UsageError(f"{where}: pending is not what this engine wrote ({error})") from None


def load_weights(folder: Path, trainer: Trainer, engine: Engine, reporter: Reporter) -> None:
    """Take over the weights of another run where names and shapes agree, and name those that did not fit.

    Args:
        folder: a checkpoint, or a saved generator.
        trainer, engine: of the new run.
        reporter: is told what did not fit.

    Raises:
        UsageError: if nothing fits.
    """
    whole = (folder / layout.STATE).exists()
    path = folder / (layout.STATE if whole else layout.WEIGHTS)
    found = tensors.read_all_tensors(path)
    networks = {"G": trainer.G, "D": trainer.D} if whole else {"G": trainer.G}
    missing = []
    taken = 0
    for label, network in networks.items():
        # Samples come from the moving average, so that is what is gone on with where there is one.
        prefixes = ("EMA/", "G/") if whole and label == "G" else (f"{label}/",) if whole else ("",)
        own = engine.read_weights(network)
        for name, array in own.items():
            saved = next((found[prefix + name] for prefix in prefixes if prefix + name in found), None)
            if saved is not None and (saved.dtype, saved.shape) == (array.dtype, array.shape):
                own[name] = saved
                taken += 1
            else:
                missing.append(f"{label}/{name}")
        engine.load_weights(network, own)
    if not taken:
        raise UsageError(f"{path} holds no tensor that fits these networks; pick the model that made it")
    trainer.reset_ema()
    if missing:
        reporter.warn(f"{len(missing)} tensors did not fit and start anew: {', '.join(missing)}")
    reporter.warn(f"begins with {taken} tensors of {path.parent}")
