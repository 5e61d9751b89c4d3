"""`--data mnist` and `--data fashion_mnist`: four IDX files each, in torchvision's layout under the data root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets import idx
from ganzoo_datasets.cache import load_or_build, stamp_files
from ganzoo_datasets.remote import compute_sha256, fetch

_COUNTS = {"train": 60_000, "test": 10_000}
_FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True)
class _PublishedSet:
    """A published dataset.

    Attributes:
        folder: under the data root, with torchvision's name.
        remotes: the gzipped files.
        unpacked_sha256: SHA-256 of the unpacked files; empty if none is published.
    """

    folder: str
    class_names: tuple[str, ...]
    remotes: Mapping[str, gz.RemoteFile]
    unpacked_sha256: Mapping[str, str]


def _make_remotes(base_url: str, variable: str, *rows: tuple[str, int, str]) -> dict[str, gz.RemoteFile]:
    return {name: gz.RemoteFile(f"{name}.gz", size, digest, base_url, variable) for name, size, digest in rows}


SETS = {
    "mnist": _PublishedSet(
        folder="MNIST/raw",
        class_names=tuple("0123456789"),
        # Address, sizes and sums: TensorFlow Datasets, tensorflow_datasets/url_checksums/mnist.txt.
        remotes=_make_remotes(
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "GANZOO_MIRROR_MNIST",
            ("train-images-idx3-ubyte", 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            ("train-labels-idx1-ubyte", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            ("t10k-images-idx3-ubyte", 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            ("t10k-labels-idx1-ubyte", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
        # Of the unpacked originals, from the SHA256SUMS of this project's data notes; TensorFlow Datasets has none.
        unpacked_sha256={
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    "fashion_mnist": _PublishedSet(
        folder="FashionMNIST/raw",
        class_names=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        # Sizes and sums: TensorFlow Datasets, tensorflow_datasets/url_checksums/fashion_mnist.txt.
        # The address is the authors' repository, since the one in TensorFlow Datasets has no https.
        remotes=_make_remotes(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "GANZOO_MIRROR_FASHION_MNIST",
            ("train-images-idx3-ubyte", 26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            ("train-labels-idx1-ubyte", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            ("t10k-images-idx3-ubyte", 4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            ("t10k-labels-idx1-ubyte", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        unpacked_sha256={},  # none published
    ),
}


@gz.hookimpl
def dataset(name: str, root: Path, split: str) -> gz.ImageSource:
    """Images [28,28,1] of ten classes, read from the data root or downloaded to it.

    Raises:
        DataError: if a file is missing and cannot be downloaded, is damaged, or has another shape.
    """
    parts = ["train", "test"] if split == "all" else [split]
    files = _find_files(name, Path(root), parts)
    key = {"set": name, "files": stamp_files(files.values())}
    source = load_or_build(key, partial(_build, SETS[name], parts, files))
    return replace(source, held_out=sum(count for part, count in _COUNTS.items() if part not in parts))


@gz.hookimpl
def describe_dataset(name: str, root: Path, split: str) -> Mapping[str, int]:
    """The published size; raises DataError if a file is missing and may not be downloaded."""
    if gz.is_offline():
        _find_files(name, Path(root), ["train", "test"] if split == "all" else [split])
    return {"height": 28, "width": 28, "channels": 1, "classes": len(SETS[name].class_names)}


def _find_files(name: str, root: Path, parts: list[str]) -> dict[tuple[str, str], Path]:
    """The file of each part and kind, downloaded if it is missing."""
    about = SETS[name]
    folder = root / about.folder
    local_files = {(part, kind): idx.find_file(folder, part, kind) for part in parts for kind in ("images", "labels")}
    missing = [_FILES[key] for key, file in local_files.items() if file is None]
    advice = f"put {' and '.join(missing)} into that folder, plain or gzipped"
    return {
        key: file or fetch(about.remotes[_FILES[key]], dataset=name, folder=folder, advice=advice)
        for key, file in local_files.items()
    }


def _build(published_set: _PublishedSet, parts: list[str], files: Mapping[tuple[str, str], Path]) -> gz.ImageSource:
    images, labels, notes = [], [], []
    for part in parts:
        pair = files[part, "images"], files[part, "labels"]
        array = idx.read_images(pair[0])
        numbers = idx.read_labels(pair[1], count=len(array))
        if array.shape[1:3] != (28, 28) or numbers.max() >= len(published_set.class_names):
            raise gz.DataError(
                f"{pair[0]} holds images of {array.shape[1]}×{array.shape[2]}, labels up to {numbers.max()}; expected "
                f"28×28 and at most {len(published_set.class_names) - 1}; for another set, use --data "
                f"idx:{pair[0].parent}"
            )
        if len(array) != _COUNTS[part]:
            notes.append(f"the {part} part has {len(array):,} images instead of {_COUNTS[part]:,}")
        for kind, file in zip(("images", "labels"), pair, strict=True):
            notes += _note_differences(published_set, _FILES[part, kind], file)
        images.append(array)
        labels.append(numbers)
    return gz.ImageSource(
        images=np.concatenate(images),
        labels=np.concatenate(labels).astype(np.int64),
        class_names=published_set.class_names,
        background=0,
        notes=tuple(notes),
    )


def _note_differences(published_set: _PublishedSet, name: str, file: Path) -> list[str]:
    """A note if a file differs from the published one, or if no checksum was published."""
    published = published_set.remotes[name].sha256 if file.suffix == ".gz" else published_set.unpacked_sha256.get(name)
    digest = compute_sha256(file)
    if published is None:
        return [f"{file.name} has SHA-256 {digest}; none is published for the unpacked file, so it was not compared"]
    return [] if digest == published else [f"{file.name} has SHA-256 {digest}, the published file {published}"]
