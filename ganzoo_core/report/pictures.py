"""The sample grids of a run as data URIs, thinned and shrunk until a page can carry them."""

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
from ganzoo_core.html.markup import png_uri
from ganzoo_core.runs import layout
from ganzoo_core.storage import files

CAP = 12_000_000  # bytes of all grids in a page, before base64
MOST = 120  # grids in a page
MOST_SHRUNK = 40  # where each has to be encoded anew
LONGEST = 1024  # pixels of a grid that is encoded anew
MAX_FILE = 64_000_000  # bytes of a grid
MAX_FACT = 40  # characters of what a grid says of itself
_UNREADABLE = (  # what a PNG that is none, or a picture of a huge size, makes Pillow raise
    UsageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    """A grid on disk.

    Attributes:
        path: of the PNG file.
        images: seen when it was drawn.
        size: width and height in pixels.
        bytes: of the file.
        changed: its time of change in ns.
        facts: what it says of itself besides, such as the resolution of a stage.
    """

    path: Path
    images: int
    size: tuple[int, int]
    bytes: int
    changed: int
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Chosen:
    """What a page shows of many grids, each with its data URI, and what was done to them, in a sentence."""

    pictures: list[Picture]
    uris: list[str]
    note: str = ""


def find(folder: Path) -> list[Picture]:
    """The grids in `samples/`, by images seen; those that cannot be read are passed over."""
    numbered = {path: layout.images_of_grid(path.name) for path in files.list_folder(folder)}
    paths = {path: images for path, images in numbered.items() if images is not None}
    found = [look(path) for path in sorted(paths, key=paths.__getitem__)]
    return [picture for picture in found if picture is not None]


def look(path: Path) -> Picture | None:
    """A PNG file's facts, read from its head; None if it is none, or lies behind a link."""
    if not files.is_folder(path.parent):
        return None
    try:
        stat = path.lstat()
        if stat.st_size > MAX_FILE:
            return None
        with warnings.catch_warnings(), files.open_file(path) as file:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=["PNG"]) as picture:
                size = picture.size
                facts = tuple(
                    (str(key)[:MAX_FACT], value[:MAX_FACT])
                    for key, value in list(picture.info.items())[:8]
                    if isinstance(value, str) and key != "images"
                )
    except _UNREADABLE:
        return None
    return Picture(path, layout.images_of_grid(path.name) or 0, size, stat.st_size, stat.st_mtime_ns, facts)


def choose(pictures: Sequence[Picture], cap: int = CAP) -> Chosen:
    """As many as a page can carry, evenly spread, the first and the last among them.

    Where the files are too large for that, they are encoded anew: JPEG of at most 1,024 pixels a side.

    Args:
        pictures: all there are, in their order.
        cap: bytes of all that are shown.
    """
    shown = spread(pictures, MOST)
    notes = []
    if sum(picture.bytes for picture in shown) <= cap:
        encoded = [_as_is(picture.path, picture.changed) for picture in shown]
    else:
        shown = spread(pictures, MOST_SHRUNK)
        encoded = [_shrunk(picture.path, picture.changed) for picture in shown]
        while sum(map(len, encoded)) > cap * 4 // 3 and len(shown) > 2:
            kept = spread(range(len(shown)), max(2, len(shown) // 2))
            shown, encoded = [shown[place] for place in kept], [encoded[place] for place in kept]
        notes.append(f"shrunk to JPEG of at most {LONGEST:,} pixels a side, to keep this page small")
    if len(shown) < len(pictures):
        notes.insert(0, f"{len(shown)} of {len(pictures)} grids, evenly spread")
    readable = [(picture, uri) for picture, uri in zip(shown, encoded, strict=True) if uri]
    note = f"Shown: {'; '.join(notes)}. All are in {layout.SAMPLES}/." if notes else ""
    return Chosen([picture for picture, _ in readable], [uri for _, uri in readable], note)


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most so many (2 or more), evenly spread, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(place * (len(items) - 1) / (count - 1))] for place in range(count)]


def one(path: Path) -> tuple[Picture, str] | None:
    """A picture and its data URI; None if there is none that can be read."""
    picture = look(path)
    chosen = choose([picture], cap=CAP // 4) if picture else None
    return (chosen.pictures[0], chosen.uris[0]) if chosen and chosen.uris else None


@lru_cache(maxsize=MOST + 8)
def _as_is(path: Path, changed: int) -> str:
    try:
        return png_uri(files.read_bytes(path, MAX_FILE))
    except UsageError:
        return ""


@lru_cache(maxsize=MOST + 8)
def _shrunk(path: Path, changed: int) -> str:
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), files.open_file(path) as file:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=["PNG"]) as picture:
                small = picture.convert("RGB")
        small.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
        small.save(buffer, format="JPEG", quality=88)
    except _UNREADABLE:
        return ""
    return png_uri(buffer.getvalue(), "jpeg")
