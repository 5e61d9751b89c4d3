"""Resume a run: compare versions, data and settings with the recorded ones, and allow a new length."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.api import Schedule
from ganzoo_core.data import changes, fingerprint
from ganzoo_core.data.fingerprint import Fingerprint
from ganzoo_core.engines.protocol import Engine, Trainer
from ganzoo_core.engines.threads import MOST_THREADS
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import pluralise
from ganzoo_core.mix import Mix
from ganzoo_core.runs import generators, layout
from ganzoo_core.runs.facts import COMPARED_FACTS, explain_differences, select_compared_settings
from ganzoo_core.runs.folder import RunFolder, find_readable_checkpoint, read_position
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
    """The state that a run starts from; by default a new run from scratch.

    Attributes:
        folder: the run to resume; None for a new one.
        checkpoint: the checkpoint to restore.
        weights: a checkpoint or a saved generator, of which only the weights are loaded.
        parent: the entry about the original run in a new run's `config.yaml`.
        allow_inexact: whether versions, device, data and settings may differ from those of the checkpoint.
    """

    folder: RunFolder | None = None
    checkpoint: Path | None = None
    weights: Path | None = None
    parent: Mapping[str, Any] | None = None
    allow_inexact: bool = False

    @property
    def is_new(self) -> bool:
        """Whether neither a run is resumed nor a checkpoint restored."""
        return self.folder is None and self.checkpoint is None


FROM_SCRATCH = StartPoint()


def start_from_weights(weights: str | Path | None) -> StartPoint:
    """Start from the weights of another run: of both networks if it has a checkpoint, else of G only."""
    if weights is None:
        return StartPoint()
    path = make_absolute(weights)
    newest = find_readable_checkpoint(RunFolder.open(path)) if files.describe(path / layout.CONFIG) else None
    return StartPoint(weights=newest or generators.find_generator(path), parent={"weights": str(path)})


def find_checkpoint(folder: RunFolder, *, restart: bool, leads: bool) -> Path | None:
    """Return the newest valid checkpoint; set damaged ones aside and name them.

    Args:
        folder: of the run.
        restart: start from scratch if no checkpoint is valid.
        leads: whether this process may change the folder; if so, it locks it.

    Raises:
        UsageError: if another process has locked the run, if no checkpoint is valid and `restart` is off, or if one is
            valid and `restart` is on.
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
                f"`ganzoo resume {shlex.quote(str(folder.path))} --restart` begins the run again"
            )
        if newest is not None and restart:
            raise UsageError(
                f"{folder.path} has a valid checkpoint at {pluralise(int(newest.name), 'image')}; "
                f"`ganzoo resume {shlex.quote(str(folder.path))}` without --restart goes on from there"
            )
        for path in damaged:
            aside = folder.set_aside(path)
            Reporter().warn(f"the checkpoint {path.name} is damaged, or another run's; it was set aside as {aside}")
        if damaged and newest is not None:
            Reporter().warn(f"going on from {pluralise(int(newest.name), 'image')}")
    finally:
        lock.release()
    return newest


def keep_threads(resolved: Mix, checkpoint: Path) -> Mix:
    """The mix with the threads that a run was trained with, where no number is set: another gives other bytes."""
    recorded = read_position(checkpoint).facts.get("engine")
    engine: Mapping[str, Any] = recorded if isinstance(recorded, Mapping) else {}
    threads = engine.get("threads")
    known = isinstance(threads, int) and 1 <= threads <= MOST_THREADS and engine.get("framework") == resolved.framework
    if resolved.settings["engine.threads"] or not known:
        return resolved
    return replace(resolved, settings=resolved.settings.replace("engine.threads", threads, "the run"))


def check_resumable(
    position: Position,
    run_facts: Mapping[str, Any],
    data_fingerprint: Fingerprint,
    settings: Settings,
    start_point: StartPoint,
    reporter: Reporter,
) -> None:
    """Raise UsageError if a checkpoint was made with other versions, data or settings; only warn if that is allowed.

    Args:
        position: of the checkpoint that `start_point` names.
        run_facts: see `facts.describe_run`.
        data_fingerprint: the data's fingerprint.
        settings: the current ones. In a new run, those set with `--set` may differ.
        start_point: the checkpoint, and whether differences are allowed.
        reporter: receives the warning.
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
    old_fingerprint = fingerprint.load(start_point.checkpoint.parents[1] / layout.DATA)
    differences = explain_differences(then, now, changes.compare(recorded, old_fingerprint, data_fingerprint))
    if not differences:
        return
    text = "; ".join(differences)
    if not start_point.allow_inexact:
        raise UsageError(
            f"the run would not go on as it was: {text}. Say --allow-inexact to go on "
            f"nevertheless{_advise_on_edits(then, now)}{_advise_on_ranks(then, now)}"
        )
    reporter.warn(f"going on, though {text}")


def _drop_picks(facts: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return `facts` without the parts that this command line or call picks for a new run."""
    picked = {slot for slot in ("loss", "schedule", "with") if settings.find_origin(f"use.{slot}").startswith("--")}
    remaining = dict(facts)
    if isinstance(facts.get("parts"), Mapping):
        remaining["parts"] = {slot: part for slot, part in facts["parts"].items() if slot not in picked}
    if "with" in picked:
        remaining.pop("modifiers", None)
    return remaining


