"""Decode image files: headers, extreme values and pixels, each as a task that threads or processes perform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo_core.data.reading import ranges
from ganzoo_core.data.reading.formats import DEFAULT_MAX_MEGAPIXELS, MAX_PIXELS, BadImage, check_size, open_image
from ganzoo_core.data.reading.ranges import Range
from ganzoo_core.data.reading.scan import ImageFile

if TYPE_CHECKING:
    from PIL import Image

_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_ORIENTATION, _ROTATED = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and the values that swap height and width


@dataclass(frozen=True)
class Header:
    """Facts about an image that need no decoding.

    Attributes:
        height, width: of the image as it is seen, after its EXIF orientation.
        grey: whether it is greyscale; images with a palette always count as colour.
        sample: the type of its values, see `ranges.find_sample`.
        frames: of an animation or a file with several pages; 2 for any number if only the first is asked for.
        pixels: how many are decoded; fewer than it has for a large JPEG.
    """

    height: int
    width: int
    grey: bool
    sample: str = "uint8"
    frames: int = 1
    pixels: int = 0


@dataclass(frozen=True)
class Task:
    """What is done with each file.

    Attributes:
        kind: `header`, `extremes` or `decode`.
        side: of the target, in pixels; 0 for the image's own size.
        max_pixels: the most that may be decoded.
        all_frames: whether all frames or pages are images, or only the first.
        height, width, channels, fit: of the result of `decode`.
        windows: of `ranges.choose_windows`.
        half: `left` or `right`, of files that hold two pictures side by side; "" for the whole picture.
    """

    kind: str
    side: int = 0
    max_pixels: float = MAX_PIXELS
    all_frames: bool = False
    height: int = 0
    width: int = 0
    channels: int = 3
    fit: str = "crop"
    windows: Mapping[str, Range] = field(default_factory=dict)
    half: str = ""


def perform(task: Task, file: ImageFile) -> Any:
    """Do a task with a file.

    Returns:
        A `Header`; the least and greatest value; or uint8 [F,H,W,C], its frames.

    Raises:
        BadImage: if it cannot be read, or is too large.
    """
    with open_image(file) as image:
        size, sample = image.size, ranges.find_sample(image)
        # What is cut in the middle is decoded at its own size: at a fraction of it, the middle may lie within a pixel.
        pixels = check_size(image, 0 if task.half else task.side, task.max_pixels)
        if task.kind == "header":
            header = _read_header(image, size, sample, pixels, all_frames=task.all_frames)
            return _halve(header) if task.half else header
        found = []
        for number in range(_count_frames(image) if task.all_frames else 1):
            if number:
                image.seek(number)
                check_size(image, 0, task.max_pixels)
            found.append(
                ranges.measure_extremes(file, image) if task.kind == "extremes" else _decode(task, file, image)
            )
    if task.kind == "extremes":
        return min(low for low, _ in found), max(high for _, high in found)
    return np.stack(found)


def _read_header(image: Image.Image, size: tuple[int, int], sample: str, pixels: int, *, all_frames: bool) -> Header:
    # Reading EXIF data that follows a PNG's pixels would decode the image.
    late = image.format == "PNG" and "exif" not in image.info
    width, height = size[::-1] if not late and _read_orientation(image) in _ROTATED else size
    several = image.format != "MPO" and getattr(image, "is_animated", False)
    frames = _count_frames(image) if all_frames else 1 + several
    return Header(height, width, _is_grey(image), sample, frames, pixels)


def _halve(header: Header) -> Header:
    """The header of either half of two pictures side by side; raises BadImage for an odd width."""
    if header.width % 2:
        raise BadImage(f"{header.width} pixels wide; expected two pictures of one width side by side")
    return replace(header, width=header.width // 2)


def _is_grey(image: Image.Image) -> bool:
    """Whether an image, not yet decoded, is greyscale, with or without transparency."""
    return image.mode in _GREY_MODES or ranges.find_deep_mode(image) == ranges.DEEP_GREY


def _count_frames(image: Image.Image) -> int:
    """The number of frames or pages; 1 for a photograph with a preview or a second view in it."""
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))


def _read_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if it is missing or unreadable."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data can raise almost any exception
        return 1


def _decode(task: Task, file: ImageFile, image: Image.Image) -> np.ndarray:
    from PIL import Image

    sample = ranges.find_sample(image)
    window = task.windows.get(sample)
    source = image
    if window is not None and ranges.find_deep_mode(image) and window != ranges.FULL_RANGES["uint16"]:
        values = ranges.read_values(file, image)
        scaled = ranges.scale(values, window)
        scaled[..., 3:] = values[..., 3:] >> 8
        source, sample, window = Image.fromarray(scaled), "uint8", None
    return _to_pixels(
        source,
        orientation=_read_orientation(image),
        height=task.height,
        width=task.width,
        channels=task.channels,
        fit=task.fit,
        sample=sample,
        window=window,
        half=task.half,
    )


def image_to_pixels(image: Image.Image, *, height: int, width: int, channels: int, fit: str = "crop") -> np.ndarray:
    """Convert an opened Pillow image to uint8 [H,W,C], as `ImageSet` does with files.

    It is rotated by its EXIF orientation, laid on white where it is transparent, and resized with antialiasing. Values
    of 16 bits are scaled so that 65535 becomes 255.

    Args:
        image: not yet decoded, or decoded.
        height, width: of the result, in pixels.
        channels: 1 or 3; 0 for 1 if the image is grey, else 3.
        fit: for an image of another aspect: `crop` cuts out the middle, `pad` adds a border (white if the image has
            transparency, else black), `stretch` changes the aspect.

    Raises:
        DataError: if it is too large, damaged, or of an unknown range.
    """
    if image.width * image.height > DEFAULT_MAX_MEGAPIXELS * 1e6:
        raise BadImage(f"{image.width}×{image.height} pixels, more than {DEFAULT_MAX_MEGAPIXELS:.0f} megapixels")
    channels = channels or (1 if _is_grey(image) else 3)
    image.load()  # before reading the EXIF data, so that a truncated file fails here
    return _to_pixels(
        image,
        orientation=_read_orientation(image),
        height=height,
        width=width,
        channels=channels,
        fit=fit,
        sample=ranges.find_sample(image),
        window=None,
    )


def _to_pixels(
    image: Image.Image,
    *,
    orientation: int,
    height: int,
    width: int,
    channels: int,
    fit: str,
    sample: str,
    window: Range | None,
    half: str = "",
) -> np.ndarray:
    image.load()
    image = _turn(image, orientation)
    if half:
        middle = image.width // 2
        image = image.crop((0, 0, middle, image.height) if half == "left" else (middle, 0, 2 * middle, image.height))
    if fit == "crop":
        image = _crop_to_aspect(image, height, width)
    border = "white" if image.has_transparency_data else "black"
    image = _to_eight_bit(image, channels=channels, sample=sample, window=window)
    image = _pad(image, height, width, border) if fit == "pad" else _resize(image, height, width)
    return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    """Turn an image by its EXIF orientation."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


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


def _to_eight_bit(image: Image.Image, *, channels: int, sample: str, window: Range | None) -> Image.Image:
    """Convert to mode L or RGB, with transparent pixels on white.

    Args:
        image: of any mode.
        channels: 1 or 3.
        sample: the type of its values.
        window: the values that become 0 and 255; None for the full range of the image's type.

    Raises:
        BadImage: if there is no window and the type has no full range.
    """
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        window = window or ranges.FULL_RANGES.get(sample)
        if window is None:
            raise BadImage("floating-point values, whose range is not known; save it with 8 or 16 bits")
        values = np.asarray(image)
        image = Image.fromarray(ranges.scale(values.view(np.uint32) if sample == "uint32" else values, window))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image)
        image = paper
    image = image.convert("L" if channels == 1 else "RGB")
    if sample != "uint8" or window is None:
        return image
    table = ranges.scale(np.arange(256), window).tolist()
    return image.point(table * channels)
