"""`--data folder:PATH`: the user's own images, in one folder per class or in a single folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets import pictures
from ganzoo_datasets.cache import load_or_build, stamp_files
from ganzoo_datasets.folder_scan import ImageFile, assign_parts, scan
from ganzoo_datasets.paths import resolve_folder
from ganzoo_datasets.pictures import BadImage, Header
from ganzoo_datasets.progress import show_progress

_MAX_HEADERS = 256  # files that `describe_dataset` looks into
_MAX_NAMED = 5  # how many bad files a message names; the rest are counted
_Result = TypeVar("_Result", Header, bool)


@gz.hookimpl
def dataset(name: str, argument: str, split: str, options: gz.Options) -> gz.ImageSource:
    """Images [size,size,C]; C is `channels`, else 1 if every image is grey and 3 otherwise.

    The sorted names of the sub-folders are the classes; deeper images belong to their top sub-folder. Without
    sub-folders there are no labels. A folder whose only sub-folders are `train` and `test` (or `val`) has official
    parts, any other has 20 % held out.

    Raises:
        DataError: if there is nothing to read, if files cannot be read and `skip_bad` is off, or if images are both in
            the folder itself and in sub-folders.
        UsageError: if `size` or `channels` is invalid.
    """
    folder, files = _list_files(name, argument, options)
    size, channels, skip_bad = options.get("size", 0), options.get("channels", 0), options.get("skip_bad", False)
    official = any(file.split for file in files)
    part = split if official else "all"
    key = {
        "set": "folder",
        "folder": str(folder),
        "files": [_stamp_file(file) for file in files],
        "options": [size, channels, skip_bad, part],
    }
    source = load_or_build(
        key, partial(_build, folder, files, part=part, size=size, channels=channels, skip_bad=skip_bad)
    )
    if not official:
        return gz.hold_out(source, split, options)
    return replace(source, held_out=sum(part not in ("all", file.split) for file in files))


@gz.hookimpl
def describe_dataset(name: str, argument: str, split: str, options: gz.Options) -> Mapping[str, int]:
    """Size, channels and classes by the names of all files and the headers of the first ones.

    Raises:
        DataError, UsageError: as `dataset` does.
    """
    folder, files = _list_files(name, argument, options)
    size, skip_bad = options.get("size", 0), options.get("skip_bad", False)
    classes = _list_classes(folder, files)
    chosen = [file for file in files if file.split in ("", split) or split == "all"][:_MAX_HEADERS]
    bad: dict[str, str] = {}
    with pictures.raise_on_bomb():
        read = _map_in_threads(chosen, lambda index: pictures.read_header(chosen[index].path), bad, folder.name)
    _check_readable(folder, bad, len(chosen), skip_bad)
    good = [(file, header) for file, header in zip(chosen, read, strict=True) if header is not None]
    if not good:
        raise gz.DataError(f"{folder} holds no image that can be read; expected images, one folder a class or flat")
    height, width = (size, size) if size else _find_common_size(folder, good)
    channels = options.get("channels", 0) or (1 if all(header.grey for _, header in good) else 3)
    return {"height": height, "width": width, "channels": channels, "classes": len(classes)}


def _list_files(name: str, argument: str, options: gz.Options) -> tuple[Path, list[ImageFile]]:
    """The folder and its files; raises UsageError for wrong options and DataError if there are none."""
    folder = resolve_folder(name, argument)
    size, channels = options.get("size", 0), options.get("channels", 0)
    if size < 0 or size * size > pictures.MAX_PIXELS:
        raise gz.UsageError(f"data.size is {size}; expected 1 to 4000 pixels, or 0 to keep the images' common size")
    if channels not in (0, 1, 3):
        raise gz.UsageError(f"data.channels is {channels}; expected 1, 3, or 0 for the images' own")
    files = assign_parts(scan(folder))
    if not files:
        raise gz.DataError(f"{folder} holds no files; expected images, one folder a class or flat")
    return folder, files


def _stamp_file(file: ImageFile) -> tuple[str, int, int, int]:
    try:
        return (file.relative, *stamp_files([file.path])[0][1:])
    except OSError:  # a broken link, which is reported when the file is read
        return file.relative, -1, -1, -1


def _build(
    folder: Path, files: Sequence[ImageFile], *, part: str, size: int, channels: int, skip_bad: bool
) -> gz.ImageSource:
    bad: dict[str, str] = {}
    with pictures.raise_on_bomb():
        # Headers first: they are quick to read and reveal bad files before the slow decoding.
        headers = _map_in_threads(
            files, lambda index: pictures.read_header(files[index].path), bad, f"looking at {folder.name}"
        )
        _check_readable(folder, bad, len(files), skip_bad)
        good = [(file, header) for file, header in zip(files, headers, strict=True) if header is not None]
        class_names = _list_classes(folder, [file for file, _ in good])
        chosen = [(file, header) for file, header in good if part in ("all", file.split)]
        if not chosen:
            raise gz.DataError(f"{folder} holds no image that can be read; expected images, one folder a class or flat")
        channels = channels or (1 if all(header.grey for _, header in good) else 3)
        height, width = (size, size) if size else _find_common_size(folder, chosen)
        images = _allocate_images(folder, (len(chosen), height, width, channels))

        def fill(index: int) -> bool:
            images[index] = pictures.decode(chosen[index][0].path, height=height, width=width, channels=channels)
            return True

        is_read = [
            bool(done) for done in _map_in_threads([file for file, _ in chosen], fill, bad, f"reading {folder.name}")
        ]
    _check_readable(folder, bad, len(files), skip_bad)
    if not any(is_read):
        raise gz.DataError(f"{folder} holds no image that can be read; {_list_bad_files(bad)}")
    tops = [file.top_folder for (file, _), done in zip(chosen, is_read, strict=True) if done]
    number = {name: index for index, name in enumerate(class_names)}
    sizes = np.array([(header.height, header.width) for _, header in chosen], dtype=np.int64)
    return gz.ImageSource(
        images=images if all(is_read) else images[is_read],
        labels=np.array([number[top] for top in tops], dtype=np.int64) if class_names else None,
        class_names=class_names,
        notes=(f"skipped {len(bad)} of {len(files)} files that cannot be read: {_list_bad_files(bad)}",) if bad else (),
        sizes=sizes[is_read],
        skipped=len(bad),
    )


def _map_in_threads(
    files: Sequence[ImageFile], work: Callable[[int], _Result], bad: dict[str, str], title: str
) -> list[_Result | None]:
    """Call `work` in threads for each file's index; the result is None for a bad file, which is added to `bad`."""

    def attempt(index: int) -> _Result | BadImage:
        try:
            return work(index)
        except BadImage as error:
            return error

    results: list[_Result | None] = []
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        with show_progress(title, len(files)) as advance:
            for file, result in zip(files, pool.map(attempt, range(len(files))), strict=True):
                if isinstance(result, BadImage):
                    bad[file.relative] = str(result)
                results.append(None if isinstance(result, BadImage) else result)
                advance(1)
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def _check_readable(folder: Path, bad: dict[str, str], total: int, skip_bad: bool) -> None:
    if bad and not skip_bad:
        raise gz.DataError(
            f"{folder}: {len(bad)} of {total} files cannot be read as images: {_list_bad_files(bad)}; remove them, "
            "or leave "
            "them out with --set data.skip_bad=true"
        )


