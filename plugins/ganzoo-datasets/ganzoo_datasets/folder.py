"""`--data folder:PATH`: the user's own images, in a folder or a zip archive of any usual layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets.attribute_columns import CONDITION, parse_columns
from ganzoo_datasets.cache import load_or_build, stamp_files
from ganzoo_datasets.content_split import make_split_keys
from ganzoo_datasets.folder_layout import Layout, Placed, find_layout
from ganzoo_datasets.paths import resolve_folder, resolve_path

_MAX_HEADERS = 256  # files that `describe_dataset` looks into
OTHER_OPTIONS = ("split", "holdout", "share", "flip", "derive")  # on which the decoded images do not depend


@gz.hookimpl
def dataset(name: str, argument: str, split: str, options: gz.Options) -> gz.ImageSource:
    """Images [size,size,C]; C is `channels`, else 1 if every image is grey and 3 otherwise.

    Classes and parts are those of `find_layout`. Without parts, some images are held out.

    Raises:
        DataError: if there is nothing to read, if files cannot be read and `skip_bad` is off, or if the layout is
            ambiguous.
        UsageError: if an option is invalid.
    """
    folder, layout = _lay_out(name, argument, options)
    files = layout.files
    official = any(file.split for file in files)
    part = split if official else "all"
    key = {
        "set": "folder",
        "folder": str(folder),
        "files": _stamp(files),
        "classes": layout.class_names,
        "options": {key: value for key, value in options.items() if key not in OTHER_OPTIONS},
        "part": part,
        "attributes": [each.attributes for each in files if each.attributes],
    }
    source = load_or_build(key, partial(_build, folder, layout, part=part, options=options))
    source = replace(source, notes=(*layout.notes, *source.notes))
    if not official:
        return gz.hold_out(source, split, options)
    return replace(source, held_out=sum(part not in ("all", file.split) for file in files))


@gz.hookimpl
def describe_dataset(name: str, argument: str, split: str, options: gz.Options) -> Mapping[str, Any]:
    """Size, channels, classes and the most images by the names of all files and the headers of the first ones.

    Raises:
        DataError, UsageError: as `dataset` does.
    """
    folder, layout = _lay_out(name, argument, options)
    chosen = [each.file for each in layout.files if each.split in ("", split) or split == "all"]
    images = gz.ImageSet(chosen[:_MAX_HEADERS], options, name=str(folder))
    height, width = images.find_size()
    classes = len(layout.class_names)
    facts: dict[str, Any] = {"height": height, "width": width, "channels": images.channels, "classes": classes}
    if attributes := layout.files[0].attributes:
        facts["conditions"] = {CONDITION: (len(attributes),)}
    return facts if images.options.frames == "all" else {**facts, "images": len(chosen)}


def _lay_out(name: str, argument: str, options: gz.Options) -> tuple[Path, Layout]:
    """The folder or archive and the place of its images; raises DataError if there are none."""
    path, scan = scan_folder(name, argument, expected="images, one folder a class or flat")
    columns = {"column": options.get("label", ""), "attributes": parse_columns(options.get("attributes", ""))}
    try:
        return path, find_layout(scan, **columns, skip_bad=bool(options.get("skip_bad")))
    except gz.DataError as error:
        raise gz.DataError(f"{gz.quote_name(str(path))}: {error}") from None


def scan_folder(name: str, argument: str, *, expected: str) -> tuple[Path, gz.ImageScan]:
    """The folder or archive of `--data NAME:PATH`, and its images; raises DataError if there are none."""
    path = resolve_path(name, argument)
    if path.suffix.lower() != ".zip" or path.is_dir():
        path = resolve_folder(name, argument)
    scan = gz.scan_images(path)
    if not scan.files:
        passed = f"; {scan.notes[0]}" if scan.notes else ""
        raise gz.DataError(f"{gz.quote_name(str(path))} holds no images{passed}; expected {expected}")
    return path, scan


def _stamp(files: Sequence[Placed]) -> list[tuple[Any, ...]]:
    """Names, classes and parts of the files, and size and times of each, or of the archive that holds it."""
    stamps = stamp_image_files([each.file for each in files])
    return [(*stamp, each.label, each.split) for stamp, each in zip(stamps, files, strict=True)]


def stamp_image_files(files: Sequence[gz.ImageFile]) -> list[tuple[str, str, tuple[int, ...]]]:
    """Names of the files, and size and times of each, or of the archive that holds it."""
    stamps: dict[Path, tuple[int, ...]] = {}
    for path in {file.path for file in files}:
        try:
            stamps[path] = stamp_files([path])[0][1:]
        except OSError:  # a broken link, which is reported when the file is read
            stamps[path] = ()
    return [(file.relative, file.member, stamps[file.path]) for file in files]


def _build(folder: Path, layout: Layout, *, part: str, options: gz.Options) -> gz.ImageSource:
    images = gz.ImageSet([each.file for each in layout.files], options, name=str(folder))
    placed = {each.file.relative: each for each in layout.files}
    good = [placed[file.relative] for file in images.files]
    labels = {each.label for each in good}
    class_names = tuple(name for name in layout.class_names if name in labels)
    chosen = [row for row, each in enumerate(good) if part in ("all", each.split)]
    if not chosen:
        raise gz.DataError(
            f"{gz.quote_name(str(folder))} holds no image that can be read; expected images, one folder a class or flat"
        )
    read = images.read(chosen)
    number = {name: index for index, name in enumerate(class_names)}
    official = part != "all" or any(each.split for each in good)
    attributes = np.array([good[row].attributes for row in read.rows], dtype=np.float32)
    keys, notes = (None, []) if official else make_split_keys(images.files, read.images, read.rows)
    return gz.ImageSource(
        images=read.images,
        labels=np.array([number[good[row].label] for row in read.rows], dtype=np.int64) if class_names else None,
        class_names=class_names,
        notes=(*images.notes, *notes),
        sizes=read.sizes,
        skipped=len(images.bad),
        split_keys=keys,
        conditions={CONDITION: attributes} if attributes.size else {},
    )
