"""A run's folder: its contents, and how each file is written and read.

config.yaml            all resolved settings with their origins, and the run's facts
data/                  fingerprint of the training data: a digest per image, labels, class names
stats.jsonl            training statistics, one line per report
samples/IMAGES.png     sample grids, all from the same noise; real.png, latest.png
checkpoints/IMAGES/    the full training state; only the newest and the best are kept
snapshots/IMAGES/      the generator alone; all are kept
generator/             the final generator
scores.jsonl           scores with their protocol
report.html            the report page
trackers/NAME/         files of a tracker
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import filelock

from ganzoo_core.data import fingerprint
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import pluralise
from ganzoo_core.runs import layout, scores
from ganzoo_core.runs.config import format_config
from ganzoo_core.runs.layout import (
    BEFORE_RESTART_PREFIX,
    CARD,
    CONFIG,
    DAMAGED_PREFIX,
    FOLDERS,
    LOCK,
    POSITION,
    STATE,
    STATS,
    WEIGHTS,
)
from ganzoo_core.runs.lock import LockedFolder
from ganzoo_core.runs.stats import WritesStats
from ganzoo_core.settings import Settings, read_facts
from ganzoo_core.storage import atomic, decoding, files
from ganzoo_core.storage.records import Card, Position
from ganzoo_core.storage.tensors import pack_tensors
from ganzoo_core.terminal.progress import Reporter

LOCK_TIMEOUT = 2.0  # seconds: the system may still be cleaning up a killed process
_ID_PATTERN = re.compile(r"[0-9a-f]{16}")
# Files in the run's subfolders.
_CONTENTS = (WEIGHTS, CARD, STATE, POSITION, fingerprint.RECORD_FILE, fingerprint.DIGESTS_FILE)


class RunFolder(WritesStats):
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._validity: dict[tuple[object, ...], bool] = {}  # of checkpoints, once verified
        self._locked_folder = LockedFolder(path, lock=LOCK, permanent_file=CONFIG)

    @staticmethod
    def check_new(out: Path) -> None:
        """Raise UsageError if `out` is neither new nor an empty folder."""
        if out.exists() and (not out.is_dir() or any(entry.name != LOCK for entry in out.iterdir())):
            raise UsageError(f"{out} is there already and not empty; choose another --out")

    @classmethod
    def create(cls, out: Path | None, name: str) -> RunFolder:
        """Create a run folder: `out`, which must be new or empty, or else the next free `runs/NAME-N`.

        Raises:
            UsageError: if `out` is not empty, or the folder cannot be created.
        """
        try:
            if out is not None:
                cls.check_new(out)
                out.mkdir(parents=True, exist_ok=True)
                return cls(out)
            number = 1
            while True:
                path = Path("runs") / f"{name}-{number}"
                try:
                    path.mkdir(parents=True)
                except FileExistsError:
                    number += 1
                else:
                    return cls(path)
        except OSError as error:
            raise UsageError(f"no run folder can be made at {out or 'runs'}: {error.strerror}; choose --out") from None

    @property
    def samples(self) -> Path:
        """The folder of the sample grids."""
        return self.path / layout.SAMPLES

    @property
    def snapshots(self) -> Path:
        """The folder of the saved generators."""
        return self.path / layout.SNAPSHOTS

    @property
    def generator(self) -> Path:
        """The folder of the final generator."""
        return self.path / layout.GENERATOR

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open an existing run.

        Raises:
            UsageError: if it is not a run, its `config.yaml` is damaged, or one of its files or folders is a link, a
                pipe or a device.
        """
        if not files.is_file(path / CONFIG):
            raise UsageError(f"{path} holds no {CONFIG}, so it is no run's folder; name one, such as runs/NAME-1")
        check_entries(path)
        folder = cls(path)
        folder.id  # noqa: B018  (cached now, before checkpoints are compared with it)
        return folder

    @cached_property
    def id(self) -> str:
        """Unique id of this run; stored in `config.yaml` and in the manifest of each folder that it writes."""
        known = read_facts(self.path / CONFIG).id if files.describe(self.path / CONFIG) else ""
        return known if _ID_PATTERN.fullmatch(known) else secrets.token_hex(8)

    def lock(self) -> filelock.BaseFileLock:
        """Lock the run against other processes until this one ends, and remove leftovers of a crash.

        Raises:
            UsageError: if another process holds the lock for longer than `LOCK_TIMEOUT` seconds, or the folder is not
                writable.
        """
        files.check_file(self.path / LOCK)
        lock = filelock.FileLock(self.path / LOCK, timeout=LOCK_TIMEOUT)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise UsageError(f"{self.path} is in use by another process; wait for it, or stop it") from None
        except OSError as error:
            reason = files.explain_os_error(error)
            raise UsageError(f"{self.path} cannot be written, so its run cannot go on: {reason}") from None
        self._locked_folder.remember_lock()
        try:
            for folder in (self.path, self.checkpoints, self.snapshots, self.samples):
                atomic.clear_leftovers(folder, names=layout.WRITTEN, contents=_CONTENTS)
        except BaseException:
            lock.release()
            raise
        return lock

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / layout.CHECKPOINTS

    def write_config(self, settings: Settings, facts: Mapping[str, Any]) -> None:
        """Write `config.yaml`, which `--config` reads."""
        atomic.write_file(self.path / CONFIG, format_config(settings, {"id": self.id, **facts}).encode())

    def write_sample_grid(self, names: Iterable[str], png: bytes) -> None:
        """Write one PNG to `samples/` under each of these names."""
        files.check_folder(self.samples)
        self.samples.mkdir(exist_ok=True)
        for name in names:
            atomic.write_file(self.samples / name, png)

    def write_generator(self, folder: Path, tensors: Mapping[str, Any], card: Mapping[str, Any]) -> None:
        """Write a generator: its tensors and the card that says how to rebuild it."""
        self._locked_folder.check()
        contents = {WEIGHTS: pack_tensors(tensors), CARD: json.dumps(card, indent=1).encode()}
        atomic.write_folder(folder, contents, run_id=self.id)

    def write_checkpoint(
        self, images: int, tensors: Mapping[str, Any], position: Mapping[str, Any], *, keep: int
    ) -> Path:
        """Write `checkpoints/IMAGES`, then remove this run's valid checkpoints except the `keep` newest and the best.

        Raises:
            OSError: if the disk refuses; nothing is removed then.
        """
        self._locked_folder.check()
        contents = {
            STATE: pack_tensors(tensors),
            POSITION: json.dumps(position, indent=1, allow_nan=False).encode(),
        }
        path = self.checkpoints / layout.saved_at(images)
        atomic.write_folder(path, contents, run_id=self.id)
        self._validity[self._stat_checkpoint(path)] = True  # just written; verifying it would slow each save
        best = self._find_best_images()
        for former in self._list_own_checkpoints()[keep:]:
            if former.name != str(best):
                atomic.remove(former)
        return path

    def _find_best_images(self) -> int | None:
        """Images seen by the best-scored generator so far; None without readable scores."""
        try:
            best = scores.find_best(scores.read(self.path))
        except (UsageError, OSError):
            return None
        return None if best is None else best.images

    def find_newest_checkpoint(self) -> Path | None:
        """This run's newest checkpoint whose bytes are all valid; None if there is none."""
        return next(iter(self._list_own_checkpoints()), None)

    def list_damaged_checkpoints(self) -> list[Path]:
        """Checkpoints that are incomplete, invalid, not folders or another run's, newest first."""
        own = self._list_own_checkpoints()
        checkpoints = [path for path in files.list_folder(self.checkpoints) if files.is_number(path.name)]
        return [path for path in sorted(checkpoints, key=lambda path: -int(path.name)) if path not in own]

    def set_aside(self, path: Path, prefix: str = DAMAGED_PREFIX) -> Path:
        """Rename a file or folder so that it is kept but not used, such as a damaged checkpoint; returns the new path.

        Raises:
            OSError: if it cannot be renamed.
        """
        number, aside = 1, path.with_name(f"{prefix}{path.name}")
        while files.describe(aside):
            number += 1
            aside = path.with_name(f"{prefix}{path.name}-{number}")
        path.rename(aside)
        return aside

    def clear_for_restart(self) -> list[Path]:
        """Clear statistics and scores for a restart from scratch; returns the new paths of the generators set aside."""
        self.truncate_stats(0)
        scores.remove_later_scores(self.path, -1)
        return [
            self.set_aside(path, BEFORE_RESTART_PREFIX)
            for path in (self.generator, self.snapshots)
            if files.is_folder(path)
        ]

    def _list_own_checkpoints(self) -> list[Path]:
        """The valid checkpoints of this run, newest first."""
        checkpoints = list(files.list_numbered(self.checkpoints).values())
        return [path for path in reversed(checkpoints) if self._is_own(path)]

    def _is_own(self, path: Path) -> bool:
        version = self._stat_checkpoint(path)
        if version not in self._validity:
            try:
                is_own = atomic.read_manifest(path).run == self.id and atomic.is_valid(path)
                self._validity[version] = is_own and read_position(path).images == int(path.name)
            except UsageError:
                self._validity[version] = False
        return self._validity[version]

    def _stat_checkpoint(self, path: Path) -> tuple[object, ...]:
        """A cache key that changes whenever one of the checkpoint's files is rewritten."""
        try:
            stats = [(path / name).lstat() for name in (atomic.MANIFEST, STATE, POSITION)]
        except OSError:
            return (path.name,)
        return (path.name, *((stat.st_mtime_ns, stat.st_size) for stat in stats))

    def is_finished(self) -> bool:
        """Whether the run has reached its length and saved its final generator."""
        newest = self.find_newest_checkpoint()
        if newest is None:
            return False
        position = read_position(newest)
        return position.images >= position.end and self.read_generator_images() == position.images

    def read_generator_images(self) -> int:
        """Images seen by the generator in `generator/`; -1 without one."""
        if not atomic.is_valid(self.generator):
            return -1
        return read_card(self.generator).images


def read_position(folder: Path) -> Position:
    """The training position of a checkpoint; raises UsageError if its file is missing or invalid."""
    return decoding.read_record(folder / POSITION, Position)


def read_card(folder: Path) -> Card:
    """The card of a saved generator; raises UsageError if it is missing or invalid."""
    return decoding.read_record(folder / CARD, Card)


def check_entries(path: Path) -> None:
    """Raise UsageError if one of a run's files or folders is a link, a pipe or a device."""
    for name in (CONFIG, STATS, layout.SCORES, LOCK):
        files.check_file(path / name)
    for name in FOLDERS:
        files.check_folder(path / name)


def find_readable_checkpoint(folder: RunFolder) -> Path | None:
    """The newest valid checkpoint of a run that is only read; warns of newer damaged ones."""
    newest = folder.find_newest_checkpoint()
    for path in folder.list_damaged_checkpoints():
        if newest is None or int(path.name) > int(newest.name):
            instead = f"; the one at {pluralise(int(newest.name), 'image')} is taken" if newest else ""
            Reporter().warn(f"the checkpoint {path} is damaged, or another run's{instead}")
    return newest