def _list_bad_files(bad: dict[str, str]) -> str:
    named = [f"{name} ({reason})" for name, reason in list(bad.items())[:_MAX_NAMED]]
    return ", ".join(named) + (f" and {len(bad) - _MAX_NAMED} more" if len(bad) > _MAX_NAMED else "")


def _list_classes(folder: Path, files: Sequence[ImageFile]) -> tuple[str, ...]:
    """The sorted names of the sub-folders that contain images."""
    flat = [file for file in files if not file.top_folder]
    names = sorted({file.top_folder for file in files} - {""})
    stray = flat if names else [file for file in flat if not file.split and any(each.split for each in files)]
    if stray:
        deep = next(file for file in files if file.top_folder or file.split)
        raise gz.DataError(
            f"{folder} holds images both flat ({stray[0].relative}) and in sub-folders ({deep.relative}); expected one "
            "or the other: move the flat ones into a folder of their class"
        )
    return tuple(names)


def _find_common_size(folder: Path, chosen: Sequence[tuple[ImageFile, Header]]) -> tuple[int, int]:
    first, size = chosen[0][0], (chosen[0][1].height, chosen[0][1].width)
    for file, head in chosen:
        if (head.height, head.width) != size:
            raise gz.DataError(
                f"{folder}: {first.relative} is {size[0]}×{size[1]} and {file.relative} {head.height}×{head.width}; "
                "data.size=0 keeps images that all have one size: say --set data.size=64"
            )
    return size


def _allocate_images(folder: Path, shape: tuple[int, int, int, int]) -> np.ndarray:
    try:
        return np.empty(shape, dtype=np.uint8)
    except MemoryError:
        number, height, width, _ = shape
        raise gz.DataError(
            f"{folder}: {number:,} images of {height}×{width} do not fit into memory; choose a smaller --set data.size"
        ) from None
