"""`--data npy:PATH`: a memory-mapped numpy array, which may be larger than memory."""

from __future__ import annotations

import tokenize
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
    folder = path if path.is_dir() else None
    if folder is not None:
        path = folder / IMAGES_FILE
        if not path.is_file():
            raise gz.DataError(f"{name}:{argument}: {folder} holds no {IMAGES_FILE}; expected it, or name a .npy file")
    images = _read_images(path)
    labels: np.ndarray | None = None
    names: tuple[str, ...] = ()
    if folder is not None and (folder / LABELS_FILE).is_file():
        labels, names = number_labels(folder, _open_array(folder / LABELS_FILE), _read_names(folder / NAMES_FILE))
    try:
        return gz.hold_out(gz.ImageSource(images=images, labels=labels, class_names=names), split, options)
    except gz.DataError as error:
        raise gz.DataError(f"{folder or path}: {error}") from None


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
