"""Going on with a run: is what is here now what it was made with, and may it be longer than planned?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core import checkpoint, rundir
from ganzoo_core.api import ImageSource, Schedule, UsageError
from ganzoo_core.console import Reporter
from ganzoo_core.rundir import RunFolder

# What every run was made with before it was recorded.
_BEFORE = {"engine": {"precision": "float32", "compile": False}}
PROBES = 64  # images whose bytes stand for a set, and points at which two schedules are compared


@dataclass(frozen=True)
class Beginning:
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


FROM_NOTHING = Beginning()


def newest_to_read(folder: RunFolder) -> Path | None:
    """The newest valid checkpoint of a run that is only read; a newer one that is damaged is named."""
    newest = folder.newest_checkpoint()
    for path in folder.damaged_checkpoints():
        if newest is None or int(path.name) > int(newest.name):
            instead = f"; the one at {int(newest.name):,} images is taken" if newest else ""
            Reporter().warn(f"the checkpoint {path} is damaged, or another run's{instead}")
    return newest


def find_start(folder: RunFolder, *, restart: bool, leads: bool) -> Path | None:
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
        return folder.newest_checkpoint()
    with folder.lock():
        newest = folder.newest_checkpoint()
        damaged = folder.damaged_checkpoints()
        if newest is None and not restart:
            names = ", ".join(path.name for path in damaged)
            why = f" that is valid ({names} are damaged, or another run's)" if damaged else ""
            raise UsageError(
                f"{folder.path} has no checkpoint{why}, so there is nothing to go on from; "
                f"`ganzoo resume {folder.path} --restart` begins the run again"
            )
        if newest is not None and restart:
            raise UsageError(
                f"{folder.path} has a valid checkpoint at {int(newest.name):,} images; "
                f"`ganzoo resume {folder.path}` without --restart goes on from there"
            )
        for path in damaged:
            aside = folder.set_aside(path)
            Reporter().warn(f"the checkpoint {path.name} is damaged, or another run's; it was set aside as {aside}")
        if damaged and newest is not None:
            Reporter().warn(f"going on from {int(newest.name):,} images")
    return newest


def fingerprint(source: ImageSource) -> str:
    """The SHA-256 of a set's shape, of 64 of its images spread evenly, and of all its labels."""
    count = len(source.images)
    chosen = np.linspace(0, count - 1, min(PROBES, count)).astype(np.int64)
    digest = hashlib.sha256(str(source.images.shape).encode())
    digest.update(np.ascontiguousarray(source.images[chosen]).tobytes())
    if source.labels is not None:
        digest.update(np.ascontiguousarray(source.labels).tobytes())
    return digest.hexdigest()


def check_same(then: Mapping[str, Any], now: Mapping[str, Any], *, allowed: bool, reporter: Reporter) -> None:
    """Raise UsageError if a checkpoint was made with something else, unless that is allowed; then it is only told."""
    then = {**then, **{key: {**known, **then[key]} for key, known in _BEFORE.items() if key in then}}
    differences = [f"{name} was {a} and is {b}" for name, a, b in _differences(then, now)]
    if not differences:
        return
    told = "; ".join(differences)
    if not allowed:
        raise UsageError(f"the run would not go on as it was: {told}. Say --allow-inexact to go on nevertheless")
    reporter.warn(f"going on, though {told}")


def _differences(then: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in sorted({*then, *now}):
            yield from _differences(then.get(key), now.get(key), f"{name} {key}".strip())
    elif then != now:
        yield name, then, now


def check_longer(then: Schedule, now: Schedule, *, images: int) -> None:
    """Raise UsageError unless both schedules give the same values for all of a run that is over.

    Args:
        then, now: the schedule for the length that was planned, and for the new one.
        images: seen so far.
    """
    for point in np.linspace(0, max(images - 1, 0), PROBES).astype(np.int64):
        before, after = then(int(point)), now(int(point))
        for name in before:
            if before[name] != after.get(name):
                raise UsageError(
                    f"the schedule depends on the run's length: at {point:,} images {name} was {before[name]:g} and "
                    f"with the new length would have been {after.get(name, float('nan')):g}; start a new run with "
                    "--from, or keep the length"
                )


def load_weights(folder: Path, trainer: Any, engine: Any, reporter: Reporter) -> None:
    """Take over the weights of another run where names and shapes agree, and name those that did not fit.

    Args:
        folder: a checkpoint, or a saved generator.
        trainer, engine: of the new run.
        reporter: is told what did not fit.

    Raises:
        UsageError: if nothing fits.
    """
    whole = (folder / rundir.STATE).exists()
    path = folder / (rundir.STATE if whole else rundir.WEIGHTS)
    found = checkpoint.read_matching(path)
    networks = {"G": trainer.G, "D": trainer.D} if whole else {"G": trainer.G}
    missing = []
    taken = 0
    for label, network in networks.items():
        # Samples come from the moving average, so that is what is gone on with where there is one.
        prefixes = ("EMA/", "G/") if whole and label == "G" else (f"{label}/",) if whole else ("",)
        own = engine.tensors(network)
        for name, array in own.items():
            saved = next((found[prefix + name] for prefix in prefixes if prefix + name in found), None)
            if saved is not None and (saved.dtype, saved.shape) == (array.dtype, array.shape):
                own[name] = saved
                taken += 1
            else:
                missing.append(f"{label}/{name}")
        engine.load(network, own)
    if not taken:
        raise UsageError(f"{path} holds no tensor that fits these networks; pick the model that made it")
    trainer.follow_weights()
    if missing:
        reporter.warn(f"{len(missing)} tensors did not fit and start anew: {', '.join(missing)}")
    reporter.warn(f"begins with {taken} tensors of {path.parent}")
