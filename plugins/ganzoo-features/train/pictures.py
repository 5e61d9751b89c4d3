"""The pictures that the weights of `bundled` are made from: all may be passed on, and none is of a data set to score.

Each family is an array uint8 [N,64,64,3], the same bytes whenever it is drawn by the same versions.
"""

from __future__ import annotations

import importlib
import importlib.util
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SETS: dict[str, Any] = {
    name: importlib.import_module(module)
    for name, module in {
        "digits": "ganzoo_datasets.digits",
        "shapes": "ganzoo_datasets.shapes",
        "emoji": "ganzoo_emoji.dataset",
    }.items()
}
SIDE = 64  # pixels
CHARACTERS = string.digits + string.ascii_letters
FONTS = {  # package -> folder in it, and font files
    "font_fjallaone": ("files", "FjallaOne-Regular.ttf"),
    "font_hanken_grotesk": ("files", "HankenGrotesk-Light.otf HankenGrotesk-Regular.otf HankenGrotesk-BoldItalic.otf"),
    "font_manrope": ("files", "Manrope-ExtraLight.ttf Manrope-Regular.ttf Manrope-ExtraBold.ttf"),
    "font_rhd": ("files", "RedHatDisplay-Light.ttf RedHatDisplay-Regular.ttf RedHatDisplay-BlackItalic.ttf"),
    "font_roboto": ("files", "Roboto-Thin.ttf Roboto-Regular.ttf Roboto-Italic.ttf Roboto-Black.ttf"),
    "font_source_sans_pro": (
        "files",
        "SourceSansPro-ExtraLight.ttf SourceSansPro-Regular.ttf SourceSansPro-It.ttf SourceSansPro-BlackIt.ttf",
    ),
    "font_source_serif_pro": (
        "files",
        "SourceSerifPro-ExtraLight.ttf SourceSerifPro-Regular.ttf SourceSerifPro-It.ttf SourceSerifPro-BlackIt.ttf",
    ),
    "matplotlib": (
        "mpl-data/fonts/ttf",
        "DejaVuSans.ttf DejaVuSans-Bold.ttf DejaVuSans-Oblique.ttf DejaVuSansMono.ttf DejaVuSerif.ttf "
        "DejaVuSerif-Bold.ttf DejaVuSerif-Italic.ttf STIXGeneral.ttf STIXGeneralBol.ttf STIXGeneralItalic.ttf "
        "cmb10.ttf cmmi10.ttf cmr10.ttf cmss10.ttf cmti10.ttf cmtt10.ttf",
    ),
}
# Of scikit-image's pictures those in the public domain (NASA's, the Brooklyn Museum's coins, and others whose authors
# gave up their rights), or under CC0.
PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png", "grass.png",
    "gravel.png", "hubble_deep_field.jpg", "moon.png", "motorcycle_left.png", "rocket.jpg",
)  # fmt: skip
CROPS_EACH = 90
TEXTURES, LEAVES, SCRIBBLES, SHAPES = 500, 900, 700, 300


def find_fonts() -> list[Path]:
    """The font files."""
    return [
        find_file(package, f"{folder}/{name}") for package, (folder, names) in FONTS.items() for name in names.split()
    ]


def find_file(package: str, name: str) -> Path:
    """A file of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: pip install -r {Path(__file__).with_name('requirements.txt')}")
    return Path(spec.submodule_search_locations[0]) / name


def draw_glyphs() -> tuple[np.ndarray, np.ndarray]:
    """White on black: uint8 [N,64,64,3], a picture for each font and character; and its place in `CHARACTERS`, [N]."""
    pictures, characters = [], []
    for path in find_fonts():
        font = ImageFont.truetype(str(path), 48)
        for place, character in enumerate(CHARACTERS):
            pictures.append(draw_glyph(font, character))
            characters.append(place)
    return np.stack(pictures), np.array(characters)


def draw_glyph(font: ImageFont.FreeTypeFont, character: str, side: int = SIDE) -> np.ndarray:
    """One character white on black with its ink in the middle, as high as four fifths at most: uint8 [side,side,3]."""
    left, top, right, bottom = font.getbbox(character)
    width, height = max(1, int(right - left)), max(1, int(bottom - top))
    canvas = Image.new("L", (width, height))
    ImageDraw.Draw(canvas).text((-left, -top), character, fill=255, font=font)
    scale = 0.8 * side / max(width, height)
    if scale < 1:
        canvas = canvas.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS)
    whole = Image.new("L", (side, side))
    whole.paste(canvas, ((side - canvas.width) // 2, (side - canvas.height) // 2))
    return np.repeat(np.asarray(whole)[..., None], 3, axis=2)


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's handwritten digits, uint8 [N,64,64,3], and which they are, [N]."""
    source = SETS["digits"].dataset(split="all", options={})
    assert source.labels is not None
    large = [_enlarge(Image.fromarray(image[..., 0])) for image in np.asarray(source.images)]
    return np.stack(large), np.asarray(source.labels)


def draw_emoji() -> np.ndarray:
    """OpenMoji's emoji without flags, letters and skin tones."""
    return np.asarray(SETS["emoji"].dataset(argument="", split="all", options={"size": SIDE}).images)


def draw_shapes() -> np.ndarray:
    """The data set `shapes` in colour."""
    return np.asarray(SETS["shapes"].draw("train", 0, SHAPES, size=SIDE, channels=3))


