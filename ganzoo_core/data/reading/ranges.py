"""Ranges of values: which values of an image become black and white, for images of more than 8 bits."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo_core.data.reading.formats import BadImage, open_image
from ganzoo_core.data.reading.scan import ImageFile
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value

if TYPE_CHECKING:
    from PIL import Image

Range = tuple[float, float]
FULL_RANGES: Mapping[str, Range] = {
    "uint8": (0, 255),
    "uint16": (0, 65_535),
    "int16": (-32_768, 32_767),
    "uint32": (0, 2**32 - 1),
    "int32": (-(2**31), 2**31 - 1),
}
DARK = 64  # images without a value from here on are nearly black
DEEP_GREY = "LA;16B"  # Pillow's name of the layout of PNG's grey and transparency with 16 bits each
_BITS, _SAMPLE_FORMAT = 258, 339  # tags of TIFF


def parse_range(text: str) -> Range | str:
    """Parse `data.range`: `auto`, `full`, or `LO:HI` as two numbers.

    Raises:
        UsageError: if it is none of these.
    """
    if text in ("auto", "full"):
        return text
    try:
        low, high = map(float, str(text).split(":"))
    except ValueError:
        low, high = 1, 0
    if not -np.inf < low < high < np.inf:
        raise UsageError(
            f"data.range is {format_value(text)}; expected auto, full, or the values of black and white as LO:HI, such "
            "as 0:4095"
        )
    return low, high


def find_sample(image: Image.Image) -> str:
    """The type of an image's values, as numpy names it: `uint8`, `uint16`, `int16`, `uint32`, `int32` or `float32`."""
    if image.mode == "F":
        return "float32"
    if image.mode.startswith("I;16") or find_deep_mode(image):
        return "uint16"
    if image.mode != "I":
        return "uint8"
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None:
        return "uint16"
    kind = {1: "uint", 2: "int"}.get(tags.get(_SAMPLE_FORMAT, (1,))[0], "int")
    return f"{kind}{16 if tags.get(_BITS, (32,))[0] == 16 else 32}"


def find_deep_mode(image: Image.Image) -> str | None:
    """Pillow's name of the layout of an image with 16 bits a channel, of which it keeps 8; None for others.

    It opens one of grey and transparency as RGBA.
    """
    tiles = getattr(image, "tile", None)
    if image.mode not in ("RGB", "RGBA") or not tiles:
        return None
    parameters = tiles[0][3]
    layout = parameters if isinstance(parameters, str) else parameters[0] if parameters else ""
    return layout if str(layout).startswith((f"{image.mode};16", DEEP_GREY)) else None


def read_values(file: ImageFile, image: Image.Image) -> np.ndarray:
    """All values of an image: [H,W] of its own type, or uint16 [H,W,C] of one in RGB or RGBA with 16 bits a channel.

    Pillow keeps the higher byte of such 16 bits. The lower one is what it keeps when told the other byte order; of grey
    and transparency all four bytes of a pixel are what it takes for RGBA of 8 bits.
    """
    deep_mode, sample = find_deep_mode(image), find_sample(image)
    if not deep_mode:
        values = np.asarray(image)
        return values.view(np.uint32) if sample == "uint32" else values
    if deep_mode == DEEP_GREY:
        pairs = _read_as(file, image, "RGBA").astype(np.uint16)
        grey, alpha = pairs[..., 0] << 8 | pairs[..., 1], pairs[..., 2] << 8 | pairs[..., 3]
        return np.stack([grey, grey, grey, alpha], axis=-1)
    order = {"N": sys.byteorder[0].upper()}.get(deep_mode[-1], deep_mode[-1])
    low = _read_as(file, image, deep_mode[:-1] + {"B": "L", "L": "B"}[order]).astype(np.uint16)
    return np.asarray(image).astype(np.uint16) << 8 | low


def _read_as(file: ImageFile, image: Image.Image, layout: str) -> np.ndarray:
    """The pixels of a file's frame at which `image` is, decoded as if they had another layout."""
    with open_image(file) as other:
        if image.tell():
            other.seek(image.tell())
        source: Any = other
        source.tile = [
            tile._replace(args=layout if isinstance(tile.args, str) else (layout, *tile.args[1:]))
            for tile in source.tile
        ]
        return np.asarray(other)


def measure_extremes(file: ImageFile, image: Image.Image) -> Range:
    """The least and the greatest value of an image; of a colour image without its transparency."""
    values = read_values(file, image)
    values = values[..., :3] if values.ndim == 3 else values
    finite = values if values.dtype.kind != "f" else values[np.isfinite(values)]
    if not finite.size:
        raise BadImage("it has no finite value")
    return float(finite.min()), float(finite.max())


def scale(values: np.ndarray, window: Range) -> np.ndarray:
    """Scale values to uint8: those of `window` to 0 and 255, others clipped; NaN becomes 0."""
    low, high = window
    precision = np.float32 if values.dtype == np.uint16 else np.float64
    scaled: Any = values.astype(precision)
    scaled -= precision(low)
    scaled *= precision(255 / (high - low))
    np.nan_to_num(scaled, copy=False, nan=0, posinf=255, neginf=0)
    return np.asarray(np.clip(np.rint(scaled, out=scaled), 0, 255, out=scaled).astype(np.uint8))


def check_full(samples: Iterable[str]) -> None:
    """Raise UsageError if one of these types has no full range."""
    if any(sample not in FULL_RANGES for sample in samples):
        raise UsageError("data.range=full: floating-point images have no full range; say --set data.range=LO:HI")


def choose_windows(setting: Range | str, extremes: Mapping[str, Sequence[Range]]) -> tuple[dict[str, Range], list[str]]:
    """Choose one range for all images of a type, and explain it.

    `auto` takes the bits that the brightest value needs for whole numbers without negative ones, so that 12 bits in 16
    are seen as 12; for others 0 to 1, -1 to 1 or 0 to 255 if the values lie there (0 to 255 only if it leaves one that
    is not nearly black), else the least and greatest value.

    Args:
        setting: of `parse_range`; `full` only if `check_full` allows it.
        extremes: by type, the least and greatest value of each image that is not of 8 bits.
    """
    if not isinstance(setting, str):
        return dict.fromkeys((*FULL_RANGES, "float32"), setting), []
    windows: dict[str, Range] = {}
    notes = []
    for sample, pairs in sorted(extremes.items()):
        low, high = min(low for low, _ in pairs), max(high for _, high in pairs)
        full = FULL_RANGES.get(sample)
        window = full if setting == "full" and full else _choose_window(low, high, sample)
        windows[sample] = window
        line = f"{sample} images with values from {_format(low)} to {_format(high)}"
        line += "" if full is None else f" (the type's end at {_format(full[1])})"
        line += f": {_format(window[0])} is shown as black, {_format(window[1])} as white"
        notes.append(f"{line}; data.range=LO:HI sets this")
    return windows, notes


def _choose_window(low: float, high: float, sample: str) -> Range:
    if sample == "float32":
        usual: tuple[Range, ...] = ((0, 1), (-1, 1)) if high > 0 else ()
        usual += ((0, 255),) if high >= DARK else ()
        fitting = [window for window in usual if window[0] <= low and high <= window[1]]
        return fitting[0] if fitting else (low, high if high > low else low + 1)
    if low < 0:
        return low, max(high, low + 1)
    return 0, (1 << max(int(high), 1).bit_length()) - 1


def _format(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"
