"""Write picture files: PNG, npz and animations."""

from __future__ import annotations

import io
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin, features

from ganzoo_core.data.pixels import annotate, enlarge, grid, to_pillow
from ganzoo_core.errors import UsageError
from ganzoo_core.storage.outputs import write_output

SUFFIXES = (".png", ".npz")
ANIMATION_SUFFIXES = (".gif", ".webp")
FRAME_MILLISECONDS = 60  # milliseconds for which each frame of a walk is shown


def encode_png(picture: Image.Image, facts: dict[str, Any] | None = None) -> bytes:
    """Encode a picture as PNG, with facts as text chunks; the same input gives the same bytes."""
    information = PngImagePlugin.PngInfo()
    for key, value in (facts or {}).items():
        information.add_text(key, str(value))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", pnginfo=information, compress_level=4)  # half the time of 6, 2 % larger
    return buffer.getvalue()


def save_images(
    images: np.ndarray,
    path: Path,
    labels: np.ndarray | None = None,
    *,
    rows: Sequence[str] = (),
    names: Sequence[str] = (),
) -> None:
    """Write images: a grid to FILE.png, the arrays to FILE.npz, or PNG files to a new folder, by the path's ending.

    An existing file is replaced atomically.

    Args:
        images: uint8 [N,H,W,C].
        path: its parent folder is created; a folder for PNG files must be new or empty.
        labels: int64 [N], stored in an npz with the images.
        rows: the name of each row of a grid; all rows have the same number of images.
        names: the names of the PNG files without ending; numbers if there are none, or two are equal.

    Raises:
        UsageError: for another file ending, or a path that cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise UsageError(f"{path} ends in {suffix}; write to FILE.png (a grid), FILE.npz or a folder")
    if suffix == ".png":
        sheet = enlarge(grid(images, columns=len(images) // len(rows) if rows else None))
        save_picture(annotate(sheet, rows=rows), path)
    elif suffix == ".npz":
        save_arrays({"images": images}, path, labels)
    else:
        try:
            _write_pictures(images, path, names if len(set(names)) == len(images) else ())
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}; choose another --out") from None


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture to FILE.png; raises UsageError if the path cannot be written."""
    write_output(path, encode_png(picture), named_by_user=True)


def save_arrays(arrays: Mapping[str, np.ndarray], path: Path, labels: np.ndarray | None = None) -> None:
    """Write arrays by name to FILE.npz, with labels if there are any; raises UsageError as `save_picture` does."""
    buffer = io.BytesIO()
    everything: dict[str, Any] = dict(arrays) if labels is None else {**arrays, "labels": labels}
    np.savez_compressed(buffer, **everything)
    write_output(path, buffer.getvalue(), named_by_user=True)


def check_new_folder(path: Path) -> None:
    """Raise UsageError unless the folder is missing or empty: the pictures of two calls would mix."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} is there already and not empty; choose another --out")


def _write_pictures(images: np.ndarray, path: Path, names: Sequence[str]) -> None:
    """Write a folder of PNG files, which appear only when all of them are complete."""
    check_new_folder(path)
    folder = Path(os.path.realpath(path))  # the path may be `.`, or a link to an empty folder
    is_new = not folder.exists()
    fresh = (folder.parent if is_new else folder) / f".{folder.name}.{secrets.token_hex(4)}.new"
    fresh.mkdir(parents=True)
    try:
        digits = len(str(len(images) - 1))
        for number, image in enumerate(images):
            name = names[number] if names else f"{number:0{digits}d}"
            (fresh / f"{name}.png").write_bytes(encode_png(to_pillow(image)))
        if is_new:
            fresh.rename(folder)
        else:  # keep the existing folder, which may be a mount or have its own permissions
            for picture in sorted(fresh.iterdir()):
                picture.rename(folder / picture.name)
            fresh.rmdir()
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def save_walk(frames: np.ndarray, path: Path, *, rows: Sequence[str] = ()) -> None:
    """Write latent walks: a looped animation to FILE.gif or FILE.webp, or a strip with one walk per row to FILE.png.

    A GIF has 256 colours per frame, so colour images lose some there; grey images and WebP are lossless.

    Args:
        frames: uint8 [F,N,H,W,C], F frames of N walks.
        path: its parent folder is created.
        rows: the name of each row of an animated grid; all rows have the same number of walks.

    Raises:
        UsageError: for another file ending, or a path that cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in (*ANIMATION_SUFFIXES, ".png"):
        raise UsageError(f"{path} ends in {suffix or 'nothing'}; write a walk to FILE.gif, FILE.webp or FILE.png")
    if suffix == ".webp" and not features.check("webp"):
        raise UsageError(f"{path}: this Pillow was built without WebP; write a walk to FILE.gif or FILE.png")
    count, walks = frames.shape[:2]
    buffer = io.BytesIO()
    if suffix == ".png":
        strip = frames.swapaxes(0, 1).reshape(-1, *frames.shape[2:])
        buffer.write(encode_png(annotate(enlarge(grid(strip, columns=count), least=1280), rows=rows)))
    else:
        columns = walks // len(rows) if rows else None
        sheets = [annotate(enlarge(grid(frame, columns), least=320), rows=rows) for frame in frames]
        if suffix == ".gif":
            sheets = [sheet if sheet.mode == "L" else sheet.quantize(256) for sheet in sheets]
        exactly: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {"optimize": False}
        sheets[0].save(
            buffer, suffix[1:], save_all=True, append_images=sheets[1:], duration=FRAME_MILLISECONDS, loop=0, **exactly
        )
    write_output(path, buffer.getvalue(), named_by_user=True)
