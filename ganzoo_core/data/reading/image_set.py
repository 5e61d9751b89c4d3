"""Read many image files alike: their headers first, then their pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ganzoo_core.data.reading import decoding
from ganzoo_core.data.reading.decoding import BadImage, Header
from ganzoo_core.data.reading.options import parse_options
from ganzoo_core.data.reading.scan import ImageFile
from ganzoo_core.errors import DataError
from ganzoo_core.messages import pluralise
from ganzoo_core.terminal.bars import show_progress

_MAX_NAMED = 5  # how many bad files a message names; the rest are counted
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ReadImages:
    """The images of `ImageSet.read`.

    Attributes:
        images: uint8 [N,H,W,C].
        rows: int64 [N], the index into `ImageSet.files` of each image's file.
        sizes: int64 [N,2], original height and width of each image.
    """

    images: np.ndarray
    rows: np.ndarray
    sizes: np.ndarray


class ImageSet:
    """Image files that are read alike: one size, the same channels, one range of values.

    Creating it reads the headers of all files, which is quick and finds bad files before the slow decoding.

    Args:
        files: of `scan_images`.
        options: of the dataset; `size`, `channels`, `fit` and `skip_bad` are used, each with a default.
        name: the folder, for messages, or "".

    Attributes:
        files: the files that can be read.
        headers: the header of each.
        channels: 1 or 3, of all images.
        bad: the reason for each file that cannot be read, by its relative name.

    Raises:
        UsageError: for an invalid option.
        DataError: if files cannot be read and `skip_bad` is off, or if none can.
    """

    def __init__(self, files: Sequence[ImageFile], options: Mapping[str, Any] | None = None, *, name: str = "") -> None:
        self.options = parse_options(options or {})
        self._title, self._prefix = Path(name).name or "images", f"{name}: " if name else ""
        self.bad: dict[str, str] = {}
        self._total = len(files)
        with decoding.raise_on_bomb():
            headers = self._map(files, lambda file: decoding.read_header(file.path), f"looking at {self._title}")
        self._check_bad()
        if self.bad and len(self.bad) == len(files):
            raise DataError(f"{self._prefix}no image can be read: {_list_bad_files(self.bad)}")
        good = [(file, header) for file, header in zip(files, headers, strict=True) if header is not None]
        self.files = [file for file, _ in good]
        self.headers: list[Header] = [header for _, header in good]
        self.channels = self.options.channels or (1 if all(header.grey for header in self.headers) else 3)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on the files that were skipped; none if there are none."""
        if not self.bad:
            return ()
        return (f"skipped {len(self.bad)} of {self._total} files that cannot be read: {_list_bad_files(self.bad)}",)

    def read(self, rows: Iterable[int] | None = None, *, size: tuple[int, int] | None = None) -> ReadImages:
        """Decode files.

        Args:
            rows: indices into `files`; None for all.
            size: height and width; by default those of the options.

        Raises:
            DataError: if files cannot be read and `skip_bad` is off, if their sizes differ and none is set, or if the
                images do not fit into memory.
        """
        chosen = list(range(len(self.files))) if rows is None else list(rows)
        height, width = size or self._find_size(chosen)
        images = self._allocate((len(chosen), height, width, self.channels))

        def fill(place: int) -> bool:
            images[place] = decoding.decode(
                self.files[chosen[place]].path,
                height=height,
                width=width,
                channels=self.channels,
                fit=self.options.fit,
            )
            return True

        with decoding.raise_on_bomb():
            files = [self.files[row] for row in chosen]
            places = self._map(range(len(chosen)), fill, f"reading {self._title}", files)
        self._check_bad()
        is_read = np.array([bool(done) for done in places], dtype=bool)
        if not is_read.any():
            raise DataError(f"{self._prefix}no image can be read: {_list_bad_files(self.bad)}")
        sizes = np.array([(self.headers[row].height, self.headers[row].width) for row in chosen], dtype=np.int64)
        return ReadImages(
            images if is_read.all() else images[is_read], np.array(chosen, np.int64)[is_read], sizes[is_read]
        )

    def _map(
        self,
        items: Sequence[Any],
        work: Callable[[Any], _Result],
        title: str,
        files: Sequence[ImageFile] | None = None,
    ) -> list[_Result | None]:
        """Call `work` in threads for each item; the result is None for a bad file, which is added to `bad`."""

        def attempt(item: Any) -> _Result | BadImage:
            try:
                return work(item)
            except BadImage as error:
                return error

        results: list[_Result | None] = []
        pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
        try:
            with show_progress(title, len(items)) as advance:
                for file, result in zip(files or items, pool.map(attempt, items), strict=True):
                    if isinstance(result, BadImage):
                        self.bad[file.relative] = str(result)
                    results.append(None if isinstance(result, BadImage) else result)
                    advance(1)
        finally:
            pool.shutdown(cancel_futures=True)
        return results

    def _check_bad(self) -> None:
        if self.bad and not self.options.skip_bad:
            raise DataError(
                f"{self._prefix}{len(self.bad)} of {self._total} files cannot be read as images: "
                f"{_list_bad_files(self.bad)}; remove them, or leave them out with --set data.skip_bad=true"
            )

    def _find_size(self, chosen: Sequence[int]) -> tuple[int, int]:
        """The height and width of the result: `data.size`, or the size that all images have."""
        if self.options.size:
            return self.options.size, self.options.size
        first = self.headers[chosen[0]]
        for row in chosen:
            header = self.headers[row]
            if (header.height, header.width) != (first.height, first.width):
                raise DataError(
                    f"{self._prefix}{self.files[chosen[0]].relative} is {first.width}×{first.height} pixels and "
                    f"{self.files[row].relative} {header.width}×{header.height}; data.size=0 keeps images that all "
                    "have one size: say --set data.size=64"
                )
        return first.height, first.width

    def _allocate(self, shape: tuple[int, int, int, int]) -> np.ndarray:
        try:
            return np.empty(shape, dtype=np.uint8)
        except MemoryError:
            number, height, width, _ = shape
            raise DataError(
                f"{self._prefix}{pluralise(number, 'image')} of {width}×{height} pixels do not fit into memory; choose "
                "a smaller --set data.size"
            ) from None


def _list_bad_files(bad: Mapping[str, str]) -> str:
    named = [f"{name} ({reason})" for name, reason in list(bad.items())[:_MAX_NAMED]]
    return ", ".join(named) + (f" and {len(bad) - _MAX_NAMED} more" if len(bad) > _MAX_NAMED else "")
