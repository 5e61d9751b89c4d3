"""List the image files of a folder or zip archive, at any depth; hidden and other files are passed over and counted."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ganzoo_core.data.reading import archives
from ganzoo_core.errors import DataError
from ganzoo_core.messages import pluralise, quote_name
from ganzoo_core.storage.files import describe

_ENDINGS = "png apng jpg jpeg jpe jfif mpo gif bmp dib webp tif tiff ppm pgm pbm pnm jp2 j2k jpc jpx qoi avif heic"
_ENDINGS += " heif hif"
SUFFIXES = frozenset("." + ending for ending in _ENDINGS.split())
"""Endings of image files. A file with another ending is an image if its first bytes say so."""
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"qoif", b"\0\0\0\x0cjP  ")
"""First bytes of images, without those of TIFF: cameras' raw formats begin with them and hold a small preview."""
HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HIDDEN_NAMES = ("thumbs.db", "desktop.ini", "__macosx")  # files that operating systems create and hide
LABEL_FILES = ("dataset.json", "metadata.csv", "metadata.jsonl")
"""Files that may name the classes of the images beside and below them."""
_MAX_NAMED = 4  # endings, or links, that a note names


@dataclass(frozen=True)
class ImageFile:
    """One image file.

    Attributes:
        path: of the file, or of the zip archive that holds it.
        relative: the path relative to the user's folder or archive, with `/`.
        member: the name in the archive; "" for a file of its own.
        offset, length: the bytes of `path` that it consists of, such as a member of a tar; -1 for the whole file.
        digest: of these bytes, as `archives.digest_bytes` computes it, in hexadecimal. They are refused when they no
            longer have it.
    """

    path: Path
    relative: str
    member: str = ""
    offset: int = 0
    length: int = -1
    digest: str = ""

    @property
    def title(self) -> str:
        """`relative` for a message."""
        return quote_name(self.relative)

    def open(self) -> BinaryIO:
        """Open the file for reading bytes."""
        if self.length >= 0:
            return archives.read_part(self.path, self.offset, self.length, self.digest)
        return archives.read_file(self.path, self.member) if self.member else self.path.open("rb")


