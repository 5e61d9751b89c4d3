"""What a run's folder tells of the time before a tracker came to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ganzoo_core as gz

_NUMBER = re.compile("[0-9]{1,15}")
_PNG_HEADER = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"


def read_reports(run: gz.TrackedRun) -> list[dict[str, Any]]:
    """The lines of statistics up to `run.images`; raises UsageError for a line that is none."""
    return [line for line in gz.Run(run.folder).stats if line["images"] <= run.images]


def list_events(run: gz.TrackedRun, *, after: int = 0) -> list[tuple[int, Mapping[str, Any] | Path]]:
    """Reports and grids of more than `after` and at most `run.images` images, in the order in which they came."""
    found: list[tuple[int, Mapping[str, Any] | Path]] = [(line["images"], line) for line in read_reports(run)]
    samples = run.folder / "samples"
    pictures = () if samples.is_symlink() else samples.glob("*.png")
    found += [(int(path.stem), path) for path in pictures if _NUMBER.fullmatch(path.stem) and _is_grid(path)]
    return sorted(((images, what) for images, what in found if after < images <= run.images), key=lambda pair: pair[0])


def _is_grid(path: Path) -> bool:
    """Whether a PNG lies there, and no link to one."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_PNG_HEADER)) == _PNG_HEADER
