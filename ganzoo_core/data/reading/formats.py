"""Open one image file: the formats that are opened, and how large an image may be."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO

from ganzoo_core.data.reading.scan import AVIF_BRANDS, HEIF_BRANDS, ImageFile
from ganzoo_core.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "QOI")
"""Formats that Pillow may open. Others are unsafe: EPS runs Ghostscript, ICO may contain a larger image than its
header says."""
MAX_PIXELS = 200_000_000  # of a baseline JPEG, which is decoded at a fraction of its size
DEFAULT_MAX_MEGAPIXELS = 64.0  # of what is decoded: any other image, or the fraction of a baseline JPEG


class BadImage(DataError):
    """An image cannot be used; the message says why, without naming the file."""


@contextmanager
def limit_pillow() -> Iterator[None]:
    """Let Pillow open up to `MAX_PIXELS`, turn its warning of larger images into an error, and hide its other warnings.

    Warning filters and Pillow's limit are global to the process: enter this once, around all threads.
    """
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = MAX_PIXELS
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def limit_pillow_for_good() -> None:
    """As `limit_pillow`, for images that a thread decodes while others run: nothing is put back.

    So it changes little: Pillow refuses images of more than `MAX_PIXELS`, as by default from 179 million pixels on, and
    its warnings are hidden.
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # it refuses twice as many
    warnings.filterwarnings("ignore", module=r"PIL\.")


@contextmanager
def open_image(file: ImageFile) -> Iterator[Image.Image]:
    """Open an image without decoding it. Every failure is a BadImage."""
    from PIL import Image, UnidentifiedImageError

    try:
        if not file.path.is_file():  # opening a named pipe would block
            raise BadImage("not a file" if file.path.exists() else "a link to nothing")
        with file.open() as stream:
            start = stream.read(16)
            if not start:
                raise BadImage("empty")
            stream.seek(0)
            with _identify(stream, start) as image:
                yield image
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage("not an image of a known format") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise BadImage(f"more than {MAX_PIXELS // 1_000_000} megapixels") from None
    except Exception as error:  # damaged files can raise almost any exception
        if isinstance(error, OSError) and error.strerror:  # of the system, not of Pillow
            raise BadImage(f"cannot be read: {error.strerror}") from None
        raise BadImage(f"damaged: {' '.join(str(error).split()) or type(error).__name__}") from None


def check_size(image: Image.Image, side: int, max_pixels: float) -> int:
    """Prepare a baseline JPEG to be decoded at 1/2, 1/4 or 1/8 of its size; return the pixels that are decoded.

    At least twice the target is decoded, which keeps the quality of the resizing.

    Args:
        image: not yet decoded.
        side: of the target, in pixels; 0 for the image's own size.
        max_pixels: the most that may be decoded.

    Raises:
        BadImage: if it is too large.
    """
    width, height = image.size
    # A progressive JPEG needs memory for all of its coefficients, at whatever size it is decoded.
    if side and "progression" not in image.info and width * height <= MAX_PIXELS:
        image.draft(None, (2 * side, 2 * side))
    pixels = image.width * image.height
    if pixels > max_pixels:
        readable = width * height <= MAX_PIXELS
        advice = f"; --set data.max_megapixels={-(-pixels // 1_000_000)} reads it" if readable else ""
        raise BadImage(f"{width}×{height} pixels, more than {max_pixels / 1e6:.4g} megapixels{advice}")
    return pixels


def _identify(stream: BinaryIO, start: bytes) -> Image.Image:
    """Open an image by its content, as one of the known formats."""
    import PIL
    from PIL import Image

    formats, brand = _list_known_formats(), start[8:12] if start[4:8] == b"ftyp" else b""
    if brand in HEIF_BRANDS:
        try:
            from pillow_heif import register_heif_opener
        except ImportError:
            raise BadImage("a HEIC picture; to read it, `pip install pillow-heif`") from None
        register_heif_opener()
        formats = ("HEIF",)
    elif brand in AVIF_BRANDS and "AVIF" not in formats:
        raise BadImage(
            f"an AVIF picture, which Pillow reads from 11.3 on and this one ({PIL.__version__}) does not; "
            "to read it, `pip install --upgrade pillow`"
        )
    return Image.open(stream, formats=formats)


@lru_cache(maxsize=1)
def _list_known_formats() -> tuple[str, ...]:
    """The FORMATS that this Pillow supports, since it raises on an unknown name."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