def _advise_on_ranks(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return advice for another number of processes, or ""."""
    count = then.get("ranks")
    return "" if count == now.get("ranks") else f", or start {count} process{'' if count == 1 else 'es'}, as before"


def _advise_on_edits(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return advice for settings that were edited, or ""."""
    was, is_ = then.get("settings"), now.get("settings")
    if not isinstance(was, Mapping) or not isinstance(is_, Mapping):
        return ""
    changed = [key for key in sorted(is_) if key in was and was[key] != is_[key]]
    if not changed:
        return ""
    words = " ".join(f"--set {key}={json.dumps(is_[key])}" for key in changed)
    return f", put {layout.CONFIG} back as it was, or begin a new run with `ganzoo resume RUN {words}`"


def check_same_schedule(old_schedule: Schedule, new_schedule: Schedule, *, images: int) -> None:
    """Raise UsageError unless both schedules give the same values for the images already seen.

    Args:
        old_schedule, new_schedule: the schedules for the planned length and for the new one.
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


def restore_trainer(trainer: Trainer, folder: Path, position: Position, *, largest_side: int, ranks: int = 1) -> None:
    """Restore a checkpoint's state into the trainer.

    Args:
        trainer: of the run.
        folder, position: of the checkpoint.
        largest_side: the longer side of the images in pixels, up to which growing networks grow.
        ranks: the number of processes that train now.

    Raises:
        UsageError: if the state does not fit the networks, or not the number of processes.
    """
    where = folder / layout.POSITION
    _check_ranks(trainer, position.facts.get("ranks", 1), ranks)
    if "resolution" in position.values:
        size = position.values["resolution"]
        if not 1 <= size <= largest_side:
            raise UsageError(
                f"{where}: values.resolution is {size:g}; expected 1 to {largest_side}, the size of the images"
            )
        trainer.grow(position.values)
    owners = {"loss/": "the loss's memory"}
    trainer.restore_state(tensors.read_tensors(folder / layout.STATE, *trainer.describe_state(), owners=owners))
    try:
        trainer.restore_pending_sums(decoding.null_to_nan(position.pending))
    except (TypeError, ValueError, IndexError) as error:
        raise UsageError(f"{where}: pending is not what this engine wrote ({error})") from None


def _check_ranks(trainer: Trainer, then: int, now: int) -> None:
    """Raise UsageError if processes kept something of their own, and their number is another."""
    own = [name for name, each in trainer.declared_memory.items() if each.across == "rank"]
    if own and then != now:
        raise UsageError(
            f"the loss keeps {', '.join(own)} in each process by itself, and the checkpoint is of "
            f"{then} {'process' if then == 1 else 'processes'}, not of {now}; resume it with as many, or begin a "
            "new run with its weights: ganzoo run … --from RUN"
        )


def load_weights(folder: Path, trainer: Trainer, engine: Engine, reporter: Reporter) -> None:
    """Load the weights of another run where names, types and shapes agree; warn of those that do not fit.

    Args:
        folder: a checkpoint, or a saved generator.
        trainer, engine: of the new run.
        reporter: receives the warnings.

    Raises:
        UsageError: if nothing fits.
    """
    whole = (folder / layout.STATE).exists()
    path = folder / (layout.STATE if whole else layout.WEIGHTS)
    saved_tensors = tensors.read_all_tensors(path)
    networks = {"G": trainer.G, "D": trainer.D} if whole else {"G": trainer.G}
    missing = []
    loaded_count = 0
    for label, network in networks.items():
        # Prefer the moving average, from which samples are drawn.
        prefixes = ("EMA/", "G/") if whole and label == "G" else (f"{label}/",) if whole else ("",)
        weights = engine.read_weights(network)
        for name, array in weights.items():
            saved = next((saved_tensors[prefix + name] for prefix in prefixes if prefix + name in saved_tensors), None)
            if saved is not None and (saved.dtype, saved.shape) == (array.dtype, array.shape):
                weights[name] = saved
                loaded_count += 1
            else:
                missing.append(f"{label}/{name}")
        engine.load_weights(network, weights)
    if not loaded_count:
        raise UsageError(f"{path} holds no tensor that fits these networks; pick the model that made it")
    trainer.reset_ema()
    if missing:
        reporter.warn(f"{len(missing)} tensors did not fit and start anew: {', '.join(missing)}")
    reporter.warn(f"begins with {loaded_count} tensors of {path.parent}")
