"""Give each file of an image folder its class and its part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ganzoo_core as gz

_TRAIN_FOLDER, _TEST_FOLDERS = "train", ("test", "val", "valid", "validation")


@dataclass(frozen=True)
class Placed:
    """An image file with its place in the dataset.

    Attributes:
        file: the image file.
        label: the name of its class: the first sub-folder of the path, or "" without sub-folders.
        split: `train` or `test` in a folder that has these two parts, else "".
    """

    file: gz.ImageFile
    label: str
    split: str = ""


def place_files(files: Sequence[gz.ImageFile]) -> list[Placed]:
    """Find the classes, and the parts if the only sub-folders are `train` and one or more for testing.

    `test`, `val`, `valid` and `validation` together are the test part. Classes are then one level deeper.
    """
    folders = [file.relative.split("/")[:-1] for file in files]
    tops = {parts[0] for parts in folders if parts}
    if _TRAIN_FOLDER not in tops or len(tops) == 1 or not tops <= {_TRAIN_FOLDER, *_TEST_FOLDERS}:
        return [Placed(file, parts[0] if parts else "") for file, parts in zip(files, folders, strict=True)]
    placed = []
    for file, parts in zip(files, folders, strict=True):
        split = ("train" if parts[0] == _TRAIN_FOLDER else "test") if parts else ""
        placed.append(Placed(file, parts[1] if len(parts) > 1 else "", split))
    return placed
