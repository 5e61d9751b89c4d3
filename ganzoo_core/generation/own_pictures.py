"""Read a user's own pictures at the size that a generator takes; others are refused unless they may be fitted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ganzoo_core.data.reading.formats import MAX_PIXELS, BadImage, check_size, limit_pillow, open_image
from ganzoo_core.data.reading.image_set import ImageSet
from ganzoo_core.data.reading.scan import ImageFile
from ganzoo_core.data.side_by_side import MID_GREY
from ganzoo_core.errors import DataError, UsageError
from ganzoo_core.messages import pluralise, quote_name

_MAX_NAMED = 5  # how many unreadable pictures a message names; the rest are counted


def read_pictures(
    files: Sequence[ImageFile], size: tuple[int, int], channels: int, *, folder: Path, fit: str | None, factor: int = 1
) -> list[np.ndarray]:
    """Read pictures: uint8 [H,W,C] each.

    Args:
        files: the picture files.
        size: height and width that the generator takes.
        channels: 1 or 3.
        folder: of the generator, for messages.
        fit: how one of another size is brought to this one: `crop`, `pad` or `stretch`; None to refuse it.
        factor: a picture whose sides are smaller by this whole factor is left at its size.

    Raises:
        UsageError: for a picture of another size without `fit`.
        DataError: for one that cannot be read.
    """
    options = {"channels": channels, "fit": fit or "crop", "skip_bad": True, "max_megapixels": MAX_PIXELS / 1e6}
    images = ImageSet(files, options)
    _check_all_read(images)
    small = (size[0] // factor, size[1] // factor)
    groups: dict[tuple[int, int], list[int]] = {}
    for row, header in enumerate(images.headers):
        own = (header.height, header.width)
        if own not in (size, small) and fit is None:
            also = "" if factor == 1 else f", or of {small[1]}×{small[0]}"
            raise UsageError(
                _describe_mismatch(images.files[row], own, size, folder)
                + f"{also}; say --fit crop, pad or stretch to have it brought to that size"
            )
        groups.setdefault(small if own == small else size, []).append(row)
    read: dict[int, np.ndarray] = {}
    for wanted, rows in groups.items():
        found = images.read(rows, size=wanted)
        _check_all_read(images)
        read |= dict(zip(found.rows.tolist(), found.images, strict=True))
    return [read[row] for row in sorted(read)]


def read_transparent(files: Sequence[ImageFile], size: tuple[int, int], channels: int, folder: Path) -> np.ndarray:
    """Read pictures whose transparent part is to be filled in: uint8 [N,H,W,C+1], as `data.derive=mask` makes them.

    Args:
        files, size, channels, folder: see `read_pictures`.

    Raises:
        UsageError: for a picture of another size, or without a transparent part.
        DataError: for one that cannot be read.
    """
    rows = np.empty((len(files), *size, channels + 1), np.uint8)
    for file, row in zip(files, rows, strict=True):
        try:
            with limit_pillow(), open_image(file) as image:
                check_size(image, 0, MAX_PIXELS)
                pixels = np.asarray(image.convert("RGBA" if channels == 3 else "LA"))
        except BadImage as error:
            raise DataError(f"{file.title} cannot be read: {error}") from None
        own = (pixels.shape[0], pixels.shape[1])
        if own != size:
            raise UsageError(_describe_mismatch(file, own, size, folder) + "; bring it to that size first")
        hidden = pixels[..., channels] < MID_GREY
        if not hidden.any():
            raise UsageError(
                f"{file.title} has no transparent part to fill in; erase one, or leave --as-is out to have a rectangle "
                "hidden"
            )
        row[..., :channels] = np.where(hidden[..., None], MID_GREY, pixels[..., :channels])
        row[..., channels] = 255 * hidden
    return rows


def _check_all_read(images: ImageSet) -> None:
    """Raise DataError with the files that cannot be read; `data.skip_bad` is no setting of drawing."""
    if images.bad:
        listed = ", ".join(f"{quote_name(name)} ({reason})" for name, reason in list(images.bad.items())[:_MAX_NAMED])
        more = f" and {len(images.bad) - _MAX_NAMED:,} more" if len(images.bad) > _MAX_NAMED else ""
        raise DataError(f"{pluralise(len(images.bad), 'picture')} cannot be read: {listed}{more}; leave them out")


def _describe_mismatch(file: ImageFile, own: tuple[int, int], size: tuple[int, int], folder: Path) -> str:
    return f"{file.title} is {own[1]}×{own[0]} pixels, and {folder} draws from pictures of {size[1]}×{size[0]}"
