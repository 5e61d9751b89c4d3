"""`--data npy:PATH`: a memory-mapped numpy array, which may be larger than memory."""

from __future__ import annotations

import tokenize
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets.npz import check_images, number_labels
from ganzoo_datasets.paths import resolve_path

IMAGES_FILE, LABELS_FILE, NAMES_FILE = "images.npy", "labels.npy", "class_names.txt"


@gz.hookimpl
def dataset(name: str, argument: str, split: str, options: gz.Options) -> gz.ImageSource:
    """A file, or a folder with `images.npy` and optionally `labels.npy` and `class_names.txt`, one name per line.

    Images are uint8 [N,H,W,C] or [N,H,W], memory-mapped; labels are integers [N]. Without names, the sorted distinct
    labels are the classes and their numbers the class names. There is no official test part.

    Raises:
        UsageError, DataError: if the path does not exist, or an array is not as described.
    """
    path = resolve_path(name, argument)
    images, labels, names = _open_arrays(name, argument, path)
    try:
        return gz.hold_out(gz.ImageSource(images=images, labels=labels, class_names=names), split, options)
    except gz.DataError as error:
        raise gz.DataError(f"{path}: {error}") from None


@gz.hookimpl
def describe_dataset(name: str, argument: str) -> Mapping[str, int]:
    """Size and channels by the header, and classes by the labels; raises as `dataset` does."""
    images, _, names = _open_arrays(name, argument, resolve_path(name, argument))
    return dict(zip(("height", "width", "channels"), images.shape[1:], strict=True)) | {"classes": len(names)}


def _open_arrays(name: str, argument: str, path: Path) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Images [N,H,W,C], not yet read, labels and class names of a file or folder."""
    if not path.is_dir():
        return _read_images(path), None, ()
    if not (path / IMAGES_FILE).is_file():
        raise gz.DataError(f"{name}:{argument}: {path} holds no {IMAGES_FILE}; expected it, or name a .npy file")
    images = _read_images(path / IMAGES_FILE)
    if not (path / LABELS_FILE).is_file():
        return images, None, ()
    return images, *number_labels(path, _open_array(path / LABELS_FILE), _read_names(path / NAMES_FILE))


def _read_images(path: Path) -> np.ndarray:
    images = check_images(path, _open_array(path))
    if not images[:1].flags.c_contiguous:
        raise gz.DataError(
            f"{path}: the array is stored column by column, so that one image lies all over the file; save "
            "`numpy.ascontiguousarray(images)`"
        )
    return images


def _open_array(path: Path) -> np.ndarray:
    """Open the array as a read-only memory map."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError, tokenize.TokenError) as error:
        raise gz.DataError(f"{path} cannot be read as a .npy file: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise gz.DataError(f"{path} is an archive of arrays; write --data npz:{path}")
    return array


def _read_names(path: Path) -> np.ndarray | None:
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise gz.DataError(f"{path} cannot be read: {error}; expected a name a line, in UTF-8") from None
    return np.array(lines, dtype=np.str_)
