"""Readers of images, arrays, archives and tensors."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from fuzzing import fixtures
from fuzzing.fixtures import (
    EXPECTED,
    GREY,
    LABELS,
    TENSORS,
    make_archive,
    make_idx,
    make_npy,
    make_npz,
    make_parquet,
    make_picture,
    make_shard,
)
from fuzzing.kinds import Files, Kind
from ganzoo_core import building, mix
from ganzoo_core.discovery import catalog
from ganzoo_core.evaluation.image_files import read_images
from ganzoo_core.storage.tensors import pack_tensors, read_all_tensors, read_tensors
from ganzoo_datasets.archive import unpack

NPZ = make_npz(images=GREY, labels=np.arange(6), class_names=np.array(list("abcdef")))


def load_data(name: str, argument: Path) -> None:
    """Read a set as a run would."""
    request = mix.Request(picks={"model": "dcgan-torch", "data": f"{name}:{argument}"})
    source = building.load_data(mix.resolve(catalog.scan(), request), argument.parent)
    np.asarray(source.images[:1])


def make_file_reader(name: str) -> Callable[[Path], Any]:
    return lambda path: load_data(name, path)


def make_folder_reader(name: str) -> Callable[[Path], Any]:
    return lambda path: load_data(name, path.parent)


def list_media_kinds() -> list[Kind]:
    """The kinds that there were from the beginning, and arrays of numpy's."""
    packed = pack_tensors(TENSORS)
    arrays = {"set/images.npy": make_npy(GREY), "set/labels.npy": make_npy(LABELS), "set/class_names.txt": b"a\nb\n"}
    return [
        Kind("safetensors", "w.safetensors", packed, read_expected, "safetensors"),
        Kind("any safetensors", "w.safetensors", packed, read_all_tensors, "safetensors"),
        Kind("idx", "set/train-images-idx3-ubyte", make_idx(GREY), make_folder_reader("idx")),
        Kind(
            "idx.gz",
            "set/train-images-idx3-ubyte.gz",
            gzip.compress(make_idx(GREY), mtime=0),
            make_folder_reader("idx"),
        ),
        Kind("npz", "a.npz", NPZ, make_file_reader("npz")),
        Kind("npy", "set/images.npy", arrays["set/images.npy"], make_folder_reader("npy"), others=arrays),
        Kind("npy labels", "set/labels.npy", arrays["set/labels.npy"], make_folder_reader("npy"), others=arrays),
        Kind("png", "set/a.png", make_picture("PNG"), make_folder_reader("folder")),
        Kind("jpeg", "set/a.jpg", make_picture("JPEG"), make_folder_reader("folder")),
        Kind("shard", "set/0.tar", make_shard(), make_folder_reader("shards")),
        Kind("parquet", "set/0.parquet", make_parquet(), make_folder_reader("parquet")),
        Kind("npz to score", "a.npz", NPZ, read_images),
        Kind("png to score", "set/a.png", make_picture("PNG"), lambda path: read_images(path.parent)),
        Kind("archive", "a.tar.gz", make_archive(), read_archive),
    ]


def read_expected(path: Path) -> None:
    read_tensors(path, EXPECTED)


def read_archive(path: Path) -> None:
    unpack(path, path.parent / "cifar-10-batches-bin", file_names=["test_batch.bin"], limit=10**6)


def list_cache_kinds(cache: Files) -> list[Kind]:
    """Weights of Inception; and what lies in the user's cache, of which all that is damaged is made anew."""
    import safetensors.numpy
    import torch

    from ganzoo_scores import inception, inception_weights

    placed = {f"cache/{name}": content for name, content in cache.items()}

    def of_cache(name: str, ending: str, read: Callable[[], Any], syntax: str = "", share: float = 1.0) -> Kind:
        path = next(path for path in placed if path.endswith(ending))
        return Kind(name, path, placed[path], lambda path: read(), syntax, placed, share=share)

    def read_weights(path: Path) -> None:
        inception._load_tensors(str(path), "inception", lambda text: None)

    tensors = {name: torch.from_numpy(array) for name, array in TENSORS.items()}
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    # The published file and its network stand for themselves in small.
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    inception_weights.WEIGHTS = replace(inception_weights.WEIGHTS, size=len(buffer.getvalue()), sha256=digest)
    inception.make_empty_network = lambda: SimpleNamespace(state_dict=lambda: tensors)
    return [
        Kind("inception.pth", "weights.pth", buffer.getvalue(), read_weights),
        Kind("inception.safetensors", "w.safetensors", safetensors.numpy.save(TENSORS), read_weights, "safetensors"),
        of_cache("kept arrays' facts", "about.json", fixtures.read_cached_set, "json"),
        of_cache("kept arrays", "images.npy", fixtures.read_cached_set),
        of_cache("kept classifier's facts", "classifier.json", fixtures.read_classifier, "json", 0.2),
        of_cache("kept classifier", "classifier.safetensors", fixtures.read_classifier, "safetensors", 0.2),
    ]
