"""A run's folder as the core leaves it, and what comes back out of the trackers' files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

import ganzoo_core as gz

# TensorBoard reads files without TensorFlow where a module of this name can be imported; so it starts at once.
sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))

SETTINGS = {"train.lr": 2e-4, "train.betas": [0.5, 0.999], "train.lr_g": None, "use.model": "m", "engine.threads": 1}
FACTS = {"ganzoo": "0.1.0", "parts": {"loss": "ganzoo-losses/hinge 0.1.0"}, "notes": ["a | b"]}


class Folder:
    """A run of 64 images a step, written by hand."""

    def __init__(self, path: Path, tracker: str) -> None:
        (path / "samples").mkdir(parents=True)
        own = path / "trackers" / tracker
        self.run = gz.TrackedRun(folder=path, name=path.name, settings=SETTINGS, facts=FACTS, images=0, own=own)
        self.memories = [self.run.memory]

    def again(self, *, images: int) -> Folder:
        """The same folder in another process, at a checkpoint: what was written later is cut away."""
        lines = [line for line in self.lines() if line["images"] <= images]
        (self.run.folder / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return self.again_as_it_is(images=images)

    def again_as_it_is(self, *, images: int) -> Folder:
        """The same, with nothing cut away."""
        other = object.__new__(Folder)
        other.run = replace(self.run, images=images, memory={})
        self.memories.append(other.run.memory)
        return other

    def line(self, images: int, **more: float) -> dict[str, Any]:
        """One more line of statistics, whose numbers are known by the images."""
        terms = {"discriminator/adversarial": 1.0 + images / 1024, "generator/adversarial": -images / 1024}
        counts = {"step": images // 64, "epoch": 0, "seconds": images / 128, "images_per_second": 128.0}
        line = {"images": images, **counts, **terms, "lr_g": 2e-4, **more}
        with (self.run.folder / "stats.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        return line

    def lines(self) -> list[dict[str, Any]]:
        path = self.run.folder / "stats.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def picture(self, images: int, *, colour: bool = False) -> Path:
        """One more grid, 6 pixels wide and 4 high."""
        path = self.run.folder / "samples" / f"{images}.png"
        Image.new("RGB" if colour else "L", (6, 4), images % 256).save(path)
        return path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Callable[[str], Folder]]:
    """A new run, watched by a tracker, whose files are closed at the end."""
    made: list[Folder] = []

    def make(tracker: str) -> Folder:
        made.append(Folder(tmp_path / "dcgan-torch-digits-1", tracker))
        return made[-1]

    yield make
    for memory in (memory for folder in made for memory in folder.memories):
        if "file" in memory:
            memory["file"].close()


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where nobody is logged in to anything, and no network to be asked."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("GANZOO_OFFLINE", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    nowhere = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_ERROR_REPORTING": "false"}
    for name, value in {"HOME": home, "NETRC": home / "none", **nowhere}.items():
        monkeypatch.setenv(name, str(value))
    return home


@pytest.fixture
def read_wandb() -> Callable[[Path], list[Any]]:
    """The offline runs in a folder in the order in which they began: (run, config, rows, exit) each."""
    import wandb

    def read(own: Path) -> list[Any]:
        wandb.teardown()  # its own process writes the files, and some of them after a run's end
        return [_of_wandb(path) for path in sorted(own.glob("wandb/offline-run-*/*.wandb"))]

    return read


def _of_wandb(path: Path) -> tuple[Any, dict[str, Any], list[dict[str, Any]], Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    records = [Record.FromString(record) for record in _records(path.read_bytes())]
    (begun,) = [record.run for record in records if record.HasField("run")]
    (ended,) = [record.exit for record in records if record.HasField("exit")]
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    rows = [
        {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    return begun, config, rows, ended


def _records(content: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format: blocks of 32 KiB, in which each piece has a head of 7 bytes.

    A head is a checksum (4), a length (2) and a type (1): 1 whole, 2 first, 3 middle, 4 last. wandb begins the first
    block with 7 bytes of its own.
    """
    block, position, record = 32768, 7, b""
    while position + 7 <= len(content):
        if block - position % block < 7:  # no head fits: padding
            position += block - position % block
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            yield record
            record = b""
