"""`--data cifar10`: the binary version, since the Python version is a pickle, which can run any code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets.archive import unpack
from ganzoo_datasets.cache import load_or_build, stamp_files
from ganzoo_datasets.remote import compute_sha256, fetch

# Address, size and sum: TensorFlow Datasets, tensorflow_datasets/url_checksums/cifar10.txt.
# No checksums of the files inside are published.
ARCHIVE = gz.RemoteFile(
    name="cifar-10-binary.tar.gz",
    size=170_052_171,
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    base_url="https://www.cs.toronto.edu/~kriz/",
    mirror_variable="GANZOO_MIRROR_CIFAR10",
)
FOLDER = "cifar-10-batches-bin"
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FILES = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
_PICKLED = ("cifar-10-batches-py", "cifar-10-python.tar.gz")
_RECORD_BYTES = 1 + 3 * 32 * 32  # a label, then all red values, all green and all blue
_IMAGES_PER_FILE = 10_000  # images per file
_MAX_UNPACKED_BYTES = 200_000_000  # bytes; the six files total 184,380,000


@gz.hookimpl
def dataset(name: str, root: Path, split: str) -> gz.ImageSource:
    """Images [32,32,3] of ten classes, read from the data root or downloaded to it.

    Raises:
        DataError: if the files are missing and cannot be downloaded, or are damaged.
    """
    root = Path(root)
    files = _list_files(root, split)
    if not all(file.is_file() for file in files):
        _unpack_archive(name, root)
    source = load_or_build({"set": name, "files": stamp_files(files)}, partial(_build, root / ARCHIVE.name, files))
    return replace(source, held_out=_IMAGES_PER_FILE * (sum(map(len, _FILES.values())) - len(files)))


@gz.hookimpl
def describe_dataset(name: str, root: Path, split: str) -> Mapping[str, int]:
    """The published size; raises DataError if the files are missing and may not be downloaded."""
    root = Path(root)
    if not (root / ARCHIVE.name).is_file() and not all(file.is_file() for file in _list_files(root, split)):
        _refuse_pickled(root)
        if gz.is_offline():
            _fetch_archive(name, root)
    return {"height": 32, "width": 32, "channels": 3, "classes": len(CLASS_NAMES)}


def _list_files(root: Path, split: str) -> list[Path]:
    parts = ("train", "test") if split == "all" else (split,)
    return [root / FOLDER / file for part in parts for file in _FILES[part]]


def _refuse_pickled(root: Path) -> None:
    """Raise DataError if what is there is the Python version."""
    pickled = next((root / entry for entry in _PICKLED if (root / entry).exists()), None)
    if pickled:
        raise gz.DataError(
            f"{pickled} is CIFAR-10 as a Python pickle, which is never opened here: put the binary version, "
            f"{ARCHIVE.base_url}{ARCHIVE.name}, into {root}, or use --data torchvision:CIFAR10, which reads the one "
            "you have"
        )


def _fetch_archive(name: str, root: Path) -> None:
    fetch(ARCHIVE, dataset=name, folder=root, advice=f"put {ARCHIVE.name} into that folder")


def _unpack_archive(name: str, root: Path) -> None:
    """Unpack the binary archive, after downloading it unless it is in the data root."""
    archive, folder = root / ARCHIVE.name, root / FOLDER
    is_there = archive.is_file()
    if not is_there:
        _refuse_pickled(root)
        _fetch_archive(name, root)
    try:
        unpack(archive, folder, file_names=(*_FILES["train"], *_FILES["test"]), limit=_MAX_UNPACKED_BYTES)
    except OSError as error:
        raise gz.DataError(
            f"{archive} cannot be unpacked to {folder}: {error}; unpack it into your --data-root"
        ) from None
    if not is_there:
        archive.unlink()


def _build(archive: Path, files: list[Path]) -> gz.ImageSource:
    images, labels = [], []
    notes = ["no checksum is published for CIFAR-10's unpacked files: their sizes and labels were checked"]
    for file in files:
        size = file.stat().st_size
        if size == 0 or size % _RECORD_BYTES:
            raise gz.DataError(
                f"{file} has {size:,} bytes; expected a multiple of {_RECORD_BYTES:,}, the length of an image: it is "
                "cut "
                "short or damaged; remove it to have it unpacked again"
            )
        if size != _IMAGES_PER_FILE * _RECORD_BYTES:
            notes.append(f"{file.name} has {size // _RECORD_BYTES:,} images instead of {_IMAGES_PER_FILE:,}")
        records = np.memmap(file, dtype=np.uint8, mode="r").reshape(-1, _RECORD_BYTES)
        if records[:, 0].max() >= len(CLASS_NAMES):
            raise gz.DataError(f"{file} has the label {records[:, 0].max()}; expected 0 to 9: it is damaged; remove it")
        labels.append(records[:, 0])
        images.append(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    if archive.is_file() and (digest := compute_sha256(archive)) != ARCHIVE.sha256:
        notes.append(f"{archive.name} has SHA-256 {digest}, the published file {ARCHIVE.sha256}")
    return gz.ImageSource(
        images=np.concatenate(images),
        labels=np.concatenate(labels).astype(np.int64),
        class_names=CLASS_NAMES,
        notes=tuple(notes),
    )
