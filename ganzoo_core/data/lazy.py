"""Images that stay where they lie, in a file mostly: a batch of them is read and framed when it is asked for."""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ganzoo_core.api import Images
from ganzoo_core.data import memory

MEMORY_SHARE = 0.5  # of the memory that is free: what images may take to be held in it
SMALL_BYTES = 2**30  # bytes: images in a file are read whole up to here, unless framing them once is worth more
CHUNK_BYTES = 2**26  # bytes that are read together where all are


class LazyImages:
    """Some images of a larger set, as they look after framing. Nothing is read before an index asks for it.

    It has `shape`, `dtype`, `ndim`, `nbytes` and a length, and an index gives a numpy array, as that of an array does:
    `images[7]`, `images[10:20]`, `images[order]` and `images[mask]`. `np.asarray(images)` reads all of it.

    Args:
        base: uint8 [M,H,W,C], an array or a memory map.
        rows: int64 [N], which of them, in this order; all without it.
        transform: what is done to a batch of them, an image at a time, so that it does not matter which come together.
        shape: height, width and channels after that; those of `base` without it.
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        base: Images,
        rows: np.ndarray | None = None,
        transform: Callable[[np.ndarray], np.ndarray] | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        self.base, self.rows, self.transform = base, rows, transform
        self.shape = (len(base) if rows is None else len(rows), *(shape or base.shape[1:]))

    @property
    def nbytes(self) -> int:
        """Bytes of all images, were they read."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """uint8 [N,H,W,C] for a slice, an order or a mask; [H,W,C] for a number."""
        if isinstance(index, tuple):
            return self[index[0]][(slice(None), *index[1:]) if np.ndim(self._find_rows(index[0])) else index[1:]]
        numbers = self._find_rows(index)
        taken = gather(self.base, np.atleast_1d(numbers))
        if self.transform is not None:
            taken = self.transform(taken)
        return taken if np.ndim(numbers) else taken[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = read_all(self)
        return whole if dtype is None else whole.astype(dtype)

    def _find_rows(self, index: Any) -> np.ndarray:
        """Where in `base` that is."""
        if self.rows is not None:
            return np.asarray(self.rows[index])
        if isinstance(index, slice):
            return np.arange(*index.indices(len(self)))
        found = np.asarray(index)
        if found.dtype == bool:
            return np.flatnonzero(found)
        if not found.size:
            return found.astype(np.int64)
        if not -len(self) <= found.min() <= found.max() < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return np.where(found < 0, found + len(self), found)


class MirroredImages(LazyImages):
    """Images and, from number N on, the same ones mirrored left to right.

    Args:
        images: [N,H,W,C]; see `Images`.
    """

    def __init__(self, images: Images) -> None:
        super().__init__(images)
        self.shape = (2 * len(images), *images.shape[1:])

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, tuple):
            return super().__getitem__(index)
        numbers = self._find_rows(index)
        count, each = len(self.base), np.atleast_1d(numbers)
        taken = gather(self.base, each % count)
        is_mirrored = each >= count
        taken[is_mirrored] = taken[is_mirrored][:, :, ::-1]
        return taken if np.ndim(numbers) else taken[0]


def select(images: Images, mask: np.ndarray) -> Images:
    """Some of the images, in their order: read where they may be held in memory, else to be read on demand.

    Args:
        images: see `Images`.
        mask: bool [N].
    """
    if should_hold_in_memory(int(mask.sum()) * math.prod(images.shape[1:]), in_file=is_in_file(images)):
        return images[mask]
    rows = np.flatnonzero(mask)
    if isinstance(images, LazyImages):
        return LazyImages(images.base, images._find_rows(rows), images.transform, images.shape[1:])
    return LazyImages(images, rows)


def is_in_file(images: Images) -> bool:
    """Whether images are not in this process's memory, or not as they are to be."""
    return isinstance(images, np.memmap | LazyImages)


def should_hold_in_memory(size: int, *, in_file: bool, costly: bool = False) -> bool:
    """Whether images are to be held in memory.

    They are where they take at most half of what is free. Those in a file stay there if they are larger than 1 GiB,
    since reading them all would delay the start, and what is read once is kept by the system as long as there is room.

    Args:
        size: bytes of all of them.
        in_file: whether they lie in a file.
        costly: whether each is padded, resized or recoloured, which is better done once than in each epoch.
    """
    return size <= MEMORY_SHARE * memory.measure_free_memory() and (not in_file or costly or size <= SMALL_BYTES)


def read_all(images: Images, report_progress: Callable[[int], None] | None = None) -> np.ndarray:
    """All of the images in memory, uint8 [N,H,W,C].

    Args:
        images: see `Images`.
        report_progress: how many were read so far, after each 64 MiB of them.
    """
    whole = np.empty(images.shape, dtype=np.uint8)
    for first, some in iterate_chunks(images):
        whole[first : first + len(some)] = some
        if report_progress is not None:
            report_progress(first + len(some))
    return whole


def iterate_chunks(images: Images) -> Iterator[tuple[int, np.ndarray]]:
    """All of the images, read 64 MiB at a time: the number of the first, and uint8 [N,H,W,C]."""
    step = max(1, CHUNK_BYTES // max(1, math.prod(images.shape[1:])))
    for start in range(0, len(images), step):
        yield start, np.ascontiguousarray(images[start : start + step])


def gather(base: Images, indices: np.ndarray) -> np.ndarray:
    """`base[numbers]`. Of a memory map, in the order of the file, after the disk was asked for all of it at once."""
    if not isinstance(base, np.memmap):
        return base[indices]
    order = np.argsort(indices, kind="stable")
    ahead = indices[order]
    _prefetch_rows(base, ahead)
    taken = np.empty((len(indices), *base.shape[1:]), base.dtype)
    taken[order] = base[ahead]
    return taken


def _prefetch_rows(base: np.memmap[Any, Any], indices: np.ndarray) -> None:
    """Have the system read these rows, several at a time, instead of each where the copy stumbles over it."""
    owner: Any = base
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if not isinstance(owner, mmap.mmap) or not hasattr(mmap, "MADV_WILLNEED") or not base[:1].flags.c_contiguous:
        return
    start = np.frombuffer(owner, np.uint8).ctypes.data
    length, page = math.prod(base.shape[1:]) * base.itemsize, mmap.PAGESIZE
    for number in np.unique(indices).tolist():
        first = base.ctypes.data + number * base.strides[0] - start
        begin = first // page * page
        with contextlib.suppress(OSError):  # it is advice, and not every file system takes any
            owner.madvise(mmap.MADV_WILLNEED, begin, first + length - begin)
