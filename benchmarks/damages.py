"""Sets of pictures, and ways to damage them, for `features.py`."""

from __future__ import annotations

import gzip
import importlib.util
import io
import string
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps
from scipy import ndimage
from sklearn.cluster import KMeans

COUNT = 400  # pictures of a set, at most
TRAINED = 4000  # pictures that a classifier learns from, at most
FONTS = ("font_amatic_sc", "font_caladea", "font_fredoka_one", "font_intuitive", "font_lato")


@dataclass
class PictureSet:
    """Pictures uint8 [N,H,W,C] to damage; and others with labels, from which a classifier may learn."""

    images: np.ndarray
    labels: np.ndarray | None = None
    others: tuple[np.ndarray, np.ndarray] | None = None


def list_sets(root: Path, fonts: Path | None) -> dict[str, Callable[[], PictureSet]]:
    """What reads or draws each set."""
    sets: dict[str, Callable[[], PictureSet]] = {
        "CIFAR-10": lambda: read_cifar(root / "cifar10_jpg_10k.tar.gz"),
        "MNIST": lambda: read_mnist(root / "MNIST" / "raw"),
        "Fashion-MNIST": lambda: read_mnist(root / "fashion_mnist_sample"),
        "landscapes": lambda: PictureSet(draw_landscapes(300)),
        "stacked MNIST": lambda: PictureSet(stack_digits(read_mnist(root / "MNIST" / "raw"))),
        "crops of two photographs": lambda: PictureSet(crop_photographs()),
        "faces": lambda: PictureSet(np.stack([draw_face(number) for number in range(COUNT)])),
    }
    if fonts is not None:
        sets["glyphs"] = lambda: PictureSet(draw_glyphs(fonts))
    return sets


def write_pictures(pictures: PictureSet, folder: Path) -> Path:
    """Write all pictures of a set as PNG, those with labels into a folder for each class; return `folder`."""
    images, labels = list(pictures.images), pictures.labels
    if pictures.others is not None and labels is not None:
        images += list(pictures.others[0])
        labels = np.concatenate([labels, pictures.others[1]])
    for number, image in enumerate(images):
        place = folder if labels is None else folder / f"class {labels[number]}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze()).save(place / f"{number:05}.png")
    return folder


