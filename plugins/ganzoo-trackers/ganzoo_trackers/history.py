"""Read a run's earlier reports and sample grids, for a tracker that is added later."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ganzoo_core as gz

_NUMBER = re.compile("[0-9]{1,15}")
_PNG_HEADER = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"


def read_reports(run: gz.TrackedRun) -> list[dict[str, Any]]:
    """The lines of statistics up to `run.images`; raises UsageError for an invalid line."""
    return [line for line in gz.Run(run.folder).stats if line["images"] <= run.images]


def list_events(run: gz.TrackedRun, *, after: int = 0) -> list[tuple[int, Mapping[str, Any] | Path]]:
    """Reports and grids after `after` and up to `run.images` images, in chronological order."""
    events: list[tuple[int, Mapping[str, Any] | Path]] = [(line["images"], line) for line in read_reports(run)]
    samples = run.folder / "samples"
    pictures = () if samples.is_symlink() else samples.glob("*.png")
    events += [(int(path.stem), path) for path in pictures if _NUMBER.fullmatch(path.stem) and _is_grid(path)]
    return sorted(((images, what) for images, what in events if after < images <= run.images), key=lambda pair: pair[0])


def _is_grid(path: Path) -> bool:
    """Whether the path is a PNG file and not a link."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_PNG_HEADER)) == _PNG_HEADER
