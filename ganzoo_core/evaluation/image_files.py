"""Read images to score from a folder or zip archive of image files, or a numpy archive, without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganzoo_core.data.reading import archives
from ganzoo_core.data.reading.image_set import ImageSet
from ganzoo_core.data.reading.scan import find_images
from ganzoo_core.errors import DataError
from ganzoo_core.evaluation.client import say_nothing
from ganzoo_core.messages import quote_name
from ganzoo_core.processes import Say
from ganzoo_core.storage.arrays import read_archive
from ganzoo_core.storage.files import describe


class ImagesToScore(NamedTuple):
    """Images uint8 [N,H,W,C], and if an archive has them labels int64 [N] and what each should be, as the images."""

    images: np.ndarray
    labels: np.ndarray | None = None
    targets: np.ndarray | None = None


def read_images(path: Path, options: Mapping[str, Any] | None = None, *, say: Say = say_nothing) -> ImagesToScore:
    """Read images to score.

    Args:
        path: a folder or zip archive of image files, at any depth; or an .npz file with the array `images`, and
            perhaps `labels` and `targets`, as written by `ganzoo generate` or `numpy.savez`.
        options: how files are read, as for a dataset; without `size`, all must have one size.
        say: receives what was passed over or left out.

    Raises:
        DataError: if there are no images, or one cannot be read.
    """
    if not describe(path) or not path.exists():
        raise DataError(f"{path} is not there; name a folder or zip archive of pictures, or a .npz file")
    if path.is_dir() or archives.is_archive(path):
        return ImagesToScore(_read_folder(path, options or {}, say))
    if path.suffix.lower() != ".npz":
        raise DataError(f"{path} is no folder, .zip or .npz file; name one of these")
    return _read_npz(path)


def _read_folder(path: Path, options: Mapping[str, Any], say: Say) -> np.ndarray:
    scan = find_images(path)
    images = ImageSet(scan.files, options, name=str(path))
    pictures = images.read().images
    for note in (*scan.notes, *images.notes):
        say(f"{quote_name(str(path))}: {note}")
    return pictures


def _read_npz(path: Path) -> ImagesToScore:
    arrays, _ = read_archive(path, ImagesToScore._fields)
    images, labels, targets = (arrays.get(name) for name in ImagesToScore._fields)
    if images is None:
        raise DataError(f"{path} holds no array `images`; save it with numpy.savez(…, images=images)")
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise DataError(f"{path}: images are {images.dtype} {list(images.shape)}; expected uint8 [N,H,W,C]")
    if labels is not None and (labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]):
        raise DataError(f"{path}: labels are {labels.dtype} {list(labels.shape)}; expected whole numbers [N]")
    if targets is not None and targets.ndim == 3:
        targets = targets[..., None]
    if targets is not None and (targets.dtype != np.uint8 or targets.shape != images.shape):
        raise DataError(
            f"{path}: targets are {targets.dtype} {list(targets.shape)}; expected uint8 {list(images.shape)}, as the "
            "images"
        )
    return ImagesToScore(images, None if labels is None else labels.astype(np.int64), targets)