@dataclass(frozen=True)
class ImageScan:
    """What a folder or zip archive holds.

    Attributes:
        files: the image files, sorted by `relative`.
        hidden: the number of hidden files and folders, which were not looked at.
        others: the number of other files by their ending, such as `{".txt": 2}`.
        label_files: those of `LABEL_FILES`, sorted by `relative`.
        links: for each link to a folder that was read already, the name of that folder. Both are relative.
        unsafe: the number of members of an archive that are left out, by what they are; see `archives.list_files`.
    """

    files: list[ImageFile]
    hidden: int = 0
    others: Mapping[str, int] = field(default_factory=dict)
    label_files: list[ImageFile] = field(default_factory=list)
    links: Mapping[str, str] = field(default_factory=dict)
    unsafe: Mapping[str, int] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that count what was passed over, and name links; none if there is nothing to say."""
        notes, parts = [], [pluralise(self.hidden, "hidden file")] if self.hidden else []
        if self.others:
            ordered = sorted(self.others.items(), key=lambda item: (-item[1], item[0]))
            named = [f"{count:,} {quote_name(suffix) or 'without ending'}" for suffix, count in ordered[:_MAX_NAMED]]
            more = ", …" if len(ordered) > _MAX_NAMED else ""
            total = sum(self.others.values())
            parts.append(
                f"{pluralise(total, 'file')} that {'is' if total == 1 else 'are'} no image ({', '.join(named)}{more})"
            )
        if self.unsafe:
            listed = ", ".join(f"{what}: {count:,}" for what, count in sorted(self.unsafe.items()))
            parts.append(f"{pluralise(sum(self.unsafe.values()), 'member')} of the archive ({listed})")
        if parts:
            notes.append(f"passed over: {', '.join(parts[:-1])}{' and ' if parts[1:] else ''}{parts[-1]}")
        if self.links:
            pairs = list(self.links.items())[:_MAX_NAMED]
            named = [f"{quote_name(link)} to {quote_name(target) or 'the folder itself'}" for link, target in pairs]
            more = ", …" if len(self.links) > _MAX_NAMED else ""
            notes.append(
                f"{pluralise(len(self.links), 'link')} to folders that are read already, whose images count once: "
                f"{', '.join(named)}{more}"
            )
        return tuple(notes)


def find_images(path: Path) -> ImageScan:
    """The image file of this path, or those of this folder or zip archive at any depth.

    Raises:
        DataError: if there are none.
    """
    if not describe(path) or not path.exists():
        raise DataError(f"{path} is not there; name a picture, or a folder or zip archive of pictures")
    if path.is_dir() or archives.is_archive(path):
        scan = scan_images(path)
        if not scan.files:
            passed = f"; {scan.notes[0]}" if scan.notes else ""
            raise DataError(f"{quote_name(str(path))} holds no pictures{passed}; expected files such as 0001.png")
        return scan
    return ImageScan([ImageFile(path, path.name)])


def scan_images(path: Path) -> ImageScan:
    """List the image files of a folder or a zip archive at any depth, sorted by name.

    Links to folders are followed, each folder once, and under its own name rather than a link's. Hidden files, and
    files that are no images by their ending and first bytes, are passed over and counted. A file that is named like an
    image is listed, whatever it holds: `ImageSet` reports those that cannot be read.

    Raises:
        DataError: if a sub-folder or the archive cannot be read.
    """
    if archives.is_archive(path):
        return _scan_archive(path)
    files: list[ImageFile] = []
    hidden, links = 0, {}
    seen: dict[tuple[int, int], str] = {}
    waiting = deque([path])  # links stand at the end
    while waiting:
        current = waiting.popleft()
        relative = "/".join(current.relative_to(path).parts)
        try:
            status = current.stat()
            known = seen.setdefault((status.st_dev, status.st_ino), relative)
            if known != relative:  # a link to a parent folder, or to one already read
                links[relative] = known
                continue
            with os.scandir(current) as entries:
                inside = sorted((each.name, not is_hidden(each.name) and each.is_dir()) for each in entries)
        except OSError as error:
            problem_path = str(error.filename or current)  # the entry, such as a link to a forbidden folder, if known
            raise DataError(f"{quote_name(problem_path)} cannot be read: {error.strerror or error}") from None
        for name, is_folder in inside:
            inner = current / name
            if is_hidden(name):
                hidden += 1
            elif not is_folder:
                files.append(ImageFile(inner, f"{relative}/{name}" if relative else name))
            elif inner.is_symlink():
                waiting.append(inner)
            else:
                waiting.appendleft(inner)
    return _sort_out(files, hidden, dict(sorted(links.items())))


def _scan_archive(path: Path) -> ImageScan:
    files, hidden = [], set()
    members, unsafe = archives.list_files(path)
    for relative, member in members.items():
        parts = relative.split("/")
        depth = next((depth for depth, part in enumerate(parts) if is_hidden(part)), None)
        if depth is None:
            files.append(ImageFile(path, relative, member))
        else:
            hidden.add(tuple(parts[: depth + 1]))
    return replace(_sort_out(files, len(hidden), {}), unsafe=unsafe)


def _sort_out(files: Iterable[ImageFile], hidden: int, links: Mapping[str, str]) -> ImageScan:
    """Tell images from label files and others."""
    images, label_files, others = [], [], Counter[str]()
    for file in sorted(files, key=lambda file: file.relative):
        name = PurePosixPath(file.relative)
        if name.name in LABEL_FILES:
            label_files.append(file)
        elif is_image(file):
            images.append(file)
        else:
            others[name.suffix.lower()] += 1
    return ImageScan(images, hidden, dict(others), label_files, links)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or made by an operating system for itself."""
    return name.startswith(".") or name.lower() in _HIDDEN_NAMES


def is_image(file: ImageFile) -> bool:
    """Whether a file's ending, or else its first bytes, are those of an image."""
    if PurePosixPath(file.relative).suffix.lower() in SUFFIXES:
        return True
    try:
        if file.member:
            return starts_like_image(archives.read_file(file.path, file.member, 16).read())
        if not file.path.is_file():  # opening a named pipe would block
            return False
        with file.path.open("rb") as stream:
            return starts_like_image(stream.read(16))
    except OSError:
        return False


def starts_like_image(start: bytes) -> bool:
    """Whether a file with these first 16 bytes is an image."""
    is_webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    is_heif = start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS | AVIF_BRANDS
    return start.startswith(SIGNATURES) or is_webp or is_heif
