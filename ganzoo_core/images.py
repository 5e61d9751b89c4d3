"""Pictures: uint8 to [-1, 1] and back, grids, PNG and npz."""

from __future__ import annotations

import io
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin, features

from ganzoo_core.api import UsageError
from ganzoo_core.outputs import write_output

SUFFIXES = (".png", ".npz")
MOVING = (".gif", ".webp")
PACE = 60  # milliseconds that each picture of a walk stands
LETTERS, MARGIN = 14, 6  # pixels: the height of words beside a grid, and the room around them


def preprocess(images: np.ndarray) -> np.ndarray:
    """uint8 0…255 -> float32 in [-1, 1]; `deprocess` gives every one of the 256 values back exactly."""
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1)


def deprocess(images: np.ndarray) -> np.ndarray:
    """Floats in [-1, 1] -> uint8 0…255, rounded to the nearest; what lies outside is clipped."""
    with np.errstate(invalid="ignore"):  # of a network that overflows: any grey will do
        return np.clip(np.rint((images + np.float32(1)) * np.float32(127.5)), 0, 255).astype(np.uint8)


def resize(images: np.ndarray, target: tuple[int, int]) -> np.ndarray:
    """Resize with antialiasing (Lanczos), after a centre crop to the target's aspect.

    Args:
        images: uint8 [N,H,W,C].
        target: height and width in pixels.

    Returns:
        uint8 [N, height, width, C].
    """
    height, width = images.shape[1:3]
    scale = min(height / target[0], width / target[1])
    crop_height, crop_width = target[0] * scale, target[1] * scale
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    box = (left, top, left + crop_width, top + crop_height)
    resized = np.empty((len(images), *target, images.shape[3]), dtype=np.uint8)
    for image, out in zip(images, resized, strict=True):
        picture = to_pillow(image).resize((target[1], target[0]), Image.Resampling.LANCZOS, box=box)
        out[...] = np.asarray(picture).reshape(out.shape)
    return resized


def to_pillow(image: np.ndarray) -> Image.Image:
    """uint8 [H,W,C] with one or three channels -> a Pillow image."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def grid(images: np.ndarray, columns: int | None = None, *, gap: int = 2) -> Image.Image:
    """Many pictures in one, row by row.

    Args:
        images: uint8 [N,H,W,C] with one or three channels.
        columns: pictures a row; as near to a square as can be without it.
        gap: pixels between them.

    Returns:
        A Pillow image, which a notebook shows.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or len(images) == 0:
        raise UsageError(f"a grid is made of uint8 images [N,H,W,C]; found {images.dtype} {list(images.shape)}")
    count, height, width, channels = images.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), dtype=np.uint8)
    for place, image in enumerate(images):
        top, left = (place // columns) * (height + gap), (place % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return to_pillow(sheet)


def enlarged(picture: Image.Image, *, least: int = 640) -> Image.Image:
    """A small picture at a whole multiple of its size, so that 28-pixel digits can be seen on a screen."""
    factor = max(1, least // max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def annotated(
    picture: Image.Image, *, rows: Sequence[str] = (), halves: Sequence[str] = (), caption: str = ""
) -> Image.Image:
    """A grid with words around it.

    Args:
        picture: a grid, enlarged.
        rows: the name of each row, to its left.
        halves: the name of each part, above it; the parts share the width evenly.
        caption: one line below.
    """
    font = ImageFont.load_default(LETTERS)
    left = int(max((font.getlength(name) for name in rows), default=-2 * MARGIN)) + 2 * MARGIN
    top, bottom = ((LETTERS + 2 * MARGIN) * bool(words) for words in (halves, caption))
    width = max(left + picture.width, int(font.getlength(caption)) + 2 * MARGIN if caption else 0)
    sheet = Image.new(picture.mode, (width, top + picture.height + bottom))
    sheet.paste(picture, (left, top))
    draw = ImageDraw.Draw(sheet)
    for place, name in enumerate(rows):
        middle = top + (place + 0.5) * picture.height / len(rows)
        draw.text((left - MARGIN, middle), name, fill="white", font=font, anchor="rm")
    for place, name in enumerate(halves):
        middle = left + (place + 0.5) * picture.width / len(halves)
        draw.text((middle, top / 2), name, fill="white", font=font, anchor="mm")
    if caption:
        draw.text((left + MARGIN, sheet.height - bottom / 2), caption, fill="white", font=font, anchor="lm")
    return sheet


def png_bytes(picture: Image.Image, facts: dict[str, Any] | None = None) -> bytes:
    """The PNG file of a picture, the same bytes for the same picture, with facts as text chunks."""
    information = PngImagePlugin.PngInfo()
    for key, value in (facts or {}).items():
        information.add_text(key, str(value))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", pnginfo=information, compress_level=4)  # half the time of 6, 2 % larger
    return buffer.getvalue()


def save(images: np.ndarray, path: Path, labels: np.ndarray | None = None, *, rows: Sequence[str] = ()) -> None:
    """Write images where the path says: FILE.png a grid, FILE.npz the arrays, else a new folder of PNG files.

    What is there is replaced at once by the whole file, or not at all.

    Args:
        images: uint8 [N,H,W,C].
        path: its folder is made; one that is to hold PNG files must be new or empty.
        labels: int64 [N]; stored in an npz beside the images.
        rows: names of equally many images each, which make a row of a grid.

    Raises:
        UsageError: for a file ending that is neither, or a place that cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise UsageError(f"{path} ends in {suffix}; write to FILE.png (a grid), FILE.npz or a folder")
    if suffix == ".png":
        sheet = enlarged(grid(images, columns=len(images) // len(rows) if rows else None))
        write_output(path, png_bytes(annotated(sheet, rows=rows)), named=True)
    elif suffix == ".npz":
        arrays = {"images": images} if labels is None else {"images": images, "labels": labels}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_output(path, buffer.getvalue(), named=True)
    else:
        try:
            _write_pictures(images, path)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}; choose another --out") from None


def check_new_folder(path: Path) -> None:
    """Raise UsageError for a folder of pictures that is there and not empty: two calls would mix in it."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} is there already and not empty; choose another --out")


