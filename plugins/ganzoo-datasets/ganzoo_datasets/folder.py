"""`--data folder:PATH`: the user's own images, in one folder per class or in a single folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets.cache import load_or_build, stamp_files
from ganzoo_datasets.content_split import make_split_keys
from ganzoo_datasets.folder_layout import Placed, place_files
from ganzoo_datasets.paths import resolve_folder

_MAX_HEADERS = 256  # files that `describe_dataset` looks into
_OTHER_OPTIONS = ("split", "holdout", "flip")  # on which the decoded images do not depend


@gz.hookimpl
def dataset(name: str, argument: str, split: str, options: gz.Options) -> gz.ImageSource:
    """Images [size,size,C]; C is `channels`, else 1 if every image is grey and 3 otherwise.

    The sorted names of the sub-folders are the classes; deeper images belong to their top sub-folder. Without
    sub-folders there are no labels. A folder whose only sub-folders are `train` and `test` (or `val`) has official
    parts, any other has 20 % held out.

    Raises:
        DataError: if there is nothing to read, if files cannot be read and `skip_bad` is off, or if images are both in
            the folder itself and in sub-folders.
        UsageError: if an option is invalid.
    """
    folder, scan = _scan(name, argument)
    files = place_files(scan.files)
    official = any(file.split for file in files)
    part = split if official else "all"
    key = {
        "set": "folder",
        "folder": str(folder),
        "files": [_stamp_file(file.file) for file in files],
        "options": {key: value for key, value in options.items() if key not in _OTHER_OPTIONS},
        "part": part,
    }
    source = load_or_build(key, partial(_build, folder, files, part=part, options=options))
    source = replace(source, notes=(*scan.notes, *source.notes))
    if not official:
        return gz.hold_out(source, split, options)
    return replace(source, held_out=sum(part not in ("all", file.split) for file in files))


@gz.hookimpl
def describe_dataset(name: str, argument: str, split: str, options: gz.Options) -> Mapping[str, int]:
    """Size, channels and classes by the names of all files and the headers of the first ones.

    Raises:
        DataError, UsageError: as `dataset` does.
    """
    folder, scan = _scan(name, argument)
    files = place_files(scan.files)
    classes = _list_classes(folder, files)
    chosen = [each.file for each in files if each.split in ("", split) or split == "all"][:_MAX_HEADERS]
    images = gz.ImageSet(chosen, options, name=str(folder))
    height, width = images.find_size()
    return {"height": height, "width": width, "channels": images.channels, "classes": len(classes)}


def _scan(name: str, argument: str) -> tuple[Path, gz.ImageScan]:
    """The folder and its image files; raises DataError if there are none."""
    folder = resolve_folder(name, argument)
    scan = gz.scan_images(folder)
    if not scan.files:
        passed = f"; {scan.notes[0]}" if scan.notes else ""
        raise gz.DataError(f"{folder} holds no images{passed}; expected images, one folder a class or flat")
    return folder, scan


def _stamp_file(file: gz.ImageFile) -> tuple[str, int, int, int]:
    try:
        return (file.relative, *stamp_files([file.path])[0][1:])
    except OSError:  # a broken link, which is reported when the file is read
        return file.relative, -1, -1, -1


def _build(folder: Path, files: Sequence[Placed], *, part: str, options: gz.Options) -> gz.ImageSource:
    images = gz.ImageSet([placed.file for placed in files], options, name=str(folder))
    placed = {each.file.relative: each for each in files}
    good = [placed[file.relative] for file in images.files]
    class_names = _list_classes(folder, good)
    chosen = [row for row, each in enumerate(good) if part in ("all", each.split)]
    if not chosen:
        raise gz.DataError(f"{folder} holds no image that can be read; expected images, one folder a class or flat")
    read = images.read(chosen)
    number = {name: index for index, name in enumerate(class_names)}
    official = part != "all" or any(each.split for each in good)
    keys, notes = (None, []) if official else make_split_keys(images.files, read.images, read.rows)
    return gz.ImageSource(
        images=read.images,
        labels=np.array([number[good[row].label] for row in read.rows], dtype=np.int64) if class_names else None,
        class_names=class_names,
        notes=(*images.notes, *notes),
        sizes=read.sizes,
        skipped=len(images.bad),
        split_keys=keys,
    )


def _list_classes(folder: Path, files: Sequence[Placed]) -> tuple[str, ...]:
    """The sorted names of the sub-folders that contain images."""
    flat = [each for each in files if not each.label]
    names = sorted({each.label for each in files} - {""})
    stray = flat if names else [each for each in flat if not each.split and any(other.split for other in files)]
    if stray:
        deep = next(each for each in files if each.label or each.split)
        raise gz.DataError(
            f"{folder} holds images both flat ({stray[0].file.relative}) and in sub-folders ({deep.file.relative}); "
            "expected one or the other: move the flat ones into a folder of their class"
        )
    return tuple(names)
