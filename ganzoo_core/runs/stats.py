"""Read a run's `stats.jsonl`: one JSON object per report, each value a number or null."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from ganzoo_core.errors import UsageError
from ganzoo_core.storage import decoding, files
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
