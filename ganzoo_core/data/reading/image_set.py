"""Read many image files alike: their headers first, then their pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.data.reading import ranges
from ganzoo_core.data.reading.decoding import Header, Task
from ganzoo_core.data.reading.formats import BadImage
from ganzoo_core.data.reading.options import parse_options
from ganzoo_core.data.reading.pool import perform_all
from ganzoo_core.data.reading.scan import ImageFile
from ganzoo_core.errors import DataError
from ganzoo_core.messages import pluralise, quote_name

_MAX_NAMED = 5  # how many bad files a message names; the rest are counted


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

    Creating it reads the headers of all files, which is quick and finds bad files before the slow decoding. Then
    `read` decodes all or some. Where files hold more than 8 bits, all of them are read for their range before.

    Args:
        files: of `scan_images`.
        options: of the dataset; `size`, `channels`, `fit`, `range`, `frames`, `max_megapixels` and `skip_bad` are used,
            each with a default.
        name: the folder, for messages, or "".
        half: `left` or `right` to read that half of each file, which holds two pictures side by side; "" for the whole.

    Attributes:
        files: the files that can be read.
        headers: the header of each.
        channels: 1 or 3, of all images.
        bad: the reason for each file that cannot be read, by its relative name.

    Raises:
        UsageError: for an invalid option.
        DataError: if files cannot be read and `skip_bad` is off, or if none can.
    """

    def __init__(
        self, files: Sequence[ImageFile], options: Mapping[str, Any] | None = None, *, name: str = "", half: str = ""
    ) -> None:
        self.options = parse_options(options or {})
        self._title, self._prefix = Path(name).name or "images", f"{quote_name(name)}: " if name else ""
        if not files:
            raise DataError(f"{self._prefix}no image files")
        self.bad: dict[str, str] = {}
        self._total = len(files)
        self._task = Task(
            "header",
            side=self.options.size,
            max_pixels=self.options.max_megapixels * 1e6,
            all_frames=self.options.frames == "all",
            fit=self.options.fit,
            half=half,
        )
        headers = self._perform(self._task, files, [None] * len(files), "looking at")
        good = [(file, header) for file, header in zip(files, headers, strict=True) if header is not None]
        self.files = [file for file, _ in good]
        self.headers: list[Header] = [header for _, header in good]
        self.channels = self.options.channels or (1 if all(header.grey for header in self.headers) else 3)
        self._task = replace(self._task, channels=self.channels)
        self._range_notes: list[str] = []
        if self.options.range == "full":
            ranges.check_full(header.sample for header in self.headers)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know after `read`: ranges of values, frames left out, files skipped."""
        notes = list(self._range_notes)
        several = sum(header.frames > 1 for header in self.headers)
        if several and self.options.frames == "first":
            what = f"{several:,} files hold" if several > 1 else "1 file holds"
            notes.append(f"{what} more than one frame or page, and the first is used; data.frames=all takes all")
        if self.bad:
            notes.append(
                f"skipped {len(self.bad)} of {self._total} files that cannot be read: {_list_bad_files(self.bad)}"
            )
        return tuple(notes)

    def read(self, rows: Iterable[int] | None = None, *, size: tuple[int, int] | None = None) -> ReadImages:
        """Decode files.

        Args:
            rows: indices into `files`; None for all.
            size: height and width; by default those of the options.

        Raises:
            DataError: if files cannot be read and `skip_bad` is off, if their sizes differ and none is set, or if the
                images do not fit into memory.
        """
        chosen = np.arange(len(self.files)) if rows is None else np.array(list(rows), np.int64)
        height, width = size or self.find_size(chosen)
        side = max(height, width)
        task = replace(self._task, kind="decode", windows=self._windows, height=height, width=width, side=side)
        headers = [self.headers[row] for row in chosen]
        counts = np.array([header.frames if task.all_frames else 1 for header in headers], np.int64)
        images = self._allocate((int(counts.sum()), height, width, self.channels))
        starts = np.cumsum(counts) - counts
        is_read = np.zeros(len(images), dtype=bool)
        files = [self.files[row] for row in chosen]
        for start, count, frames in zip(starts, counts, self._perform(task, files, headers, "reading"), strict=True):
            if frames is not None:
                images[start : start + len(frames)] = frames[:count]
                is_read[start : start + len(frames)] = True
        sizes = np.array([(header.height, header.width) for header in headers], dtype=np.int64).reshape(-1, 2)
        images = images if is_read.all() else images[is_read]
        self._note_darkness(images)
        return ReadImages(images, np.repeat(chosen, counts)[is_read], np.repeat(sizes, counts, axis=0)[is_read])

    def _perform(
        self, task: Task, files: Sequence[ImageFile], headers: Sequence[Header | None], verb: str
    ) -> list[Any]:
        """Perform a task with files; the result is None for a bad file, which is added to `bad`."""
        results = []
        for file, result in zip(files, perform_all(task, files, headers, title=f"{verb} {self._title}"), strict=True):
            if isinstance(result, BadImage):
                self.bad[file.relative] = str(result)
            results.append(None if isinstance(result, BadImage) else result)
        if self.bad and not self.options.skip_bad:
            raise DataError(
                f"{self._prefix}{len(self.bad)} of {self._total} files cannot be read as images: "
                f"{_list_bad_files(self.bad)}; remove them, or leave them out with --set data.skip_bad=true"
            )
        if files and all(result is None for result in results):
            raise DataError(f"{self._prefix}no image can be read: {_list_bad_files(self.bad)}")
        return results

    @cached_property
    def _windows(self) -> dict[str, ranges.Range]:
        """One range of values for all images of a type; those of more than 8 bits are read for it."""
        deep = [row for row, header in enumerate(self.headers) if header.sample != "uint8"]
        by_type: dict[str, list[ranges.Range]] = {}
        if deep and isinstance(self.options.range, str):
            task = replace(self._task, kind="extremes")
            files, headers = [self.files[row] for row in deep], [self.headers[row] for row in deep]
            for header, extremes in zip(headers, self._perform(task, files, headers, "measuring"), strict=True):
                if extremes is not None:
                    by_type.setdefault(header.sample, []).append(extremes)
        windows, notes = ranges.choose_windows(self.options.range, by_type)
        self._range_notes += notes
        return windows

    def _note_darkness(self, images: np.ndarray) -> None:
        brightest = int(images.max(initial=0))
        if brightest < ranges.DARK and len(images):
            advice = f"; data.range=0:{brightest} brightens them" if brightest else ""
            self._range_notes.append(
                f"the images are nearly black: their brightest value is {brightest} of 255{advice}"
            )

    def find_size(self, rows: Iterable[int] | None = None) -> tuple[int, int]:
        """The height and width that `read` gives: those of the options, or what all images have.

        Raises:
            DataError: if there is no such size.
        """
        chosen = list(range(len(self.files)) if rows is None else rows)
        if self.options.size:
            return self.options.size, self.options.size
        sizes = Counter((self.headers[row].height, self.headers[row].width) for row in chosen)
        (height, width), _ = next(iter(sizes.items()))
        if len(sizes) > 1:
            other = next(
                row for row in chosen if (self.headers[row].height, self.headers[row].width) != (height, width)
            )
            raise DataError(
                f"{self._prefix}{self.files[chosen[0]].title} is {width}×{height} pixels and "
                f"{self.files[other].title} {self.headers[other].width}×{self.headers[other].height}; data.size=0 "
                "keeps images that all have one size: say --set data.size=64"
            )
        return height, width

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
    named = [f"{quote_name(name)} ({reason})" for name, reason in list(bad.items())[:_MAX_NAMED]]
    return ", ".join(named) + (f" and {len(bad) - _MAX_NAMED} more" if len(bad) > _MAX_NAMED else "")
