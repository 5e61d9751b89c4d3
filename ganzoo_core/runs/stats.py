"""`stats.jsonl` of a run, read: one JSON object a report, each value a number or null."""

from __future__ import annotations

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
    """All lines, in their order; none without a file. A last line that a crash tore is passed over.

    Raises:
        UsageError: naming the line that is none, or if something else than a regular file lies there.
    """
    return [line for _, line in _decode_lines(path)]


def read_first_lines(path: Path, count: int) -> bytes:
    """The first so many lines as they stand in the file, each of them checked as by `read_stats`.

    Raises:
        UsageError: as `read_stats` does, and where there are fewer.
    """
    files.check_file(path)
    found = [content for content, _ in islice(_decode_lines(path), count)]
    if len(found) < count:
        raise UsageError(
            f"{path} holds {len(found)} of the {count} lines that were written, so it was changed since; put it back, "
            f"or go on in a new run: ganzoo resume {path.parent} --set train.checkpoint_keep=2"
        )
    return b"".join(found)


def _decode_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for number, content in enumerate(decoding.read_lines(path), 1):
        source = f"{path}: line {number}"
        try:
            line: dict[str, Any] = _DECODER.decode(content)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            line = decoding.decode(content, StatsLine, source)  # which says what is wrong
        images = line.get("images")
        if not isinstance(images, int) or not 0 <= images <= MAX_IMAGES:
            raise UsageError(f"{source}: images is {images}; expected a whole number from 0 to {MAX_IMAGES:,}")
        yield content, line
