"""Write and read a run's `stats.jsonl`: one JSON object per report, each value a number or null."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from ganzoo_core.errors import UsageError
from ganzoo_core.runs import layout
from ganzoo_core.runs.lock import LockedFolder
from ganzoo_core.storage import atomic, decoding, files
from ganzoo_core.storage.records import MAX_IMAGES, StatsLine

_DECODER = msgspec.json.Decoder(StatsLine)


def read_stats(path: Path) -> list[dict[str, Any]]:
    """All lines in order; none without a file. A last line torn by a crash is ignored.

    Raises:
        UsageError: for an invalid line, which it names, or if `path` is not a regular file.
    """
    return [line for _, line in _decode_lines(path)]


def read_first_lines(path: Path, count: int) -> bytes:
    """The raw bytes of the first `count` lines, each checked as by `read_stats`.

    Raises:
        UsageError: as `read_stats`, and if there are fewer lines.
    """
    files.check_file(path)
    lines = [content for content, _ in islice(_decode_lines(path), count)]
    if len(lines) < count:
        raise UsageError(
            f"{path} holds {len(lines)} of the {count} lines that were written, so it was changed since; put it back, "
            f"or go on in a new run: ganzoo resume {shlex.quote(str(path.parent))} --set train.checkpoint_keep=2"
        )
    return b"".join(lines)


def _decode_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for number, content in enumerate(decoding.read_lines(path), 1):
        source = f"{path}: line {number}"
        try:
            line: dict[str, Any] = _DECODER.decode(content)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            line = decoding.decode(content, StatsLine, source)  # raises with the reason
        images = line.get("images")
        if not isinstance(images, int) or not 0 <= images <= MAX_IMAGES:
            raise UsageError(f"{source}: images is {images}; expected a whole number from 0 to {MAX_IMAGES:,}")
        yield content, line


class WritesStats:
    """What a run's folder does with its statistics; lines wait in memory while the disk refuses them.

    Attributes:
        path: the run's folder.
    """

    path: Path
    _locked_folder: LockedFolder

    def __init__(self) -> None:
        self._unwritten_lines: list[bytes] = []
        self._line_count = self._byte_count = 0  # on disk

    def add_stats(self, line: Mapping[str, Any]) -> None:
        """Append a line to `stats.jsonl`; a number that is not finite is written as null."""
        clean = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in line.items()
        }
        self._unwritten_lines.append(json.dumps(clean).encode() + b"\n")
        self.flush_stats()

    def flush_stats(self) -> None:
        """Write pending lines to `stats.jsonl`; raises OSError if the disk refuses."""
        self._locked_folder.check(self.path / layout.STATS, self._byte_count)
        if content := b"".join(self._unwritten_lines):
            atomic.append(self.path / layout.STATS, content, at=self._byte_count)
            self._byte_count, self._line_count = (
                self._byte_count + len(content),
                self._line_count + len(self._unwritten_lines),
            )
            self._unwritten_lines = []

    def count_stats(self) -> int:
        """The number of lines of statistics so far."""
        return self._line_count + len(self._unwritten_lines)

    def truncate_stats(self, lines: int) -> None:
        """Keep the first `lines` lines; later or torn ones were written after the checkpoint that is resumed from.

        Raises:
            UsageError: if there are fewer, or one of them is not a line of statistics.
        """
        path = self.path / layout.STATS
        content = read_first_lines(path, lines)
        atomic.write_file(path, content)
        self._unwritten_lines, self._line_count, self._byte_count = [], lines, len(content)

    def read_stats(self) -> list[dict[str, Any]]:
        """All reports so far; raises UsageError for an invalid line."""
        return read_stats(self.path / layout.STATS)
