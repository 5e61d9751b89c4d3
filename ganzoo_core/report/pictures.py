"""A run's sample grids as data URIs, thinned out and shrunk to limit the page's size."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from PIL import Image

from ganzoo_core.errors import UsageError
from ganzoo_core.html.markup import make_data_uri
from ganzoo_core.runs import layout
from ganzoo_core.storage import files

MAX_PAGE_BYTES = 12_000_000  # bytes of all grids in a page, before base64
MAX_GRIDS = 120  # grids in a page
MAX_SHRUNK_GRIDS = 40  # grids in a page, if they are re-encoded
SHRUNK_SIDE = 1024  # pixels; longest side of a re-encoded grid
MAX_FILE_BYTES = 64_000_000  # bytes of a grid
MAX_FACT_LENGTH = 40  # characters of a grid's PNG text entries
_READ_ERRORS = (  # raised by Pillow for invalid PNG files and for huge images
    UsageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    """A grid on disk.

    Attributes:
        path: of the PNG file.
        images: images seen when it was drawn.
        size: width and height in pixels.
        file_size: in bytes.
        modified_ns: modification time in ns.
        facts: its other PNG text entries, such as the resolution of a stage.
    """

    path: Path
    images: int
    size: tuple[int, int]
    file_size: int
    modified_ns: int
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ChosenPictures:
    """The grids chosen for a page, their data URIs, and a note on how they were thinned out or shrunk."""

    pictures: list[Picture]
    uris: list[str]
    note: str = ""


def find_grids(folder: Path) -> list[Picture]:
    """The grids in `samples/`, ordered by images seen; unreadable ones are skipped."""
    numbered = {path: layout.images_of_grid(path.name) for path in files.list_folder(folder)}
    paths = {path: images for path, images in numbered.items() if images is not None}
    grids = [read_picture_facts(path) for path in sorted(paths, key=paths.__getitem__)]
    return [picture for picture in grids if picture is not None]


def read_picture_facts(path: Path) -> Picture | None:
    """Read a PNG file's metadata without decoding it; None if it is invalid or reached through a link."""
    if not files.is_folder(path.parent):
        return None
    try:
        stat = path.lstat()
        if stat.st_size > MAX_FILE_BYTES:
            return None
        with warnings.catch_warnings(), files.open_file(path) as file:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=["PNG"]) as picture:
                size = picture.size
                facts = tuple(
                    (str(key)[:MAX_FACT_LENGTH], value[:MAX_FACT_LENGTH])
                    for key, value in list(picture.info.items())[:8]
                    if isinstance(value, str) and key != "images"
                )
    except _READ_ERRORS:
        return None
    return Picture(path, layout.images_of_grid(path.name) or 0, size, stat.st_size, stat.st_mtime_ns, facts)


def choose_pictures(pictures: Sequence[Picture], max_bytes: int = MAX_PAGE_BYTES) -> ChosenPictures:
    """Choose grids for a page, evenly spaced, including the first and the last.

    If the files exceed `max_bytes`, they are re-encoded as JPEG of at most 1,024 pixels a side.

    Args:
        pictures: all grids, in order.
        max_bytes: limit of the chosen grids' total size.
    """
    shown = pick_evenly(pictures, MAX_GRIDS)
    notes = []
    if sum(picture.file_size for picture in shown) <= max_bytes:
        encoded = [_encode_unchanged(picture.path, picture.modified_ns) for picture in shown]
    else:
        shown = pick_evenly(pictures, MAX_SHRUNK_GRIDS)
        encoded = [_encode_shrunk(picture.path, picture.modified_ns) for picture in shown]
        while sum(map(len, encoded)) > max_bytes * 4 // 3 and len(shown) > 2:
            indices = pick_evenly(range(len(shown)), max(2, len(shown) // 2))
            shown, encoded = [shown[index] for index in indices], [encoded[index] for index in indices]
        notes.append(f"shrunk to JPEG of at most {SHRUNK_SIDE:,} pixels a side, to keep this page small")
    if len(shown) < len(pictures):
        notes.insert(0, f"{len(shown)} of {len(pictures)} grids, evenly spread")
    readable = [(picture, uri) for picture, uri in zip(shown, encoded, strict=True) if uri]
    note = f"Shown: {'; '.join(notes)}. All are in {layout.SAMPLES}/." if notes else ""
    return ChosenPictures([picture for picture, _ in readable], [uri for _, uri in readable], note)


def pick_evenly(items: Sequence[T], count: int) -> list[T]:
    """At most `count` (2 or more) items, evenly spaced, including the first and the last."""
    if len(items) <= count:
        return list(items)
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]


def load_picture(path: Path) -> tuple[Picture, str] | None:
    """Load a picture and its data URI; None if it cannot be read."""
    picture = read_picture_facts(path)
    chosen = choose_pictures([picture], max_bytes=MAX_PAGE_BYTES // 4) if picture else None
    return (chosen.pictures[0], chosen.uris[0]) if chosen and chosen.uris else None


@lru_cache(maxsize=MAX_GRIDS + 8)
def _encode_unchanged(path: Path, modified_ns: int) -> str:
    try:
        return make_data_uri(files.read_bytes(path, MAX_FILE_BYTES))
    except UsageError:
        return ""


@lru_cache(maxsize=MAX_GRIDS + 8)
def _encode_shrunk(path: Path, modified_ns: int) -> str:
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), files.open_file(path) as file:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=["PNG"]) as picture:
                small = picture.convert("RGB")
        small.thumbnail((SHRUNK_SIDE, SHRUNK_SIDE), Image.Resampling.LANCZOS)
        small.save(buffer, format="JPEG", quality=88)
    except _READ_ERRORS:
        return ""
    return make_data_uri(buffer.getvalue(), "jpeg")
