"""Convert pixels from uint8 to [-1, 1] and back, resize images, and draw grids with captions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import quote_name

FONT_SIZE, MARGIN = 14, 6  # pixels: the size of captions around a grid, and the margin around them
MAX_ROW_NAME = 40  # characters of a class's name beside a grid


def preprocess(images: np.ndarray) -> np.ndarray:
    """uint8 0…255 -> float32 in [-1, 1]; `deprocess` restores each of the 256 values exactly."""
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1)


def deprocess(images: np.ndarray) -> np.ndarray:
    """Floats in [-1, 1] -> uint8 0…255, rounded to the nearest; values outside are clipped."""
    with np.errstate(invalid="ignore"):  # NaN from a diverged network: any grey will do
        return np.clip(np.rint((images + np.float32(1)) * np.float32(127.5)), 0, 255).astype(np.uint8)


def resize(images: np.ndarray, target: tuple[int, int], *, crop: bool = True) -> np.ndarray:
    """Resize with antialiasing (Lanczos), after a centre crop to the target's aspect.

    Args:
        images: uint8 [N,H,W,C].
        target: height and width in pixels.
        crop: whether to crop before; without it images of another aspect are stretched.

    Returns:
        uint8 [N, height, width, C].
    """
    height, width = images.shape[1:3]
    scale = min(height / target[0], width / target[1])
    crop_height, crop_width = (target[0] * scale, target[1] * scale) if crop else (height, width)
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    box = (left, top, left + crop_width, top + crop_height)
    if images.shape[3] not in (1, 3):  # Pillow takes two and four channels for transparency, which it would mix in
        channels = [resize(images[..., [channel]], target, crop=crop) for channel in range(images.shape[3])]
        return np.concatenate(channels, axis=3)
    resized = np.empty((len(images), *target, images.shape[3]), dtype=np.uint8)
    for image, out in zip(images, resized, strict=True):
        picture = to_pillow(image).resize((target[1], target[0]), Image.Resampling.LANCZOS, box=box)
        out[...] = np.asarray(picture).reshape(out.shape)
    return resized


def to_pillow(image: np.ndarray) -> Image.Image:
    """uint8 [H,W,C] with one or three channels -> a Pillow image."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def grid(images: np.ndarray, columns: int | None = None, *, gap: int = 2) -> Image.Image:
    """Arrange images in a grid, row by row.

    Args:
        images: uint8 [N,H,W,C] with one or three channels.
        columns: images per row; None for a grid as square as possible.
        gap: pixels between images.

    Returns:
        A Pillow image, which a notebook displays.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or len(images) == 0:
        raise UsageError(f"a grid is made of uint8 images [N,H,W,C]; found {images.dtype} {list(images.shape)}")
    count, height, width, channels = images.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return to_pillow(sheet)


def enlarge(picture: Image.Image, *, least: int = 640) -> Image.Image:
    """Enlarge a small picture by a whole factor to about `least` pixels, so that 28-pixel digits are visible."""
    factor = max(1, least // max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def annotate(
    picture: Image.Image, *, rows: Sequence[str] = (), columns: Sequence[str] = (), caption: str = ""
) -> Image.Image:
    """Write row names, column names and a caption around a grid.

    Args:
        picture: a grid, already enlarged.
        rows: the name of each row, to its left; long ones are cut.
        columns: the name of each column, above it; the columns share the width evenly.
        caption: one line below the grid.
    """
    font = ImageFont.load_default(FONT_SIZE)
    rows = [quote_name(name, MAX_ROW_NAME) for name in rows]
    left = int(max((font.getlength(name) for name in rows), default=-2 * MARGIN)) + 2 * MARGIN
    top, bottom = ((FONT_SIZE + 2 * MARGIN) * bool(words) for words in (columns, caption))
    width = max(left + picture.width, int(font.getlength(caption)) + 2 * MARGIN if caption else 0)
    sheet = Image.new(picture.mode, (width, top + picture.height + bottom))
    sheet.paste(picture, (left, top))
    draw = ImageDraw.Draw(sheet)
    for index, name in enumerate(rows):
        middle = top + (index + 0.5) * picture.height / len(rows)
        draw.text((left - MARGIN, middle), name, fill="white", font=font, anchor="rm")
    for index, name in enumerate(columns):
        middle = left + (index + 0.5) * picture.width / len(columns)
        draw.text((middle, top / 2), name, fill="white", font=font, anchor="mm")
    if caption:
        draw.text((left + MARGIN, sheet.height - bottom / 2), caption, fill="white", font=font, anchor="lm")
    return sheet
