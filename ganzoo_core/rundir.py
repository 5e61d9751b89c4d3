"""A run's folder: what lies where, and how each thing is written and found.

config.yaml            everything resolved, with where each value came from
stats.jsonl            one line a report
samples/IMAGES.png     grids from the same noise; real.png, latest.png
snapshots/IMAGES/      the generator alone, all kept
generator/             the last one
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganzoo_core import checkpoint
from ganzoo_core.api import UsageError
from ganzoo_core.settings import Settings

WEIGHTS, CARD = "generator.safetensors", "generator.json"


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

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

    def write_config(self, settings: Settings, facts: Mapping[str, Any]) -> None:
        """`config.yaml`, which `--config` reads again."""
        (self.path / "config.yaml").write_text(as_yaml(settings, facts), encoding="utf-8")

    def add_stats(self, line: Mapping[str, Any]) -> None:
        """Append a line to `stats.jsonl`; a number that is not finite is written as null."""
        clean = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in line.items()
        }
        with (self.path / "stats.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(clean) + "\n")

    def stats(self) -> list[dict[str, Any]]:
        """All reports so far."""
        path = self.path / "stats.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def add_picture(self, name: str, png: bytes) -> Path:
        """`samples/NAME.png`."""
        self.samples.mkdir(exist_ok=True)
        path = self.samples / f"{name}.png"
        path.write_bytes(png)
        return path

    def write_generator(self, folder: Path, tensors: Mapping[str, Any], card: Mapping[str, Any]) -> None:
        """A self-describing generator: its tensors and the card that says how to build it."""
        files = {WEIGHTS: checkpoint.pack(tensors), CARD: json.dumps(card, indent=1).encode()}
        checkpoint.write_folder(folder, files)


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
    match = re.fullmatch(r"(epoch:)?(\d[\d_]*)", which)
    if match is None:
        raise UsageError(f"--checkpoint {which!r} is not known; say last, a number of images, or epoch:N")
    number = int(match[2])
    if match[1]:
        return _of_epoch(saved, number, path)
    if number not in saved:
        listed = ", ".join(map(str, sorted(saved))) or "none"
        raise UsageError(f"{path} has no snapshot at {number} images; it has {listed}")
    return saved[number]


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
