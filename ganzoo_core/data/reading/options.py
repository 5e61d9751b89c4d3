"""The settings `data.*` that say how image files are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganzoo_core.data.reading.formats import DEFAULT_MAX_MEGAPIXELS, MAX_PIXELS
from ganzoo_core.data.reading.ranges import Range, parse_range
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value
from ganzoo_core.settings import CORE_SETTINGS, find_kind, read_value

MAX_SIDE = 4000  # pixels: largest `data.size`
FRAMES = ("first", "all")


@dataclass(frozen=True)
class ReadOptions:
    """How image files become arrays.

    Attributes:
        size: height and width in pixels; 0 to keep the images' own size, which must then be the same for all.
        channels: 1 or 3; 0 for 1 if every image is grey, else 3.
        fit: how an image of another aspect is brought to `size`: `crop`, `pad` or `stretch`.
        range: `auto`, `full`, or the values that become black and white; see `ranges.choose_windows`.
        frames: of animations and files with several pages, the `first` or `all` as images.
        max_megapixels: the most that is decoded of one image.
        skip_bad: leave out files that cannot be read.
    """

    size: int = 0
    channels: int = 0
    fit: str = "crop"
    range: Range | str = "auto"
    frames: str = "first"
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
    skip_bad: bool = False


def parse_options(options: Mapping[str, Any]) -> ReadOptions:
    """Take a dataset's options that concern the reading of files.

    Raises:
        UsageError: for an invalid value.
    """
    given = {key: options[key] for key in ReadOptions.__dataclass_fields__ if key in options}
    read = ReadOptions(**{**given, "range": parse_range(given.get("range", "auto"))})
    if not 0 <= read.size <= MAX_SIDE:
        raise UsageError(
            f"data.size is {read.size}; expected 1 to {MAX_SIDE} pixels, or 0 to keep the images' common size"
        )
    if read.channels not in (0, 1, 3):
        raise UsageError(f"data.channels is {read.channels}; expected 1, 3, or 0 for the images' own")
    for key, choices in (("fit", CORE_SETTINGS["data.fit"].choices), ("frames", FRAMES)):
        if getattr(read, key) not in choices:
            raise UsageError(f"data.{key} is {format_value(getattr(read, key))}; expected {', '.join(choices)}")
    if not 0 < read.max_megapixels <= MAX_PIXELS / 1e6:
        raise UsageError(
            f"data.max_megapixels is {read.max_megapixels}; expected a number up to {MAX_PIXELS // 1_000_000}"
        )
    return read


def read_settings(assigned: Mapping[str, Any] | None, *, excluded: Sequence[str] = ()) -> dict[str, Any]:
    """Take the settings `data.*` that concern the reading of files: the options by name, typed.

    Args:
        assigned: any settings by full key, as text or typed; those outside `data.*` are left alone.
        excluded: options that cannot be set here.

    Raises:
        UsageError: for a setting `data.*` that does not concern reading, or an invalid value.
    """
    defaults = {key: field.default for key, field in ReadOptions.__dataclass_fields__.items() if key not in excluded}
    options = {}
    for key, value in (assigned or {}).items():
        room, _, name = key.partition(".")
        if room != "data":
            continue
        if name not in defaults:
            known = ", ".join(f"data.{name}" for name in defaults)
            raise UsageError(f"--set {key}: of the data, only how pictures are read can be set here: {known}")
        options[name] = read_value(key, find_kind(key, defaults[name]), value)
    parse_options(options)
    return options
