"""The IDX format of MNIST, plain or gzipped.

A file starts with two zero bytes, a byte for the type (8 for unsigned bytes), a byte for the number of axes, and
the length of each axis as four big-endian bytes. The values follow, the last axis fastest.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

import ganzoo_core as gz

UNSIGNED_BYTE = 8
MAX_UNPACKED = 8 * 2**30
"""Maximum size in bytes of a gzipped file's content."""
MAX_PIXELS = 16_000_000
_MAX_DEFLATE_RATIO = 1032  # the highest possible ratio of deflate; a header that claims more is wrong
_CHUNK = 2**20
_PREFIXES = {"train": ("train",), "test": ("t10k", "test")}
_AXES = {"images": 3, "labels": 1}


def find_file(folder: Path, part: str, kind: str) -> Path | None:
    """The file of a part (`train` or `test`) and kind (`images` or `labels`), or None.

    Both common spellings are accepted, `train-images-idx3-ubyte` and `train-images.idx3-ubyte`; plain files are
    preferred over gzipped ones.
    """
    for prefix in _PREFIXES[part]:
        for mark in "-.":
            for ending in ("", ".gz"):
                path = folder / f"{prefix}-{kind}{mark}idx{_AXES[kind]}-ubyte{ending}"
                if path.is_file():
                    return path
    return None


def read_images(path: Path) -> np.ndarray:
    """Images uint8 [N,H,W,1]; see `read`."""
    images = read(path, axes=3)[..., None]
    height, width = images.shape[1:3]
    if height * width > MAX_PIXELS:
        raise gz.DataError(f"{path} holds images of {height}×{width} pixels; at most 16 megapixels are read")
    return images


def read_labels(path: Path, *, count: int) -> np.ndarray:
    """Labels uint8 [N], one for each of `count` images; see `read`."""
    labels = read(path, axes=1)
    if len(labels) != count:
        raise gz.DataError(
            f"{path} holds {len(labels):,} labels and the file of images {count:,}; expected as many of each"
        )
    return labels


def read(path: Path, *, axes: int) -> np.ndarray:
    """The values of one file, uint8; a memory map if the file is not gzipped.

    The lengths in the header are checked against the file's size before anything is allocated.

    Args:
        path: the file; its first bytes tell whether it is gzipped.
        axes: the number of axes it must have.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        if packed:
            return _read_gzipped(path, axes)
        with path.open("rb") as file:
            shape = _read_header(path, file, axes)
    except (OSError, EOFError, zlib.error) as error:
        raise gz.DataError(
            f"{path} cannot be read: {error}; remove it to have it fetched again, or replace it"
        ) from None
    offset, expected, actual = 4 + 4 * axes, math.prod(shape), path.stat().st_size
    if actual != offset + expected:
        raise _make_length_error(path, shape, offset + expected, f"has {actual:,}")
    return np.memmap(path, dtype=np.uint8, mode="r", offset=offset, shape=shape)


def _read_gzipped(path: Path, axes: int) -> np.ndarray:
    size = path.stat().st_size
    with gzip.open(path, "rb") as file:
        shape = _read_header(path, file, axes)
        expected = math.prod(shape)
        if expected > min(MAX_UNPACKED, size * _MAX_DEFLATE_RATIO):
            raise _make_length_error(path, shape, expected, f"is {size:,} bytes of gzip, which cannot hold them")
        values = bytearray()
        while len(values) < expected and (chunk := file.read(min(_CHUNK, expected - len(values)))):
            values += chunk
        if len(values) < expected or file.read(1):
            raise _make_length_error(
                path, shape, expected, f"has {'more' if len(values) == expected else f'{len(values):,}'}"
            )
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def _read_header(path: Path, file: BinaryIO | gzip.GzipFile, axes: int) -> tuple[int, ...]:
    start = file.read(4)
    if len(start) < 4 or start[:3] != bytes((0, 0, UNSIGNED_BYTE)):
        raise gz.DataError(f"{path} starts with {start.hex(' ') or 'nothing'}; expected 00 00 08, an IDX file of bytes")
    if start[3] != axes:
        raise gz.DataError(f"{path} has {start[3]} axes; expected {axes}: images have 3 and labels 1")
    lengths = file.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise gz.DataError(f"{path} ends within its header: it is cut short")
    shape = struct.unpack(f">{axes}I", lengths)
    if 0 in shape:
        raise gz.DataError(f"{path} holds {'×'.join(map(str, shape))} values: nothing")
    return shape


def _make_length_error(path: Path, shape: tuple[int, ...], expected: int, found: str) -> gz.DataError:
    return gz.DataError(
        f"{path}: the header says {'×'.join(map(str, shape))}, which takes {expected:,} bytes, and the file {found}; "
        "it is cut short or damaged: replace it"
    )
