"""The settings `data.*` that say how image files are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value

MAX_SIDE = 4000  # pixels: largest `data.size`
FITS = ("crop", "pad", "stretch")


@dataclass(frozen=True)
class ReadOptions:
    """How image files become arrays.

    Attributes:
        size: height and width in pixels; 0 to keep the images' own size, which must then be the same for all.
        channels: 1 or 3; 0 for 1 if every image is grey, else 3.
        fit: how an image of another aspect is brought to `size`: `crop`, `pad` or `stretch`.
        skip_bad: leave out files that cannot be read.
    """

    size: int = 0
    channels: int = 0
    fit: str = "crop"
    skip_bad: bool = False


def parse_options(options: Mapping[str, Any]) -> ReadOptions:
    """Take a dataset's options that concern the reading of files.

    Raises:
        UsageError: for an invalid value.
    """
    read = ReadOptions(**{key: options[key] for key in ReadOptions.__dataclass_fields__ if key in options})
    if not 0 <= read.size <= MAX_SIDE:
        raise UsageError(
            f"data.size is {read.size}; expected 1 to {MAX_SIDE} pixels, or 0 to keep the images' common size"
        )
    if read.channels not in (0, 1, 3):
        raise UsageError(f"data.channels is {read.channels}; expected 1, 3, or 0 for the images' own")
    if read.fit not in FITS:
        raise UsageError(f"data.fit is {format_value(read.fit)}; expected {', '.join(FITS)}")
    return read