def choose(images: np.ndarray, labels: np.ndarray) -> PictureSet:
    """Some pictures to damage and others to learn from."""
    order = np.random.Generator(np.random.Philox(0)).permutation(len(images))
    count = min(COUNT, len(images) // 2)
    first, others = order[:count], order[count : count + TRAINED]
    return PictureSet(images[first], labels[first], (images[others], labels[others]))


def read_cifar(path: Path) -> PictureSet:
    """Photographs in a folder for each class, in an archive."""
    images, classes = [], []
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith((".jpg", ".png")) else None
            if file is not None:
                images.append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")))
                classes.append(Path(member.name).parent.name)
    return choose(np.stack(images), np.unique(classes, return_inverse=True)[1])


def read_mnist(folder: Path) -> PictureSet:
    """All in IDX files: the test part to learn from and to damage, and the train part where that is small."""
    images, labels = [], []
    for part in ("t10k", "train"):
        for kind, found, offset in (("images-idx3", images, 16), ("labels-idx1", labels, 8)):
            path = next(folder.glob(f"{part}-{kind}-ubyte*"))
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            found.append(np.frombuffer(content, np.uint8, offset=offset)[: 10_000 * (784 if offset == 16 else 1)])
    return choose(np.concatenate(images).reshape(-1, 28, 28, 1), np.concatenate(labels).astype(np.int64))


def stack_digits(source: PictureSet) -> np.ndarray:
    """Three digits as the three colours of a picture."""
    assert source.others is not None
    digits = source.others[0][: 3 * COUNT, ..., 0]
    return digits.reshape(3, -1, 28, 28).transpose(1, 2, 3, 0)


def draw_landscapes(count: int) -> np.ndarray:
    """Those of the tests, at 64 pixels."""
    path = Path(__file__).parents[1] / "tests" / "landscapes.py"
    spec = importlib.util.spec_from_file_location("landscapes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drawn = [module.draw(number)[0] for number in range(count)]
    return np.stack([np.asarray(ImageOps.fit(picture, (64, 64), Image.Resampling.LANCZOS)) for picture in drawn])


def crop_photographs() -> np.ndarray:
    """Squares of scikit-learn's photographs of a temple and a flower, at 64 pixels."""
    from sklearn.datasets import load_sample_images

    random = np.random.Generator(np.random.Philox(1))
    pictures = []
    for photograph in map(Image.fromarray, load_sample_images().images):
        for _ in range(COUNT // 2):
            side = int(random.integers(64, 200))
            left, top = (int(random.integers(0, length - side)) for length in photograph.size)
            pictures.append(photograph.crop((left, top, left + side, top + side)).resize((64, 64)))
    return np.stack([np.asarray(pictures[place]) for place in random.permutation(len(pictures))])


def draw_glyphs(folder: Path) -> np.ndarray:
    """Letters and digits of fonts, black on white, at 32 pixels."""
    pictures = []
    for path in sorted(file for package in FONTS for file in (folder / package / "files").glob("*.ttf")):
        font = ImageFont.truetype(str(path), 26)
        for character in string.digits + string.ascii_letters:
            canvas = Image.new("L", (32, 32), 255)
            ImageDraw.Draw(canvas).text((16, 16), character, fill=0, font=font, anchor="mm")
            pictures.append(np.asarray(canvas)[..., None])
    order = np.random.Generator(np.random.Philox(2)).permutation(len(pictures))[:COUNT]
    return np.stack(pictures)[order]


def draw_face(number: int) -> np.ndarray:
    """A cartoon face on a plain ground, with hair, eyes, nose and mouth: uint8 [48,48,3]."""
    random = np.random.Generator(np.random.Philox([7, number]))
    canvas = Image.new("RGB", (192, 192), tuple(random.integers(60, 256, 3).tolist()))
    draw = ImageDraw.Draw(canvas)
    x, y = random.normal(96, 6, 2)
    wide, high = random.normal(55, 6), random.normal(70, 6)
    skin = np.array([random.uniform(90, 250)] * 3) * (1, 0.8, 0.65)
    hair = tuple((np.array([1, 0.7, 0.4]) * random.uniform(10, 220)).astype(int).tolist())
    fringe = random.uniform(0.3, 0.7)
    draw.ellipse((x - wide - 10, y - high - 14, x + wide + 10, y + high * random.uniform(0.2, 1.1)), fill=hair)
    draw.ellipse((x - wide, y - high * fringe, x + wide, y + high), fill=tuple(skin.astype(int).tolist()))
    apart, size, up = wide * random.uniform(0.35, 0.5), random.uniform(6, 12), high * random.uniform(0.0, 0.2)
    for side in (-1, 1):
        eye = x + side * apart
        draw.ellipse((eye - size, y - up - size * 0.7, eye + size, y - up + size * 0.7), fill="white")
        draw.ellipse((eye - size / 2, y - up - size / 2, eye + size / 2, y - up + size / 2), fill="black")
    draw.line((x, y, x - 6, y + 18, x + 4, y + 20), fill=tuple((skin * 0.7).astype(int).tolist()), width=4)
    smile, mouth = random.uniform(-10, 24), wide * random.uniform(0.3, 0.6)
    curve = [(x + mouth * t, y + high * 0.55 + smile * (1 - t * t)) for t in np.linspace(-1, 1, 15)]
    draw.line(curve, fill=(170, 40, 50), width=int(random.integers(3, 9)))
    return np.asarray(canvas.resize((48, 48), Image.Resampling.LANCZOS))


# Damages of each picture: images uint8 [N,H,W,C] and a strength from 1 to 5 -> damaged images.


def blur(images: np.ndarray, strength: int) -> np.ndarray:
    sigma = images.shape[1] * (0.01, 0.017, 0.027, 0.04, 0.06)[strength - 1]
    return ndimage.gaussian_filter(images, (0, sigma, sigma, 0), mode="nearest")


def add_noise(images: np.ndarray, strength: int) -> np.ndarray:
    noise = _random().standard_normal(images.shape) * (4, 8, 14, 24, 40)[strength - 1]
    return _to_bytes(images + noise)


def shift_colours(images: np.ndarray, strength: int) -> np.ndarray:
    """Of grey pictures: less contrast."""
    share = (0.04, 0.08, 0.14, 0.22, 0.35)[strength - 1]
    if images.shape[3] == 1:
        return _to_bytes(images * (1 - share) + 128 * share)
    return _to_bytes((1 - share) * images + share * np.roll(images, 1, axis=3))


def add_ghosts(images: np.ndarray, strength: int) -> np.ndarray:
    share = (0.08, 0.15, 0.23, 0.33, 0.5)[strength - 1]
    return _to_bytes((1 - share) * images + share * np.roll(images, 1, axis=0))


def warp(images: np.ndarray, strength: int) -> np.ndarray:
    """By cubic splines, since linear interpolation blurs more than the least warps change."""
    count, height, width, channels = images.shape
    reach = height * (0.012, 0.022, 0.035, 0.05, 0.075)[strength - 1]
    field = ndimage.gaussian_filter(_random().standard_normal((count, 2, height, width)), (0, 0, height / 8, width / 8))
    field *= reach / field.std()
    warped = np.empty_like(images)
    rows, columns = np.mgrid[:height, :width]
    for number in range(count):
        places = [rows + field[number, 0], columns + field[number, 1]]
        for channel in range(channels):
            plane = images[number, ..., channel]
            warped[number, ..., channel] = ndimage.map_coordinates(plane, places, order=3, mode="nearest")
    return warped


def shuffle_patches(images: np.ndarray, strength: int) -> np.ndarray:
    """Of the sixteen patches of a 4×4 grid so many change places, in a circle."""
    moved = (2, 3, 5, 9, 16)[strength - 1]
    count, height, width, channels = images.shape
    tall, wide = height // 4, width // 4
    grid = images[:, : 4 * tall, : 4 * wide].reshape(count, 4, tall, 4, wide, channels).swapaxes(2, 3)
    patches = grid.reshape(count, 16, tall, wide, channels).copy()
    random = _random()
    for number in range(count):
        places = random.permutation(16)[:moved]
        patches[number, places] = patches[number, np.roll(places, 1)]
    shuffled = images.copy()
    put = patches.reshape(count, 4, 4, tall, wide, channels).swapaxes(2, 3)
    shuffled[:, : 4 * tall, : 4 * wide] = put.reshape(count, 4 * tall, 4 * wide, channels)
    return shuffled


def _random() -> np.random.Generator:
    return np.random.Generator(np.random.Philox(11))


def _to_bytes(images: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


PICTURE_DAMAGES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "blur": blur,
    "noise": add_noise,
    "colours shifted": shift_colours,
    "ghosts": add_ghosts,
    "warps": warp,
    "shuffled patches": shuffle_patches,
}


# Damages of a set: the modes of its pictures [N] and a strength -> the places of those that are left, or repeated.


def miss_modes(modes: np.ndarray, strength: int) -> np.ndarray:
    """Of ten modes one to eight are missing."""
    return np.flatnonzero(modes >= (1, 2, 3, 5, 8)[strength - 1] * (modes.max() + 1) / 10)


def repeat_copies(modes: np.ndarray, strength: int) -> np.ndarray:
    """Half of the pictures are left, down to one of 32, and repeated."""
    return np.arange(len(modes)) % max(2, len(modes) // (2, 4, 8, 16, 32)[strength - 1])


SET_DAMAGES = {"modes missing": miss_modes, "copies": repeat_copies}


def find_modes(images: np.ndarray) -> np.ndarray:
    """Ten groups of pictures that look alike when they are small, in place of classes."""
    small = np.stack([np.asarray(Image.fromarray(image.squeeze()).resize((8, 8))).ravel() for image in images])
    return np.asarray(KMeans(10, n_init=3, random_state=0).fit_predict(small.astype(float)))