def _write_pictures(images: np.ndarray, path: Path) -> None:
    """A folder of PNG files, which is there when all of them are."""
    check_new_folder(path)
    place = Path(os.path.realpath(path))  # it may be said as `.`, or as a link to an empty folder
    is_new = not place.exists()
    fresh = (place.parent if is_new else place) / f".{place.name}.{secrets.token_hex(4)}.new"
    fresh.mkdir(parents=True)
    try:
        digits = len(str(len(images) - 1))
        for number, image in enumerate(images):
            (fresh / f"{number:0{digits}d}.png").write_bytes(png_bytes(to_pillow(image)))
        if is_new:
            fresh.rename(place)
        else:  # it stays the folder that it was: a mount, perhaps, or one with rights of its own
            for picture in sorted(fresh.iterdir()):
                picture.rename(place / picture.name)
            fresh.rmdir()
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def save_walk(frames: np.ndarray, path: Path, *, rows: Sequence[str] = ()) -> None:
    """Write walks where the path says: FILE.gif or FILE.webp moving and looped, FILE.png a strip with a walk a row.

    A GIF has 256 colours a picture, so grey images and all of WebP are as they were drawn.

    Args:
        frames: uint8 [F,N,H,W,C], N walks.
        path: its folder is made.
        rows: names of equally many walks each, which make a row of a moving grid.

    Raises:
        UsageError: for another file ending, or a place that cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in (*MOVING, ".png"):
        raise UsageError(f"{path} ends in {suffix or 'nothing'}; write a walk to FILE.gif, FILE.webp or FILE.png")
    if suffix == ".webp" and not features.check("webp"):
        raise UsageError(f"{path}: this Pillow was built without WebP; write a walk to FILE.gif or FILE.png")
    count, walks = frames.shape[:2]
    buffer = io.BytesIO()
    if suffix == ".png":
        strip = frames.swapaxes(0, 1).reshape(-1, *frames.shape[2:])
        buffer.write(png_bytes(annotated(enlarged(grid(strip, columns=count), least=1280), rows=rows)))
    else:
        columns = walks // len(rows) if rows else None
        sheets = [annotated(enlarged(grid(frame, columns), least=320), rows=rows) for frame in frames]
        if suffix == ".gif":
            sheets = [sheet if sheet.mode == "L" else sheet.quantize(256) for sheet in sheets]
        exactly: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {"optimize": False}
        sheets[0].save(buffer, suffix[1:], save_all=True, append_images=sheets[1:], duration=PACE, loop=0, **exactly)
    write_output(path, buffer.getvalue(), named=True)
