"""Readers of images, arrays, archives and tensors."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.fixtures import EXPECTED, GREY, LABELS, TENSORS, make_archive, make_idx, make_npy, make_npz, make_picture
from fuzzing.kinds import Kind
from ganzoo_core import building, catalog, checkpoint, mix
from ganzoo_core.evaluation.gathering import gather
from ganzoo_datasets.archive import unpack

NPZ = make_npz(images=GREY, labels=np.arange(6), class_names=np.array(list("abcdef")))


def load_data(name: str, argument: Path) -> None:
    """Read a set as a run would."""
    request = mix.Request(picks={"model": "dcgan-torch", "data": f"{name}:{argument}"})
    source = building.load_data(mix.resolve(catalog.scan(), request), argument.parent)
    np.asarray(source.images[:1])


def of(name: str) -> Callable[[Path], Any]:
    return lambda path: load_data(name, path)


def around(name: str) -> Callable[[Path], Any]:
    return lambda path: load_data(name, path.parent)


def list_media() -> list[Kind]:
    """The kinds that there were from the beginning, and arrays of numpy's."""
    packed = checkpoint.pack(TENSORS)
    arrays = {"set/images.npy": make_npy(GREY), "set/labels.npy": make_npy(LABELS), "set/class_names.txt": b"a\nb\n"}
    return [
        Kind("safetensors", "w.safetensors", packed, lambda path: checkpoint.read_tensors(path, EXPECTED), "safetensors"),
        Kind("any safetensors", "w.safetensors", packed, checkpoint.read_matching, "safetensors"),
        Kind("idx", "set/train-images-idx3-ubyte", make_idx(GREY), around("idx")),
        Kind("idx.gz", "set/train-images-idx3-ubyte.gz", gzip.compress(make_idx(GREY), mtime=0), around("idx")),
        Kind("npz", "a.npz", NPZ, of("npz")),
        Kind("npy", "set/images.npy", arrays["set/images.npy"], around("npy"), others=arrays),
        Kind("npy labels", "set/labels.npy", arrays["set/labels.npy"], around("npy"), others=arrays),
        Kind("png", "set/a.png", make_picture("PNG"), around("folder")),
        Kind("jpeg", "set/a.jpg", make_picture("JPEG"), around("folder")),
        Kind("npz to score", "a.npz", NPZ, gather),
        Kind("png to score", "set/a.png", make_picture("PNG"), lambda path: gather(path.parent)),
        Kind("archive", "a.tar.gz", make_archive(), read_archive),
    ]


def read_archive(path: Path) -> None:
    unpack(path, path.parent / "cifar-10-batches-bin", wanted=["test_batch.bin"], limit=10**6)


def list_scoring() -> list[Kind]:
    """Files of the scores' plugin: weights of Inception and of the classifier that is kept, and arrays that are."""
    import safetensors.numpy
    import torch

    from ganzoo_scores import inception

    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in TENSORS.items()}, buffer)
    return [
        Kind("inception.pth", "weights.pth", buffer.getvalue(), inception.read),
        Kind("inception.safetensors", "w.safetensors", safetensors.numpy.save(TENSORS), inception.read, "safetensors"),
    ]


def set_cache(path: Path) -> None:
    os.environ["GANZOO_CACHE"] = str(path)