def crop_photographs() -> np.ndarray:
    """Squares of scikit-image's photographs, from 64 pixels to the whole height."""
    random = np.random.Generator(np.random.Philox(1))
    pictures = []
    for name in PHOTOGRAPHS:
        photograph = Image.open(find_file("skimage", f"data/{name}")).convert("RGB")
        for _ in range(CROPS_EACH):
            side = int(np.exp(random.uniform(np.log(SIDE), np.log(min(photograph.size)))))
            left, top = (int(random.integers(0, length - side + 1)) for length in photograph.size)
            pictures.append(_enlarge(photograph.crop((left, top, left + side, top + side))))
    return np.stack(pictures)


def draw_textures() -> np.ndarray:
    """Coloured noise whose power falls with frequency, some of it along one direction: waves, clouds, grain, wood."""
    random = np.random.Generator(np.random.Philox(2))
    across, down = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE))
    pictures = []
    for _ in range(TEXTURES):
        turn, stretch, fall = random.uniform(0, np.pi), np.exp(random.uniform(0, 2.5)), random.uniform(0.4, 2.2)
        along = across * np.cos(turn) + down * np.sin(turn)
        aside = (down * np.cos(turn) - across * np.sin(turn)) * stretch
        frequency = np.hypot(np.hypot(along, aside), 1 / SIDE)
        if random.random() < 0.4:  # a band of frequencies: regular patterns
            frequency = np.abs(frequency - random.uniform(0.06, 0.25)) + 0.01
        noise = np.fft.ifft2(np.fft.fft2(random.standard_normal((3, SIDE, SIDE))) * frequency**-fall).real
        noise = (noise - noise.mean((1, 2), keepdims=True)) / noise.std((1, 2), keepdims=True)
        if random.random() < 0.3:
            noise = np.tanh(3 * noise)
        mixed = np.tensordot(random.normal(0, 30, (3, 3)), noise, 1) + random.uniform(50, 205, (3, 1, 1))
        pictures.append(np.clip(mixed, 0, 255).astype(np.uint8).transpose(1, 2, 0))
    return np.stack(pictures)


def draw_leaves() -> np.ndarray:
    """Shaded figures of all sizes that lie over each other ("dead leaves"): scenes with edges, corners, occlusion."""
    random = np.random.Generator(np.random.Philox(3))
    pictures = []
    for _ in range(LEAVES):
        side = SIDE
        palette = random.uniform(0, 255, (int(random.integers(2, 7)), 3))
        canvas = Image.fromarray(_shade(random, side, palette))
        for _ in range(int(np.exp(random.uniform(np.log(2), np.log(40))))):
            radius = side * min(0.5, 0.06 / random.uniform(0.05, 1) ** 0.8)
            x, y = random.uniform(0, side, 2)
            mask = Image.new("L", (side, side))
            draw = ImageDraw.Draw(mask)
            corners = int(random.integers(2, 7))
            if corners == 2:
                flat = radius * random.uniform(0.3, 1)
                draw.ellipse((x - radius, y - flat, x + radius, y + flat), fill=255)
            else:
                turns = np.sort(random.uniform(0, 2 * np.pi, corners))
                draw.polygon([(x + radius * np.cos(t), y + radius * np.sin(t)) for t in turns], fill=255)
            canvas.paste(Image.fromarray(_shade(random, side, palette)), mask=mask)
        if random.random() < 0.3:
            canvas = canvas.filter(ImageFilter.GaussianBlur(random.uniform(0.5, 1.5)))
        pictures.append(np.asarray(canvas))
    return np.stack(pictures)


def _shade(random: np.random.Generator, side: int, palette: np.ndarray) -> np.ndarray:
    """A colour of the palette that changes across the picture, with grain: uint8 [side,side,3]."""
    first, second = palette[random.integers(len(palette), size=2)] + random.normal(0, 12, (2, 3))
    ramp = np.linspace(0, random.uniform(0, 1), side)
    share = (ramp[:, None] if random.random() < 0.5 else ramp[None, :]) * np.ones((side, side))
    shaded = first + (second - first) * share[..., None]
    if random.random() < 0.4:
        shaded = shaded + random.normal(0, random.uniform(2, 20), (side, side, 1))
    return np.clip(shaded, 0, 255).astype(np.uint8)


def draw_scribbles() -> np.ndarray:
    """One to four curved strokes, white on black, as with a pen."""
    random = np.random.Generator(np.random.Philox(4))
    steps = np.linspace(0, 1, 40)[:, None]
    pictures = []
    for _ in range(SCRIBBLES):
        side = 4 * SIDE
        canvas = Image.new("L", (side, side))
        draw = ImageDraw.Draw(canvas)
        width = side * random.uniform(0.02, 0.12)
        end = random.uniform(0.15, 0.85, 2) * side
        for _ in range(int(random.integers(1, 5))):
            begin = end if random.random() < 0.6 else random.uniform(0.15, 0.85, 2) * side
            first, second, end = random.uniform(0.05, 0.95, (3, 2)) * side
            points = (
                (1 - steps) ** 3 * begin
                + 3 * (1 - steps) ** 2 * steps * first
                + 3 * (1 - steps) * steps**2 * second
                + steps**3 * end
            )
            for x, y in points:
                draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
            draw.line([(x, y) for x, y in points], fill=255, width=round(width))
        pictures.append(_enlarge(canvas))
    return np.stack(pictures)


def _enlarge(picture: Image.Image) -> np.ndarray:
    """At 64 pixels, in RGB: uint8 [64,64,3]."""
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB"))


IN_COLOUR: dict[str, Callable[[], np.ndarray]] = {
    "emoji": draw_emoji,
    "shapes": draw_shapes,
    "photographs": crop_photographs,
    "textures": draw_textures,
    "leaves": draw_leaves,
}
