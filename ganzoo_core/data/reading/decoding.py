"""Decode one image file. All images are opened here; the size is checked before decoding."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganzoo_core.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 16_000_000
FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "QOI")
"""Formats that Pillow may open. Others are unsafe: EPS runs Ghostscript, ICO may contain a larger image than its
header says."""
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N")
_ORIENTATION, _ROTATED = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and the values that swap height and width


class BadImage(DataError):
    """An image cannot be used; the message says why, without naming the file."""


@dataclass(frozen=True)
class Header:
    """Facts about an image that need no decoding."""

    height: int
    width: int
    grey: bool


@contextmanager
def raise_on_bomb() -> Iterator[None]:
    """Turn Pillow's decompression bomb warning into an error, and hide its other warnings.

    Warning filters are global to the process: enter this once, around all threads.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read_header(path: Path) -> Header:
    """Read an image's header without decoding it.

    Raises:
        BadImage: if it is empty, not an image, or larger than 16 megapixels.
    """
    with _open_image(path) as image:
        # Reading EXIF data that follows a PNG's pixels would decode the image.
        late = image.format == "PNG" and "exif" not in image.info
        width, height = image.size[::-1] if not late and _read_orientation(image) in _ROTATED else image.size
        return Header(height, width, is_grey(image))


def is_grey(image: Image.Image) -> bool:
    """Whether an image is greyscale; images with a palette always count as colour."""
    return image.mode in _GREY_MODES


def _read_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if it is missing or unreadable."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data can raise almost any exception
        return 1


def decode(path: Path, *, height: int, width: int, channels: int, fit: str = "crop") -> np.ndarray:
    """Decode an image file; of an animation, its first frame. See `image_to_pixels`.

    Raises:
        BadImage: if it cannot be read.
    """
    with _open_image(path) as image:
        # JPEGs can be decoded at 1/2, 1/4 or 1/8 size; at least twice the target keeps the quality of the resizing.
        image.draft(None, (2 * max(height, width), 2 * max(height, width)))
        return image_to_pixels(image, height=height, width=width, channels=channels, fit=fit)


def image_to_pixels(image: Image.Image, *, height: int, width: int, channels: int, fit: str = "crop") -> np.ndarray:
    """Convert an opened Pillow image to uint8 [H,W,C], as `ImageSet` does with files.

    It is rotated by its EXIF orientation, laid on white where it is transparent, and resized with antialiasing.

    Args:
        image: not yet decoded, or decoded.
        height, width: of the result, in pixels.
        channels: 1 or 3; 0 for 1 if the image is grey, else 3.
        fit: for an image of another aspect: `crop` cuts out the middle, `pad` adds a border (white if the image has
            transparency, else black), `stretch` changes the aspect.

    Raises:
        BadImage: if it is too large, damaged, or of an unknown range.
    """
    from PIL import ImageOps

    check_size(image.size)
    image.load()  # before reading the EXIF data, so that a truncated file fails here
    if _read_orientation(image) in range(2, 9):
        image = ImageOps.exif_transpose(image)
    if fit == "crop":
        image = _crop_to_aspect(image, height, width)
    channels = channels or (1 if is_grey(image) else 3)
    border = "white" if image.has_transparency_data else "black"
    image = to_eight_bit(image, channels=channels)
    image = _pad(image, height, width, border) if fit == "pad" else _resize(image, height, width)
    return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


def _crop_to_aspect(image: Image.Image, height: int, width: int) -> Image.Image:
    """The largest part of the target's aspect, from the middle."""
    across, down = image.size
    kept_across, kept_down = min(across, down * width // height or 1), min(down, across * height // width or 1)
    left, top = (across - kept_across) // 2, (down - kept_down) // 2
    if (kept_across, kept_down) == image.size:
        return image
    return image.crop((left, top, left + kept_across, top + kept_down))


def _pad(image: Image.Image, height: int, width: int, border: str) -> Image.Image:
    """Resize to fit inside the target, in the middle of a border."""
    from PIL import Image

    across, down = image.size
    scale = min(width / across, height / down)
    inner = _resize(image, max(1, round(down * scale)), max(1, round(across * scale)))
    if inner.size == (width, height):
        return inner
    padded = Image.new(inner.mode, (width, height), border)
    padded.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
    return padded


def _resize(image: Image.Image, height: int, width: int) -> Image.Image:
    from PIL import Image

    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BICUBIC)


def to_eight_bit(image: Image.Image, *, channels: int) -> Image.Image:
    """Convert to mode L or RGB: transparent pixels on white, 16 bits scaled so that 65535 becomes 255.

    Raises:
        BadImage: if the range of the values is unknown.
    """
    from PIL import Image

    if image.mode.startswith("I"):
        sixteen = np.clip(np.asarray(image).astype(np.int64), 0, 65_535)
        image = Image.fromarray(np.rint(sixteen / 257).astype(np.uint8))
    elif image.mode == "F":
        raise BadImage("floating-point values, whose range is not known; save it with 8 or 16 bits")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image)
        image = paper
    return image.convert("L" if channels == 1 else "RGB")


def check_size(size: tuple[int, int]) -> None:
    """Raise BadImage for an image (width, height) above 16 megapixels."""
    width, height = size
    if width * height > MAX_PIXELS:
        raise BadImage(f"{width}×{height} pixels, more than 16 megapixels")


@lru_cache(maxsize=1)
def _list_known_formats() -> tuple[str, ...]:
    """The FORMATS that this Pillow supports, since it raises on an unknown name."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def _open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image lazily, after checking its size. Every failure is a BadImage."""
    from PIL import Image, UnidentifiedImageError

    try:
        if not path.is_file():  # opening a named pipe would block
            raise BadImage("not a file" if path.exists() else "a link to nothing")
        if path.stat().st_size == 0:
            raise BadImage("empty")
        with Image.open(path, formats=_list_known_formats()) as image:
            check_size(image.size)
            yield image
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage("not an image of a known format") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise BadImage("more than 16 megapixels") from None
    except Exception as error:  # damaged files can raise almost any exception
        raise BadImage(f"damaged: {' '.join(str(error).split()) or type(error).__name__}") from None
