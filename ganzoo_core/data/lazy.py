"""Images that are read on demand, mostly from a file: a batch is read and framed when it is indexed."""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ganzoo_core.api import Images, ImageSource
from ganzoo_core.data import memory
from ganzoo_core.terminal.bars import show_progress

MEMORY_SHARE = 0.5  # the share of the free memory that images may take
SMALL_BYTES = 2**30  # bytes: images in a file are read into memory up to this size, or if they must be framed
CHUNK_BYTES = 2**26  # bytes that are read at a time when all images are read


class LazyImages:
    """A selection of images of a larger set, after framing. Nothing is read until it is indexed.

    It has `shape`, `dtype`, `ndim`, `nbytes` and a length, and indexing returns a numpy array, as for an array:
    `images[7]`, `images[10:20]`, `images[order]` and `images[mask]`. `np.asarray(images)` reads all of them.

    Args:
        base: uint8 [M,H,W,C], an array or a memory map.
        rows: int64 [N], the indices into `base`; None for all.
        transform: a function of a batch, applied after reading; it must treat each image independently.
        shape: height, width and channels after the transform; None for those of `base`.
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
        """The bytes that all images would take in memory."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """uint8 [N,H,W,C] for a slice, an index array or a mask; [H,W,C] for an integer."""
        if isinstance(index, tuple):
            return self[index[0]][(slice(None), *index[1:]) if np.ndim(self._find_rows(index[0])) else index[1:]]
        numbers = self._find_rows(index)
        images = gather(self.base, np.atleast_1d(numbers))
        if self.transform is not None:
            images = self.transform(images)
        return images if np.ndim(numbers) else images[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = read_all(self)
        return whole if dtype is None else whole.astype(dtype)

    def _find_rows(self, index: Any) -> np.ndarray:
        """The indices into `base`."""
        if self.rows is not None:
            return np.asarray(self.rows[index])
        if isinstance(index, slice):
            return np.arange(*index.indices(len(self)))
        indices = np.asarray(index)
        if indices.dtype == bool:
            return np.flatnonzero(indices)
        if not indices.size:
            return indices.astype(np.int64)
        if not -len(self) <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return np.where(indices < 0, indices + len(self), indices)


class MirroredImages(LazyImages):
    """Images followed by the same ones mirrored left to right: [2N,H,W,C].

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
        images = gather(self.base, each % count)
        is_mirrored = each >= count
        images[is_mirrored] = images[is_mirrored][:, :, ::-1]
        return images if np.ndim(numbers) else images[0]


def make_indexable(source: ImageSource) -> ImageSource:
    """The source, with images that take any index: of a plugin's images on demand only `images[order]` is promised.

    Conditions that are pictures are treated alike; numbers and vectors on demand are read into memory.
    """

    def wrap(rows: Any) -> Any:
        if isinstance(rows, np.ndarray | LazyImages):
            return rows
        return LazyImages(rows) if rows.ndim == 4 else np.asarray(rows[np.arange(len(rows))])

    conditions = {name: wrap(rows) for name, rows in source.conditions.items()}
    return replace(source, images=wrap(source.images), conditions=conditions)


def select(images: Images, mask: np.ndarray) -> Images:
    """Select images, in their order: in memory if they fit (see `should_hold_in_memory`), else read on demand.

    Args:
        images: see `Images`.
        mask: bool [N].
    """
    rows = np.flatnonzero(mask)
    if should_hold_in_memory(len(rows) * math.prod(images.shape[1:]), in_file=is_in_file(images)):
        if isinstance(images, np.ndarray):
            return gather(images, rows)
        return _read_with_bar(LazyImages(images, rows))
    if isinstance(images, LazyImages):
        return LazyImages(images.base, images._find_rows(rows), images.transform, images.shape[1:])
    return LazyImages(images, rows)


def is_in_file(images: Images) -> bool:
    """Whether images are read on demand or from a memory map, not held in this process's memory."""
    return isinstance(images, np.memmap) or not isinstance(images, np.ndarray)


def should_hold_in_memory(size: int, *, in_file: bool, costly: bool = False) -> bool:
    """Whether to hold images in memory.

    They must take at most half of the free memory. Images in a file that are larger than 1 GiB stay there, since
    reading them all would delay the start, and the system caches what it has read while there is room.

    Args:
        size: the total bytes.
        in_file: whether they are in a file.
        costly: whether each must be padded, resized or recoloured, which is better done once than in each epoch; then
            the limit of 1 GiB does not apply.
    """
    return size <= MEMORY_SHARE * memory.measure_free_memory() and (not in_file or costly or size <= SMALL_BYTES)


def read_all(images: Images, report_progress: Callable[[int], None] | None = None) -> np.ndarray:
    """Read all images into memory, uint8 [N,H,W,C].

    Args:
        images: see `Images`.
        report_progress: called after each 64 MiB with the number of images read so far.
    """
    whole = np.empty(images.shape, dtype=np.uint8)
    for first, some in iterate_chunks(images):
        whole[first : first + len(some)] = some
        if report_progress is not None:
            report_progress(first + len(some))
    return whole


def _read_with_bar(images: Images) -> np.ndarray:
    done = 0
    with show_progress("reading images", len(images)) as advance:

        def report(count: int) -> None:
            nonlocal done
            advance(count - done)
            done = count

        return read_all(images, report)


def iterate_chunks(images: Images, *, batch: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """Read all images 64 MiB at a time; yield the index of the first of each chunk, and uint8 [N,H,W,C].

    Args:
        images: see `Images`.
        batch: a chunk holds a multiple of so many images, at least this many, but for the last one.
    """
    step = max(1, CHUNK_BYTES // max(1, math.prod(images.shape[1:])) // batch) * batch
    for start in range(0, len(images), step):
        yield start, np.ascontiguousarray(images[start : start + step])


def gather(base: Images, indices: np.ndarray) -> np.ndarray:
    """`base[indices]`. A memory map is read in file order, after advising the system to read all the rows ahead."""
    if not isinstance(base, np.memmap):
        return base[indices]
    order = np.argsort(indices, kind="stable")
    ascending = indices[order]
    _prefetch_rows(base, ascending)
    images = np.empty((len(indices), *base.shape[1:]), base.dtype)
    images[order] = base[ascending]
    return images


def _prefetch_rows(base: np.memmap[Any, Any], indices: np.ndarray) -> None:
    """Advise the system to read these rows ahead, so that the copy does not wait for each one."""
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
        with contextlib.suppress(OSError):  # it is only advice, and not every file system supports it
            owner.madvise(mmap.MADV_WILLNEED, begin, first + length - begin)
