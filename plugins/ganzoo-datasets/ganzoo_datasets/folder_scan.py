"""Which files a folder of images holds, and what its sub-folders mean."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ganzoo_core as gz

_IGNORED_NAMES = ("thumbs.db", "desktop.ini", "__macosx")  # written by systems, hidden by them as well
_TRAIN_FOLDER, _TEST_FOLDERS = "train", ("test", "val", "valid", "validation")


@dataclass(frozen=True)
class ImageFile:
    """A file.

    Attributes:
        path: where it is.
        relative: its path below the folder that the user named, with `/`.
        top_folder: the class: the first sub-folder on the way, or "" for a file that lies flat.
        split: `train` or `test` in a folder that has these two parts, else "".
    """

    path: Path
    relative: str
    top_folder: str
    split: str = ""


def scan(folder: Path) -> list[ImageFile]:
    """All files below, sorted by name, at any depth; hidden ones are left out, links are followed once.

    Raises:
        DataError: if a sub-folder cannot be read.
    """
    found: list[ImageFile] = []
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in seen:  # a link back up
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(current) as entries:
                visible = [(entry.name, entry.is_dir()) for entry in entries if not _is_hidden(entry.name)]
        except OSError as error:
            place = error.filename or current  # a link of it perhaps, to where one may not look
            raise gz.DataError(f"{place} cannot be read: {error.strerror or error}") from None
        for name, is_folder in visible:
            path = current / name
            if is_folder:
                waiting.append(path)
            else:
                parts = path.relative_to(folder).parts
                found.append(ImageFile(path, "/".join(parts), parts[0] if len(parts) > 1 else ""))
    return sorted(found, key=lambda file: file.relative)


def assign_parts(files: Sequence[ImageFile]) -> list[ImageFile]:
    """Sort files into the official parts where the sub-folders are `train` and some for testing, and no other.

    `test`, `val`, `valid` and `validation` are together the test part. Classes are then one level further down. In
    any other folder the files come back as they are.
    """
    tops = {file.top_folder for file in files} - {""}
    if _TRAIN_FOLDER not in tops or len(tops) == 1 or not tops <= {_TRAIN_FOLDER, *_TEST_FOLDERS}:
        return list(files)
    sorted_in = []
    for file in files:
        below = file.relative.split("/")[1:]
        part = {"": "", _TRAIN_FOLDER: "train"}.get(file.top_folder, "test")
        sorted_in.append(replace(file, split=part, top_folder=below[0] if len(below) > 1 else ""))
    return sorted_in


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _IGNORED_NAMES
