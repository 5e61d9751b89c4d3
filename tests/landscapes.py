"""A folder of landscapes, drawn: what a person's few photographs are to the tests and the benchmarks.

    python tests/landscapes.py FOLDER --count 300
    python tests/landscapes.py FOLDER --by-hour        # a folder a class: day, dusk, night, winter

Every picture has a sky that fades, a sun or a moon, two or three ranges of hills, and often trees or a lake; colours
follow the time of day. They are JPEG of several sizes and of both orientations, as a camera leaves them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZES = ((400, 300), (300, 400), (480, 320), (360, 360))  # width, height
HOURS = {  # colours of the top and the foot of the sky, the sun, and the nearest and the farthest hills
    "day": ((70, 130, 210), (200, 225, 245), (255, 250, 220), (50, 110, 50), (140, 170, 190)),
    "dusk": ((60, 50, 110), (250, 150, 90), (255, 220, 140), (50, 40, 50), (150, 90, 110)),
    "night": ((8, 10, 35), (40, 50, 95), (235, 235, 225), (10, 20, 25), (45, 55, 85)),
    "winter": ((150, 180, 205), (235, 240, 245), (255, 255, 245), (235, 240, 245), (165, 185, 205)),
}


def draw(number: int) -> tuple[Image.Image, str]:
    """The landscape of that number, always the same, and its hour."""
    random = np.random.Generator(np.random.Philox([20140610, number]))
    width, height = SIZES[random.integers(len(SIZES))]
    hour = list(HOURS)[random.integers(len(HOURS))]
    top, foot, sun, near, far = (np.array(colour, float) for colour in HOURS[hour])
    horizon = int(height * random.uniform(0.45, 0.65))
    fade = np.linspace(0, 1, height)[:, None] ** random.uniform(0.7, 1.4)
    sky = np.repeat((top + (foot - top) * fade)[:, None], width, axis=1)
    picture = Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8))
    canvas = ImageDraw.Draw(picture)
    x, y = random.uniform(0.1, 0.9) * width, random.uniform(0.3, 0.95) * horizon
    radius = random.uniform(0.03, 0.08) * width
    canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_to_ints(sun))
    ranges = int(random.integers(2, 4))
    for index in range(ranges):
        share = (index + 1) / ranges
        colour = far + (near - far) * share + random.normal(0, 6, 3)
        base = horizon + (height - horizon) * index / ranges
        ridge = _draw_ridge(random, width, base, height * random.uniform(0.05, 0.16))
        canvas.polygon([(0, height), *enumerate(ridge), (width - 1, height)], fill=_to_ints(colour))
    if random.random() < 0.4:
        edge = horizon + 0.6 * (height - horizon)
        canvas.rectangle((0, edge, width, height), fill=_to_ints(0.6 * foot + 0.4 * top))
    for _ in range(int(random.integers(0, 9))):
        foot_x, foot_y = random.uniform(0, width), random.uniform(0.75, 0.97) * height
        size = height * random.uniform(0.05, 0.14)
        triangle = [(foot_x - size / 3, foot_y), (foot_x + size / 3, foot_y), (foot_x, foot_y - size)]
        canvas.polygon(triangle, fill=_to_ints(near * 0.6))
    grain = random.normal(0, 4, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)), hour


def _draw_ridge(random: np.random.Generator, width: int, base: float, height: float) -> np.ndarray:
    """The height of each column of a range of hills, [W]."""
    x = np.linspace(0, 2 * np.pi, width)
    waves = sum(np.sin(x * k * random.uniform(0.6, 1.4) + random.uniform(0, 7)) / k for k in (1, 2, 4, 8))
    return base - height * np.asarray(waves) / 2


def _to_ints(colour: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in np.clip(colour, 0, 255))
    return red, green, blue


def write(folder: Path, count: int, *, by_hour: bool = False) -> None:
    """Write so many landscapes into a folder, flat or in a folder for each hour."""
    for number in range(count):
        picture, hour = draw(number)
        path = (folder / hour if by_hour else folder) / f"landscape-{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=92)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--by-hour", action="store_true", help="a folder for each hour of the day, which is a class")
    given = parser.parse_args()
    write(given.folder, given.count, by_hour=given.by_hour)
