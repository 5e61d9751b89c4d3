"""List the image files of a folder, at any depth; hidden files and other files are passed over and counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ganzoo_core.errors import DataError
from ganzoo_core.messages import pluralise

_ENDINGS = "png apng jpg jpeg jpe jfif mpo gif bmp dib webp tif tiff ppm pgm pbm pnm jp2 j2k jpc jpx qoi avif heic"
_ENDINGS += " heif hif"
SUFFIXES = frozenset("." + ending for ending in _ENDINGS.split())
"""Endings of image files. A file with another ending is an image if its first bytes say so."""
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"qoif", b"\0\0\0\x0cjP  ")
"""First bytes of images, without those of TIFF: cameras' raw formats begin with them and hold a small preview."""
HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HIDDEN_NAMES = ("thumbs.db", "desktop.ini", "__macosx")  # files that operating systems create and hide
_MAX_NAMED = 4  # endings that a note names


@dataclass(frozen=True)
class ImageFile:
    """One image file.

    Attributes:
        path: of the file.
        relative: the path relative to the user's folder, with `/`; it names the file in messages.
    """

    path: Path
    relative: str

    def open(self) -> BinaryIO:
        """Open the file for reading bytes."""
        return self.path.open("rb")


@dataclass(frozen=True)
class ImageScan:
    """What a folder holds.

    Attributes:
        files: the image files, sorted by `relative`.
        hidden: the number of hidden files and folders, which were not looked at.
        others: the number of other files by their ending, such as `{".txt": 2}`.
    """

    files: list[ImageFile]
    hidden: int = 0
    others: Mapping[str, int] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence that counts what was passed over; none if that is nothing."""
        parts = [pluralise(self.hidden, "hidden file")] if self.hidden else []
        if self.others:
            ordered = sorted(self.others.items(), key=lambda item: (-item[1], item[0]))
            named = [f"{count:,} {suffix or 'without ending'}" for suffix, count in ordered[:_MAX_NAMED]]
            more = ", …" if len(ordered) > _MAX_NAMED else ""
            total = sum(self.others.values())
            parts.append(
                f"{pluralise(total, 'file')} that {'is' if total == 1 else 'are'} no image ({', '.join(named)}{more})"
            )
        return (f"passed over: {' and '.join(parts)}",) if parts else ()


def scan_images(folder: Path) -> ImageScan:
    """List a folder's image files at any depth, sorted by name. Links to a folder are followed, each folder once.

    Hidden files, and files that are no images by their ending and first bytes, are passed over and counted. A file that
    is named like an image is listed, whatever it holds: `ImageSet` reports those that cannot be read.

    Raises:
        DataError: if a sub-folder cannot be read.
    """
    found: list[ImageFile] = []
    hidden, others = 0, Counter[str]()
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in seen:  # a link to a parent folder, or to one already read
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(current) as entries:
                inside = [(entry.name, not is_hidden(entry.name) and entry.is_dir()) for entry in entries]
        except OSError as error:
            problem_path = error.filename or current  # the entry, such as a link to a forbidden folder, if known
            raise DataError(f"{problem_path} cannot be read: {error.strerror or error}") from None
        for name, is_folder in inside:
            path = current / name
            if is_hidden(name):
                hidden += 1
            elif is_folder:
                waiting.append(path)
            elif is_image(path):
                found.append(ImageFile(path, "/".join(path.relative_to(folder).parts)))
            else:
                others[path.suffix.lower()] += 1
    return ImageScan(sorted(found, key=lambda file: file.relative), hidden, dict(others))


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or made by an operating system for itself."""
    return name.startswith(".") or name.lower() in _HIDDEN_NAMES


def is_image(path: Path) -> bool:
    """Whether a file's ending, or else its first bytes, are those of an image."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        if not path.is_file():  # opening a named pipe would block
            return False
        with path.open("rb") as file:
            return starts_like_image(file.read(16))
    except OSError:
        return False


def starts_like_image(start: bytes) -> bool:
    """Whether a file with these first 16 bytes is an image."""
    is_webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    is_heif = start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS | AVIF_BRANDS
    return start.startswith(SIGNATURES) or is_webp or is_heif
