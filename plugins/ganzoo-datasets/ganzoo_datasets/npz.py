"""`--data npz:FILE`: a numpy archive, read without pickle."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets.cache import load_or_build, stamp_files
from ganzoo_datasets.paths import resolve_path

MAX_BYTES = 8 * 2**30
"""Maximum size of an array in bytes."""
_CHUNK = 2**22
_HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@gz.hookimpl
def dataset(name: str, argument: str, split: str, options: gz.Options) -> gz.ImageSource:
    """`images` uint8 [N,H,W,C] or [N,H,W], and optionally `labels` [N] and `class_names` [K].

    Without `class_names`, the sorted distinct labels are the classes and their numbers the class names.
    There is no official test part.
    """
    path = _find_file(name, argument)
    return gz.hold_out(
        load_or_build({"set": "npz", "files": stamp_files([path])}, partial(_build, path)), split, options
    )


@gz.hookimpl
def describe_dataset(name: str, argument: str) -> Mapping[str, int]:
    """Size and channels by the header, and classes by the labels; raises as `dataset` does."""
    images, _, names = _read_arrays(_find_file(name, argument), headers_of=("images",))
    return dict(zip(("height", "width", "channels"), images.shape[1:], strict=True)) | {"classes": len(names)}


def _find_file(name: str, argument: str) -> Path:
    path = resolve_path(name, argument)
    if not path.is_file():
        raise gz.DataError(f"{name}:{argument}: {path} is no file; expected a .npz file")
    return path


def _build(path: Path) -> gz.ImageSource:
    images, labels, names = _read_arrays(path)
    try:
        return gz.ImageSource(images=images, labels=labels, class_names=names)
    except gz.DataError as error:
        raise gz.DataError(f"{path}: {error}") from None


def _read_arrays(path: Path, headers_of: Collection[str] = ()) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Images [N,H,W,C], labels and class names; of those in `headers_of` no values are read, they are all 0."""
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {
                name: _read_array(path, archive, f"{name}.npy", header_only=name in headers_of)
                for name in ("images", "labels", "class_names")
                if f"{name}.npy" in archive.namelist()
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise gz.DataError(f"{path} cannot be read as a .npz file: {error}") from None
    if "images" not in arrays:
        raise gz.DataError(f"{path} has no array `images`; expected uint8 [N,H,W,C] or [N,H,W]")
    images = check_images(path, arrays["images"])
    labels: np.ndarray | None = None
    names: tuple[str, ...] = ()
    if "labels" in arrays:
        labels, names = number_labels(path, arrays["labels"], arrays.get("class_names"))
    return images, labels, names


def _read_array(path: Path, archive: zipfile.ZipFile, member: str, *, header_only: bool) -> np.ndarray:
    """Read one array of the archive; its header is checked before memory is allocated."""
    size = archive.getinfo(member).file_size
    if archive.getinfo(member).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise gz.DataError(f"{path}: {member} is packed in a way that numpy does not write; save it with numpy.savez")
    with archive.open(member) as file:
        try:
            read_header = _HEADER_READERS[np.lib.format.read_magic(file)]
            shape, in_columns, dtype = read_header(file)
        except (ValueError, KeyError) as error:
            raise gz.DataError(f"{path}: {member} has no header of numpy's that can be read ({error})") from None
        if dtype.hasobject:
            raise gz.DataError(f"{path}: {member} holds Python objects, which are never unpickled; save plain arrays")
        if not dtype.itemsize or any(length < 1 for length in shape):
            raise gz.DataError(f"{path}: {member} is {dtype} {list(shape)}: there is nothing in it")
        expected = math.prod(shape) * dtype.itemsize
        if expected > MAX_BYTES or file.tell() + expected != size:
            raise gz.DataError(
                f"{path}: {member} is {dtype} {list(shape)}, which takes {expected:,} bytes, and "
                f"{size - file.tell():,} are there; expected as many, and at most {MAX_BYTES:,}: what is larger can "
                "stay on the disk as a .npy file, for --data npy:PATH"
            )
        if header_only:
            return np.broadcast_to(np.zeros((), dtype), shape)  # takes no memory
        values = bytearray()
        while len(values) < expected and (piece := file.read(min(_CHUNK, expected - len(values)))):
            values += piece
    if len(values) != expected:
        raise gz.DataError(f"{path}: {member} is cut short")
    return np.frombuffer(values, dtype=dtype).reshape(shape, order="F" if in_columns else "C")


def check_images(path: Path, images: np.ndarray) -> np.ndarray:
    """Return the images as uint8 [N,H,W,C]; raise DataError, naming `path`, if they are anything else."""
    shape = list(images.shape)
    if images.dtype != np.uint8:
        raise gz.DataError(
            f"{path}: images are {images.dtype} {shape}; expected uint8, 0 to 255: scale them and save "
            "`images.astype(numpy.uint8)`"
        )
    if images.ndim == 3:
        return images[..., None]
    if images.ndim == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3):
        raise gz.DataError(f"{path}: images are {shape}, with the channels second; save `images.transpose(0, 2, 3, 1)`")
    if images.ndim != 4:
        raise gz.DataError(f"{path}: images are {shape}; expected [N,H,W,C] or [N,H,W]")
    return images


def number_labels(path: Path, labels: np.ndarray, names: np.ndarray | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return labels int64 [N] and K class names; without names, the sorted distinct labels are the classes."""
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise gz.DataError(f"{path}: labels are {labels.dtype} {list(labels.shape)}; expected whole numbers [N]")
    if names is None:
        values, labels = np.unique(labels, return_inverse=True)
        return labels.astype(np.int64), tuple(map(str, values))
    if names.dtype.kind not in "US" or names.ndim != 1:
        raise gz.DataError(f"{path}: class_names are {names.dtype} {list(names.shape)}; expected texts [K]")
    try:
        decoded = np.char.decode(names, "utf-8") if names.dtype.kind == "S" else names
    except UnicodeDecodeError as error:
        raise gz.DataError(f"{path}: class_names are no text in UTF-8 ({error.reason}); save them as texts") from None
    return labels.astype(np.int64), tuple(str(name) for name in decoded)
