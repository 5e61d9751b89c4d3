"""What a run's folder tells of the time before a tracker came to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ganzoo_core as gz


def reports(run: gz.TrackedRun) -> list[dict[str, Any]]:
    """The lines of statistics up to `run.images`."""
    path = run.folder / "stats.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return [line for line in lines if line["images"] <= run.images]


def events(run: gz.TrackedRun, *, after: int = 0) -> list[tuple[int, Mapping[str, Any] | Path]]:
    """Reports and grids of more than `after` and at most `run.images` images, in the order in which they came."""
    found: list[tuple[int, Mapping[str, Any] | Path]] = [(line["images"], line) for line in reports(run)]
    pictures = (run.folder / "samples").glob("*.png")
    found += [(int(path.stem), path) for path in pictures if path.stem.isdigit()]
    return sorted(((images, what) for images, what in found if after < images <= run.images), key=lambda pair: pair[0])
