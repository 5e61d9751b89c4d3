"""One image file -> pixels. Every image is opened here, and nothing is decoded before its size was looked at."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 16_000_000
FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "QOI")
"""What Pillow may try. Not all it can: an EPS file runs Ghostscript, an ICO file may hold more than it says."""
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N")
_ORIENTATION, _ROTATED = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that swap height and width


class BadImage(Exception):
    """Why an image cannot be used."""


@dataclass(frozen=True)
class Header:
    """What is known of an image before it is decoded."""

    height: int
    width: int
    grey: bool


@contextmanager
def raise_on_bomb() -> Iterator[None]:
    """Pillow's warning of a decompression bomb is an error in here; what else it warns of is not shown.

    Filters belong to the process, not to a thread: enter this once, around the threads.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read_header(path: Path) -> Header:
    """Look at an image without decoding it.

    Raises:
        BadImage: if it is empty, no image, or larger than 16 megapixels.
    """
    with _open_image(path) as image:
        # Asked for EXIF data that does not come first, a PNG would be decoded.
        late = image.format == "PNG" and "exif" not in image.info
        width, height = image.size[::-1] if not late and _read_orientation(image) in _ROTATED else image.size
        return Header(height, width, is_grey(image))


def is_grey(image: Image.Image) -> bool:
    """Whether an image has no colours; a palette counts as colour, whatever is in it."""
    return image.mode in _GREY_MODES


def _read_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none, or where it cannot be read, which spoils no pixels."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF data raises nearly anything
        return 1


def decode(path: Path, *, height: int, width: int, channels: int) -> np.ndarray:
    """The image as uint8 [H,W,C], turned as its EXIF data says, centre-cropped and resized with antialiasing.

    Args:
        path: the file; of an animation, its first frame.
        height, width: wanted, in pixels.
        channels: 1 or 3.

    Raises:
        BadImage: if it cannot be read.
    """
    with _open_image(path) as image:
        # A JPEG can be decoded at a half, a quarter or an eighth; twice the target leaves the resizing its work.
        image.draft(None, (2 * max(height, width), 2 * max(height, width)))
        return to_pixels(image, height=height, width=width, channels=channels)


def to_pixels(image: Image.Image, *, height: int, width: int, channels: int) -> np.ndarray:
    """An opened image as uint8 [H,W,C]; see `decode`."""
    from PIL import Image, ImageOps

    check_size(image.size)
    image.load()  # before the EXIF data is asked for: what is cut short must fail here
    if _read_orientation(image) in range(2, 9):
        image = ImageOps.exif_transpose(image)
    image = to_eight_bit(image, channels=channels)
    across, down = image.size
    kept_across, kept_down = min(across, down * width // height or 1), min(down, across * height // width or 1)
    left, top = (across - kept_across) // 2, (down - kept_down) // 2
    image = image.crop((left, top, left + kept_across, top + kept_down))
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


def to_eight_bit(image: Image.Image, *, channels: int) -> Image.Image:
    """Mode L or RGB. What is transparent lies on white; 16 bits are scaled, 65535 becoming 255.

    Raises:
        BadImage: if the values have no known range.
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
    """Those of FORMATS that this Pillow has; it fails on a name it does not know."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def _open_image(path: Path) -> Iterator[Image.Image]:
    """The image, lazily: its header is read and its size checked. Every failure in here is a BadImage."""
    from PIL import Image, UnidentifiedImageError

    try:
        if not path.is_file():  # opening a pipe would wait for ever
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
    except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
        raise BadImage(f"damaged: {' '.join(str(error).split()) or type(error).__name__}") from None
