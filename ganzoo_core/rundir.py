"""A run's folder: what lies where, and how each thing is written and found.

config.yaml            everything resolved, with where each value came from
stats.jsonl            one line a report
samples/IMAGES.png     grids from the same noise; real.png, latest.png
checkpoints/IMAGES/    all that going on takes; the newest are kept
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
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import filelock

from ganzoo_core import checkpoint, scores
from ganzoo_core.api import UsageError
from ganzoo_core.settings import Settings

WEIGHTS, CARD = "generator.safetensors", "generator.json"
CONFIG, STATS = "config.yaml", "stats.jsonl"
STATE, POSITION = "state.safetensors", "position.json"


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unwritten: list[bytes] = []  # lines of statistics that the disk has not taken yet
        self._lines = self._bytes = 0  # of statistics that it has

    @classmethod
    def create(cls, out: Path | None, name: str) -> RunFolder:
        """A new folder: `out`, which must be new or empty, or `runs/NAME-1` and so on.

        Raises:
            UsageError: if `out` holds something, or no folder can be made.
        """
        try:
            if out is not None:
                if out.exists() and (not out.is_dir() or any(out.iterdir())):
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
        return self.path / "samples"

    @property
    def snapshots(self) -> Path:
        """The folder of the saved generators."""
        return self.path / "snapshots"

    @property
    def generator(self) -> Path:
        """The folder of the last generator."""
        return self.path / "generator"

    @classmethod
    def open(cls, path: Path, *, clear: bool = True) -> RunFolder:
        """A run that is there, without what a crash left in it, unless another process clears that.

        Raises:
            UsageError: if it is no run.
        """
        if not (path / CONFIG).is_file():
            raise UsageError(f"{path} holds no {CONFIG}, so it is no run's folder; name one, such as runs/NAME-1")
        folder = cls(path)
        for place in (path, folder.checkpoints, folder.snapshots, folder.samples) if clear else ():
            checkpoint.clear_leftovers(place)
        return folder

    def lock(self) -> filelock.BaseFileLock:
        """Keep other processes from this run, for as long as this one lives.

        Raises:
            UsageError: if another one has it.
        """
        lock = filelock.FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise UsageError(f"{self.path} is in use by another process; wait for it, or stop it") from None
        return lock

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def write_config(self, settings: Settings, facts: Mapping[str, Any]) -> None:
        """`config.yaml`, which `--config` reads again."""
        checkpoint.write_file(self.path / CONFIG, as_yaml(settings, facts).encode())

    def add_stats(self, line: Mapping[str, Any]) -> None:
        """Append a line to `stats.jsonl`; a number that is not finite is written as null."""
        clean = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in line.items()
        }
        self._unwritten.append(json.dumps(clean).encode() + b"\n")
        self.flush_stats()

    def flush_stats(self) -> None:
        """Write the lines that could not be written yet; OSError if they still cannot."""
        content = b"".join(self._unwritten)
        if content:
            checkpoint.append(self.path / STATS, content, at=self._bytes)
            self._bytes, self._lines = self._bytes + len(content), self._lines + len(self._unwritten)
            self._unwritten = []

    def count_stats(self) -> int:
        """Lines of statistics so far."""
        return self._lines + len(self._unwritten)

    def cut_stats(self, lines: int) -> None:
        """Keep the first lines; what comes later, or is torn, was written after the checkpoint that is gone back to."""
        path = self.path / STATS
        kept = path.read_bytes().splitlines(keepends=True)[:lines] if path.exists() else []
        if len(kept) < lines or not all(line.endswith(b"\n") for line in kept):
            raise UsageError(f"{path} holds fewer than the {lines} lines that were written; it was changed since")
        checkpoint.write_file(path, b"".join(kept))
        self._unwritten, self._lines, self._bytes = [], lines, sum(map(len, kept))

    def stats(self) -> list[dict[str, Any]]:
        """All reports so far."""
        path = self.path / STATS
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def add_pictures(self, names: Iterable[str], png: bytes) -> None:
        """`samples/NAME.png`, the same under each name."""
        self.samples.mkdir(exist_ok=True)
        for name in names:
            checkpoint.write_file(self.samples / f"{name}.png", png)

    def write_generator(self, folder: Path, tensors: Mapping[str, Any], card: Mapping[str, Any]) -> None:
        """A self-describing generator: its tensors and the card that says how to build it."""
        files = {WEIGHTS: checkpoint.pack(tensors), CARD: json.dumps(card, indent=1).encode()}
        checkpoint.write_folder(folder, files)

    def write_checkpoint(
        self, images: int, tensors: Mapping[str, Any], position: Mapping[str, Any], *, keep: int
    ) -> Path:
        """`checkpoints/IMAGES`, and then away with all but the newest and the best; OSError if the disk refuses."""
        files = {STATE: checkpoint.pack(tensors), POSITION: json.dumps(position, indent=1).encode()}
        path = self.checkpoints / str(images)
        checkpoint.write_folder(path, files)
        best = self._best()
        for former in self._checkpoints()[keep:]:
            if former.name != str(best):
                shutil.rmtree(former, ignore_errors=True)
        return path

    def _best(self) -> int | None:
        """The images that the best generator had seen, by the scores so far; None without any that can be read."""
        try:
            best = scores.best(scores.read(self.path))
        except (UsageError, OSError):
            return None
        return None if best is None else best.images

    def newest_checkpoint(self) -> Path | None:
        """The newest that is valid to the byte; None if there is none."""
        return next(filter(checkpoint.is_valid, self._checkpoints()), None)

    def _checkpoints(self) -> list[Path]:
        found = [path for path in self.checkpoints.glob("*") if path.name.isdigit()]
        return sorted(found, key=lambda path: int(path.name), reverse=True)

    def finished_at(self) -> int:
        """Images that `generator/` has seen; -1 without one."""
        if not checkpoint.is_valid(self.generator):
            return -1
        return int(checkpoint.read_json(self.generator / CARD)["images"])


def read_position(folder: Path) -> dict[str, Any]:
    """Where a run stood at a checkpoint."""
    position = checkpoint.read_json(folder / POSITION)
    if not isinstance(position, dict) or "images" not in position:
        raise UsageError(f"{folder / POSITION} does not say where the run stood; it is damaged")
    return position


def as_yaml(settings: Settings, facts: Mapping[str, Any]) -> str:
    """Flat settings, each with its origin behind it, and the run's facts under `run`."""
    lines = ["# Every setting of this run and where it came from. `ganzoo run --config` reads it."]
    for key, entry in sorted(settings.entries.items()):
        if entry.value is not None:
            origin = " ".join(entry.origin.split())  # a file's name may hold a line break
            lines.append(f"{key}: {json.dumps(entry.value)}" + (f"  # {origin}" if origin else ""))
    lines += ["run:", *(f"  {key}: {json.dumps(value)}" for key, value in facts.items())]
    return "\n".join(lines) + "\n"


