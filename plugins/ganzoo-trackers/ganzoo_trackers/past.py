"""What a run's folder tells of the time before a tracker came to it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ganzoo_core as gz

LARGEST = 1e300  # of a number
_IMAGES = re.compile("[0-9]{1,18}")  # str.isdigit takes ² as well


def reports(run: gz.TrackedRun) -> list[dict[str, Any]]:
    """The lines of statistics up to `run.images`."""
    path = run.folder / "stats.jsonl"
    lines = map(_parse, path.read_bytes().splitlines()) if _is_regular(path) else ()
    return [line for line in lines if type(line.get("images")) is int and line["images"] <= run.images]


def _parse(line: bytes) -> dict[str, Any]:
    """A report's names and numbers; empty for a line that is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if value is None or _is_number(value)}


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and -LARGEST < value < LARGEST  # type: ignore[operator]


def _is_regular(path: Path) -> bool:
    """Whether a file lies there, and neither a link nor a pipe, which could lead or wait for anything."""
    return path.is_file() and not path.is_symlink()


def events(run: gz.TrackedRun, *, after: int = 0) -> list[tuple[int, Mapping[str, Any] | Path]]:
    """Reports and grids of more than `after` and at most `run.images` images, in the order in which they came."""
    found: list[tuple[int, Mapping[str, Any] | Path]] = [(line["images"], line) for line in reports(run)]
    samples = run.folder / "samples"
    pictures = [] if samples.is_symlink() else [path for path in samples.glob("*.png") if _is_regular(path)]
    found += [(int(path.stem), path) for path in pictures if _IMAGES.fullmatch(path.stem)]
    return sorted(((images, what) for images, what in found if after < images <= run.images), key=lambda pair: pair[0])
