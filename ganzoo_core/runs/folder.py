"""A run's folder: what lies where, and how each thing is written and found.

config.yaml            everything resolved, with where each value came from
data/                  the fingerprint of what it learnt from: a digest an image, labels, class names
stats.jsonl            one line a report
samples/IMAGES.png     grids from the same noise; real.png, latest.png
checkpoints/IMAGES/    the full training state; the newest are kept
snapshots/IMAGES/      the generator alone, all kept
generator/             the last one
scores.jsonl           what it was scored, and how
report.html            all of it to look at
trackers/NAME/         what a tracker keeps
"""

from __future__ import annotations

import json
import math
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
from ganzoo_core.runs.stats import read_first_lines, read_stats
from ganzoo_core.settings import Settings, read_facts
from ganzoo_core.storage import atomic, decoding, files
from ganzoo_core.storage.records import Card, Position
from ganzoo_core.storage.tensors import pack_tensors
from ganzoo_core.terminal.progress import Reporter

LOCK_TIMEOUT = 2.0  # seconds in which the system may still be clearing away a process that was killed
_ID_PATTERN = re.compile(r"[0-9a-f]{16}")
_CONTENTS = (WEIGHTS, CARD, STATE, POSITION, fingerprint.RECORD_FILE, fingerprint.DIGESTS_FILE)  # of the folders in it


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._validity: dict[tuple[object, ...], bool] = {}  # checkpoints whose bytes were compared
        self._unwritten_lines: list[bytes] = []  # lines of statistics that the disk has not taken yet
        self._line_count = self._byte_count = 0  # of statistics that it has
        self._locked_folder = LockedFolder(path, lock=LOCK, permanent_file=CONFIG)

    @classmethod
    def create(cls, out: Path | None, name: str) -> RunFolder:
        """A new folder: `out`, which must be new or empty, or `runs/NAME-1` and so on.

        Raises:
            UsageError: if `out` holds something, or no folder can be made.
        """
        try:
            if out is not None:
                if out.exists() and (not out.is_dir() or any(entry.name != LOCK for entry in out.iterdir())):
                    raise UsageError(f"{out} is there already and not empty; choose another --out")
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
        """The folder of the last generator."""
        return self.path / layout.GENERATOR

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run that is there.

        Raises:
            UsageError: if it is no run, its `config.yaml` is damaged, or links, pipes or devices lie where its own
                files and folders belong.
        """
        if not files.is_file(path / CONFIG):
            raise UsageError(f"{path} holds no {CONFIG}, so it is no run's folder; name one, such as runs/NAME-1")
        check_entries(path)
        folder = cls(path)
        folder.id  # noqa: B018  (read once and now: before a checkpoint is taken for another run's)
        return folder

    @cached_property
    def id(self) -> str:
        """Tells this run from all others; kept in `config.yaml`, and in the manifest of each folder that it writes."""
        known = read_facts(self.path / CONFIG).id if files.describe(self.path / CONFIG) else ""
        return known if _ID_PATTERN.fullmatch(known) else secrets.token_hex(8)

    def lock(self) -> filelock.BaseFileLock:
        """Keep other processes from this run, for as long as this one lives, and clear what a crash left in it.

        Raises:
            UsageError: if another one has it, and does not give it up within `LOCK_TIMEOUT` seconds.
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
            for place in (self.path, self.checkpoints, self.snapshots, self.samples):
                atomic.clear_leftovers(place, names=layout.WRITTEN, contents=_CONTENTS)
        except BaseException:
            lock.release()
            raise
        return lock

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / layout.CHECKPOINTS

    def write_config(self, settings: Settings, facts: Mapping[str, Any]) -> None:
        """`config.yaml`, which `--config` reads again."""
        atomic.write_file(self.path / CONFIG, format_config(settings, {"id": self.id, **facts}).encode())

    def add_stats(self, line: Mapping[str, Any]) -> None:
        """Append a line to `stats.jsonl`; a number that is not finite is written as null."""
        clean = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in line.items()
        }
        self._unwritten_lines.append(json.dumps(clean).encode() + b"\n")
        self.flush_stats()

    def flush_stats(self) -> None:
        """Write the lines that could not be written yet; OSError if they still cannot."""
        self._locked_folder.check(self.path / STATS, self._byte_count)
        if content := b"".join(self._unwritten_lines):
            atomic.append(self.path / STATS, content, at=self._byte_count)
            self._byte_count, self._line_count = (
                self._byte_count + len(content),
                self._line_count + len(self._unwritten_lines),
            )
            self._unwritten_lines = []

    def count_stats(self) -> int:
        """Lines of statistics so far."""
        return self._line_count + len(self._unwritten_lines)

    def truncate_stats(self, lines: int) -> None:
        """Keep the first lines; what comes later, or is torn, was written after the checkpoint that is gone back to.

        Raises:
            UsageError: if there are fewer, or one of them is no line of statistics.
        """
        path = self.path / STATS
        kept = read_first_lines(path, lines)
        atomic.write_file(path, kept)
        self._unwritten_lines, self._line_count, self._byte_count = [], lines, len(kept)

    def read_stats(self) -> list[dict[str, Any]]:
        """All reports so far; raises UsageError for a line that is none."""
        return read_stats(self.path / STATS)

    def write_sample_grid(self, names: Iterable[str], png: bytes) -> None:
        """PNG files in `samples/`, the same under each name."""
        files.check_folder(self.samples)
        self.samples.mkdir(exist_ok=True)
        for name in names:
            atomic.write_file(self.samples / name, png)

    def write_generator(self, folder: Path, tensors: Mapping[str, Any], card: Mapping[str, Any]) -> None:
        """A self-describing generator: its tensors and the card that says how to build it."""
        self._locked_folder.check()
        contents = {WEIGHTS: pack_tensors(tensors), CARD: json.dumps(card, indent=1).encode()}
        atomic.write_folder(folder, contents, run_id=self.id)

    def write_checkpoint(
        self, images: int, tensors: Mapping[str, Any], position: Mapping[str, Any], *, keep: int
    ) -> Path:
        """Write `checkpoints/IMAGES`, then remove all of this run's valid ones but the newest and the best.

        Raises:
            OSError: if the disk refuses; then nothing was removed.
        """
        self._locked_folder.check()
        contents = {
            STATE: pack_tensors(tensors),
            POSITION: json.dumps(position, indent=1, allow_nan=False).encode(),
        }
        path = self.checkpoints / layout.saved_at(images)
        atomic.write_folder(path, contents, run_id=self.id)
        self._validity[self._stat_checkpoint(path)] = (
            True  # as written: reading all of it again would cost each save that
        )
        best = self._find_best_images()
        for former in self._list_own_checkpoints()[keep:]:
            if former.name != str(best):
                atomic.remove(former)
        return path

    def _find_best_images(self) -> int | None:
        """The images that the best generator had seen, by the scores so far; None without any that can be read."""
        try:
            best = scores.find_best(scores.read(self.path))
        except (UsageError, OSError):
            return None
        return None if best is None else best.images

    def find_newest_checkpoint(self) -> Path | None:
        """The newest that is valid to the byte and this run's own; None if there is none."""
        return next(iter(self._list_own_checkpoints()), None)

    def list_damaged_checkpoints(self) -> list[Path]:
        """Those that are not whole, not valid, no folders, or another run's; the newest first."""
        own = self._list_own_checkpoints()
        found = [path for path in files.list_folder(self.checkpoints) if files.is_number(path.name)]
        return [path for path in sorted(found, key=lambda path: -int(path.name)) if path not in own]

    def set_aside(self, path: Path, prefix: str = DAMAGED_PREFIX) -> Path:
        """Rename what may neither be used nor be lost, such as a damaged checkpoint; returns its new path.

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
        """Forget the statistics and scores of an attempt that is lost; where its generators were set aside."""
        self.truncate_stats(0)
        scores.remove_later_scores(self.path, -1)
        return [
            self.set_aside(path, BEFORE_RESTART_PREFIX)
            for path in (self.generator, self.snapshots)
            if files.is_folder(path)
        ]

    def _list_own_checkpoints(self) -> list[Path]:
        """The valid checkpoints of this run, the newest first."""
        found = list(files.list_numbered(self.checkpoints).values())
        return [path for path in reversed(found) if self._is_own(path)]

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
        """Another value whenever a file of a checkpoint was written anew."""
        try:
            about = [(path / name).lstat() for name in (atomic.MANIFEST, STATE, POSITION)]
        except OSError:
            return (path.name,)
        return (path.name, *((one.st_mtime_ns, one.st_size) for one in about))

    def is_finished(self) -> bool:
        """Whether the run has reached its length and saved its generator."""
        newest = self.find_newest_checkpoint()
        if newest is None:
            return False
        position = read_position(newest)
        return position.images >= position.end and self.read_generator_images() == position.images

    def read_generator_images(self) -> int:
        """Images that `generator/` has seen; -1 without one."""
        if not atomic.is_valid(self.generator):
            return -1
        return read_card(self.generator).images


def read_position(folder: Path) -> Position:
    """Where a run stood at a checkpoint; raises UsageError if the file does not say so as it must."""
    return decoding.read_record(folder / POSITION, Position)


def read_card(folder: Path) -> Card:
    """The card of a saved generator; raises UsageError if there is none, or it is not as it must be."""
    return decoding.read_record(folder / CARD, Card)


def check_entries(path: Path) -> None:
    """Raise UsageError where a link, a pipe or a device lies in a run's folder in the place of something of its own."""
    for name in (CONFIG, STATS, layout.SCORES, LOCK):
        files.check_file(path / name)
    for name in FOLDERS:
        files.check_folder(path / name)


def find_readable_checkpoint(folder: RunFolder) -> Path | None:
    """The newest valid checkpoint of a run that is only read; a newer one that is damaged is named."""
    newest = folder.find_newest_checkpoint()
    for path in folder.list_damaged_checkpoints():
        if newest is None or int(path.name) > int(newest.name):
            instead = f"; the one at {pluralise(int(newest.name), 'image')} is taken" if newest else ""
            Reporter().warn(f"the checkpoint {path} is damaged, or another run's{instead}")
    return newest
