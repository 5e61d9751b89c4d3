"""Derive a condition from the images themselves, on the fly: their grey, their edges, fewer pixels, or a part of them.

The condition is called `source`. A model that takes it learns the way back: to colourise, to draw from lines, to
enlarge, or to fill in.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from ganzoo_core.api import Images, ImageSource
from ganzoo_core.data import lazy
from ganzoo_core.data.pixels import to_pillow
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value
from ganzoo_core.randomness import philox

DERIVED = "source"  # the name of the condition
FACTORS = (2, 4, 8)
METHODS = "grey, edges, downscale:2 (or 4, 8) or mask:SHARE, with a share between 0 and 1"
LUMA = np.array([19595, 38470, 7471], np.int32)  # of 65,536: ITU-R BT.601 as in Pillow, in whole numbers

Derive = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(uint8 [N,H,W,C], their indices int64 [N]) -> uint8 [N,H,W,C']."""


def parse_method(method: str) -> tuple[str, float]:
    """Split `data.derive` into its name and its number, 0 if it has none.

    Raises:
        UsageError: for anything but `METHODS`.
    """
    name, _, number = method.partition(":")
    if method in ("grey", "edges"):
        return name, 0.0
    if name == "downscale" and number in map(str, FACTORS):
        return name, float(number)
    if name == "mask":
        try:
            share = float(number)
        except ValueError:
            share = 0.0
        if 0 < share < 1:
            return name, share
    nearest = difflib.get_close_matches(name.lower(), ("grey", "edges", "downscale", "mask"), n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest and nearest[0] != name else ""
    raise UsageError(f"data.derive is {format_value(method)}; expected {METHODS}{hint}")


def describe_shape(method: str, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The shape of a derived condition's rows, for images [H,W,C].

    Raises:
        UsageError: if the method is unknown, or takes images of another size.
    """
    name, number = parse_method(method)
    height, width, channels = image_shape
    if name == "downscale" and (height % number or width % number):
        raise UsageError(
            f"data.derive is {method}, and {width}×{height} pixels cannot be divided by {number:.0f}; choose a size "
            "that can, such as --set data.size=32"
        )
    return height, width, {"grey": 1, "edges": 1, "downscale": channels, "mask": channels + 1}[name]


def explain_method(method: str) -> str:
    """Say what a valid `data.derive` makes of each image: `grey of each image`."""
    name, number = parse_method(method)
    return {
        "grey": "grey of each image",
        "edges": "edges of each image",
        "downscale": f"each image at 1/{number:.0f} of its size, enlarged",
        "mask": f"each image without {number:.3g} of its area, and where that is",
    }[name]


class DerivedImages:
    """A condition that is computed from images when it is indexed; see `api.Images`.

    Args:
        images: uint8 [N,H,W,C].
        method: `data.derive`.
        seed: of masks.
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(self, images: Images, method: str, seed: int) -> None:
        height, width, channels = images.shape[1:]
        self.images, self._derive = images, make_derive(method, seed)
        self.shape = (len(images), *describe_shape(method, (height, width, channels)))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """uint8 [N,H,W,C] for a slice, an index array or a mask; [H,W,C] for an integer."""
        indices = np.arange(len(self))[index]
        each = np.atleast_1d(indices)
        derived = self._derive(np.asarray(self.images[each]), each)
        return derived if np.ndim(indices) else derived[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = np.concatenate([self[first : first + len(some)] for first, some in lazy.iterate_chunks(self.images)])
        return whole if dtype is None else whole.astype(dtype)


def add_derived(source: ImageSource, method: str, seed: int) -> ImageSource:
    """The source with the condition `source`, derived from its images as they are.

    Args:
        source: the images as the networks see them.
        method: `data.derive`.
        seed: of masks, together with each image's index.
    """
    return replace(source, conditions={**source.conditions, DERIVED: DerivedImages(source.images, method, seed)})


def make_derive(method: str, seed: int) -> Derive:
    """The function that derives a batch's conditions; each depends on its image alone, and on its index for a mask."""
    name, number = parse_method(method)
    if name == "grey":
        return lambda images, indices: to_grey(images)
    if name == "edges":
        return lambda images, indices: find_edges(images)
    if name == "downscale":
        return lambda images, indices: reduce_and_enlarge(images, int(number))
    return partial(hide_parts, share=number, seed=seed)


def to_grey(images: np.ndarray) -> np.ndarray:
    """uint8 [N,H,W,C] -> [N,H,W,1], the values of Pillow's mode L."""
    return images if images.shape[3] == 1 else ((images @ LUMA[:, None] + 2**15) >> 16).astype(np.uint8)


def find_edges(images: np.ndarray) -> np.ndarray:
    """uint8 [N,H,W,C] -> [N,H,W,1]: white lines on black where the grey values change, by Sobel's operator.

    A border of one pixel is repeated. The length of the gradient is divided by 4, the operator's gain, and doubled:
    a step of half of the grey values is white.
    """
    grey = np.pad(to_grey(images)[..., 0].astype(np.float32), ((0, 0), (1, 1), (1, 1)), mode="edge")
    across, down = grey[:, :, 2:] - grey[:, :, :-2], grey[:, 2:] - grey[:, :-2]
    x = across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
    y = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
    length = np.sqrt(x * x + y * y)  # of whole numbers, so it is the same on every machine
    return np.clip(np.rint(length / 2), 0, 255).astype(np.uint8)[..., None]


def reduce_and_enlarge(images: np.ndarray, factor: int) -> np.ndarray:
    """uint8 [N,H,W,C] -> the same shape: means of `factor`×`factor` pixels, enlarged bicubically by Pillow."""
    count, height, width, channels = images.shape
    blocks = images.reshape(count, height // factor, factor, width // factor, factor, channels)
    small = np.rint(blocks.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)
    return enlarge(small, (height, width))


def enlarge(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarge images uint8 [N,H,W,C] bicubically to a height and width."""
    enlarged = np.empty((len(images), *size, images.shape[3]), np.uint8)
    for image, out in zip(images, enlarged, strict=True):
        picture = to_pillow(image).resize((size[1], size[0]), Image.Resampling.BICUBIC)
        out[...] = np.asarray(picture).reshape(out.shape)
    return enlarged


def hide_parts(images: np.ndarray, indices: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """uint8 [N,H,W,C] -> [N,H,W,C+1]: a rectangle of each is mid-grey, and white in the last channel.

    The rectangle takes about `share` of the picture, its place and shape drawn from (seed, index).
    """
    count, height, width, channels = images.shape
    hidden = np.concatenate([images, np.zeros((count, height, width, 1), np.uint8)], axis=3)
    area = share * height * width
    fewest = max(1, math.ceil(area / width))
    most = max(fewest, min(height, int(area)))
    for index, out in zip(indices.tolist(), hidden, strict=True):
        rng = philox(seed, "mask", index)
        rows = int(rng.integers(fewest, most + 1))
        columns = min(width, max(1, round(area / rows)))
        top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
        out[top : top + rows, left : left + columns, :channels] = 128
        out[top : top + rows, left : left + columns, channels] = 255
    return hidden
