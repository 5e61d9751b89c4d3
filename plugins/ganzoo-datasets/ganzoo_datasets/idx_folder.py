"""`--data idx:PATH`: any images in MNIST's format."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets import idx
from ganzoo_datasets.cache import load_or_build, stamp_files
from ganzoo_datasets.paths import resolve_folder

FilePair = tuple[Path, Path | None]


@gz.hookimpl
def dataset(name: str, argument: str, split: str, options: gz.Options) -> gz.ImageSource:
    """Grey images of any size. The sorted distinct labels are the classes; their numbers are the class names.

    The test part is official if there are `t10k-…` (or `test-…`) files, else held out.
    """
    parts = _find_parts(resolve_folder(name, argument))
    official = "test" in parts
    splits = list(parts) if split == "all" or not official else [split]
    files = [file for pair in parts.values() for file in pair if file is not None]
    key = {"set": "idx", "files": stamp_files(files), "parts": splits}
    source = load_or_build(key, partial(_build, parts, splits))
    return source if official else gz.hold_out(source, split, options)


@gz.hookimpl
def describe_dataset(name: str, argument: str) -> Mapping[str, int]:
    """Nothing but whether the files are there, since the classes are known once all labels are read."""
    _find_parts(resolve_folder(name, argument))
    return {}


def _find_parts(folder: Path) -> dict[str, FilePair]:
    """The files of each part; raises DataError if there is no train part."""
    parts: dict[str, FilePair] = {}
    for part in ("train", "test"):
        images = idx.find_file(folder, part, "images")
        if images is not None:
            parts[part] = (images, idx.find_file(folder, part, "labels"))
    if "train" not in parts:
        raise gz.DataError(
            f"{folder} holds no train-images-idx3-ubyte, plain or .gz; expected MNIST's four file names "
            "(the t10k pair and the labels may be missing)"
        )
    return parts


def _build(parts: dict[str, FilePair], splits: list[str]) -> gz.ImageSource:
    folder = parts["train"][0].parent
    images = {part: idx.read_images(file) for part, (file, _) in parts.items()}
    labels = {
        part: idx.read_labels(file, count=len(images[part])) for part, (_, file) in parts.items() if file is not None
    }
    sizes = {array.shape[1:3] for array in images.values()}
    if len(sizes) > 1:
        listed = " and ".join(f"{height}×{width}" for height, width in sorted(sizes))
        raise gz.DataError(f"{folder}: the train and test images are {listed}; expected one size")
    if labels and len(labels) < len(images):
        raise gz.DataError(
            f"{folder}: only the {next(iter(labels))} part has labels; expected both parts to, or neither"
        )
    chosen = np.concatenate([images[part] for part in splits])
    if not labels:
        return gz.ImageSource(images=chosen, background=0)
    # From both parts, so that class numbers do not depend on the part that is read.
    values = np.unique(np.concatenate(list(labels.values())))
    numbers = np.searchsorted(values, np.concatenate([labels[part] for part in splits]))
    return gz.ImageSource(
        images=chosen, labels=numbers.astype(np.int64), class_names=tuple(map(str, values)), background=0
    )