def find_generator(path: Path, which: str = "last") -> Path:
    """The folder of a saved generator.

    Args:
        path: a run, its `generator/`, or one of its snapshots.
        which: `last`, a number of images, or `epoch:N`; only of a run.

    Raises:
        UsageError: if there is none, with what there is.
    """
    if not path.exists():
        raise UsageError(f"{path} is not there; name a run's folder, its generator/ or a snapshot")
    if (path / CARD).exists():
        if which != "last":
            raise UsageError(f"{path} is one generator; --checkpoint chooses among those of a run")
        return path
    saved = {int(p.name): p for p in (path / "snapshots").glob("*") if p.name.isdigit() and checkpoint.is_whole(p)}
    if which == "last":
        if checkpoint.is_whole(path / "generator"):
            return path / "generator"
        if saved:
            return saved[max(saved)]
        raise UsageError(f"{path} holds no saved generator: it is no run's folder, or nothing was saved yet")
    if which == "best":
        return _best(saved, path)
    match = re.fullmatch(r"(epoch:)?(\d[\d_]*)", which)
    if match is None:
        raise UsageError(f"--checkpoint {which!r} is not known; say last, best, a number of images, or epoch:N")
    number = int(match[2])
    if match[1]:
        return _of_epoch(saved, number, path)
    if number not in saved:
        listed = ", ".join(map(str, sorted(saved))) or "none"
        raise UsageError(f"{path} has no snapshot at {number} images; it has {listed}")
    return saved[number]


def _best(saved: Mapping[int, Path], path: Path) -> Path:
    """The generator with the best score."""
    best = scores.best(scores.read(path))
    if best is None or best.images is None:
        raise UsageError(
            f"{path} was not evaluated, so none of its snapshots is the best yet; say last or epoch:N, or "
            f"`ganzoo evaluate {path} --checkpoint all` first"
        )
    if best.images in saved:
        return saved[best.images]
    last = path / "generator"
    if checkpoint.is_whole(last) and checkpoint.read_json(last / CARD)["images"] == best.images:
        return last
    raise UsageError(
        f"the best score of {path} is that at {best.images:,} images, of which no snapshot is kept; "
        f"`ganzoo evaluate {path} --checkpoint all` scores those that are"
    )


def _of_epoch(saved: Mapping[int, Path], number: int, path: Path) -> Path:
    """The first snapshot at or after the end of an epoch, if it lies within that step."""
    epochs: dict[int, Path] = {}
    for images in sorted(saved):
        card = checkpoint.read_json(saved[images] / CARD)
        epoch_images, step_images = int(card["epoch_images"]), int(card["step_images"])
        epoch = images // epoch_images
        if images - epoch * epoch_images < step_images:
            epochs.setdefault(epoch, saved[images])
    if number not in epochs:
        listed = ", ".join(map(str, sorted(epochs))) or "none"
        raise UsageError(f"{path} has no snapshot of epoch {number}; it has epochs {listed}")
    return epochs[number]
