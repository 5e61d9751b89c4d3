"""Read images to score from a folder of image files or a numpy archive, without pickle."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ganzoo_core.data.picture_files import READABLE_SUFFIXES, read_picture
from ganzoo_core.errors import DataError


def read_images(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read images uint8 [N,H,W,C], and labels int64 [N] if an archive contains them.

    Args:
        path: a folder of image files, at any depth, all of one size; or an .npz file with the array `images`, as
            written by `ganzoo generate` or `numpy.savez`.

    Raises:
        DataError: if there are no images, or one cannot be read.
    """
    if path.is_dir():
        return _read_folder(path), None
    if not path.is_file():
        raise DataError(f"{path} is not there; name a folder of pictures, or a .npz file")
    if path.suffix.lower() != ".npz":
        raise DataError(f"{path} is no folder and no .npz file; name one of the two")
    return _read_archive(path)


def _read_folder(path: Path) -> np.ndarray:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in READABLE_SUFFIXES and file.is_file())
    if not files:
        raise DataError(f"{path} holds no pictures; expected files such as 0001.png")
    pictures = [read_picture(file) for file in files]
    if len({picture.shape[2] for picture in pictures}) > 1:
        pictures = [np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture for picture in pictures]
    for file, picture in zip(files, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            sizes = [f"{differing.shape[1]}×{differing.shape[0]}" for differing in (pictures[0], picture)]
            raise DataError(
                f"{files[0]} is {sizes[0]} and {file} {sizes[1]} pixels; expected one size, as one generator draws"
            )
    return np.stack(pictures)


def _read_archive(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            images, labels = archive.get("images"), archive.get("labels")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError) as error:
        raise DataError(f"{path} cannot be read as a numpy archive: {error}") from None
    if images is None:
        raise DataError(f"{path} holds no array `images`; save it with numpy.savez(…, images=images)")
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise DataError(f"{path}: images are {images.dtype} {list(images.shape)}; expected uint8 [N,H,W,C]")
    if labels is None:
        return images, None
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise DataError(f"{path}: labels are {labels.dtype} {list(labels.shape)}; expected whole numbers [N]")
    return images, labels.astype(np.int64)
