"""List the files of an image folder, with their class and split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ganzoo_core as gz

_IGNORED_NAMES = ("thumbs.db", "desktop.ini", "__macosx")  # files that operating systems create and hide
_TRAIN_FOLDER, _TEST_FOLDERS = "train", ("test", "val", "valid", "validation")


@dataclass(frozen=True)
class ImageFile:
    """One file of the folder.

    Attributes:
        path: of the file.
        relative: the path relative to the user's folder, with `/`.
        top_folder: the class: the first sub-folder of the path, or "" without sub-folders.
        split: `train` or `test` in a folder that has these two parts, else "".
    """

    path: Path
    relative: str
    top_folder: str
    split: str = ""


def scan(folder: Path) -> list[ImageFile]:
    """List all files at any depth, sorted by name, without hidden ones; links to a folder are followed once.

    Raises:
        DataError: if a sub-folder cannot be read.
    """
    image_files: list[ImageFile] = []
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
                visible = [(entry.name, entry.is_dir()) for entry in entries if not _is_hidden(entry.name)]
        except OSError as error:
            problem_path = error.filename or current  # the entry, such as a link to a forbidden folder, if known
            raise gz.DataError(f"{problem_path} cannot be read: {error.strerror or error}") from None
        for name, is_folder in visible:
            path = current / name
            if is_folder:
                waiting.append(path)
            else:
                parts = path.relative_to(folder).parts
                image_files.append(ImageFile(path, "/".join(parts), parts[0] if len(parts) > 1 else ""))
    return sorted(image_files, key=lambda file: file.relative)


def assign_parts(files: Sequence[ImageFile]) -> list[ImageFile]:
    """Set each file's split if the only sub-folders are `train` and one or more for testing.

    `test`, `val`, `valid` and `validation` together are the test part. Classes are then one level deeper. In any
    other folder the files are returned unchanged.
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
