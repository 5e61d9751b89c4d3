"""`--data shapes`: simple shapes drawn on the fly, for first tries at any size and for tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import ganzoo_core as gz

CLASS_NAMES = ("circle", "square", "triangle", "cross", "ring", "star")
_SEED = 15_110_643  # fixed, so that the images are the same everywhere
_STREAM = {"train": 0, "test": 1}
_CHUNK_PIXELS = 2**20  # pixels drawn at a time, to limit memory
_MIN_SIZE = 4  # pixels; smaller shapes cannot be distinguished


@gz.hookimpl
def dataset(split: str, options: gz.Options) -> gz.ImageSource:
    """Antialiased shapes of random position, radius, rotation and brightness (or colour) on black.

    `count` images for the train part, and a fifth as many different ones for the test part. Image i does not depend
    on `count`; its class is i mod 6.

    Raises:
        UsageError: if `size`, `channels` or `count` is invalid.
    """
    size, channels, count = _read_options(options)
    counts = {"train": count, "test": max(1, count // 5)}
    parts = list(counts) if split == "all" else [split]
    labels = np.concatenate([np.arange(counts[part]) % len(CLASS_NAMES) for part in parts])
    images = np.concatenate([draw(part, 0, counts[part], size=size, channels=channels) for part in parts])
    return gz.ImageSource(
        images=images,
        labels=labels.astype(np.int64),
        class_names=CLASS_NAMES,
        background=0,
        held_out=sum(counts.values()) - len(labels),
    )


@gz.hookimpl
def describe_dataset(options: gz.Options) -> Mapping[str, int]:
    """Size, channels and classes; raises UsageError as `dataset` does."""
    size, channels, _ = _read_options(options)
    return {"height": size, "width": size, "channels": channels, "classes": len(CLASS_NAMES)}


def _read_options(options: gz.Options) -> tuple[int, int, int]:
    """The valid `size`, `channels` and `count`."""
    size, channels, count = options.get("size") or 32, options.get("channels") or 1, options.get("count", 10_000)
    if not _MIN_SIZE <= size <= 4000:
        raise gz.UsageError(f"data.size is {size}; shapes can be drawn with {_MIN_SIZE} to 4000 pixels")
    if channels not in (1, 3):
        raise gz.UsageError(f"data.channels is {channels}; expected 1 (grey) or 3 (colours)")
    if count < 1:
        raise gz.UsageError(f"data.count is {count}; expected at least 1 image")
    return size, channels, count


def draw(part: str, first: int, last: int, *, size: int, channels: int) -> np.ndarray:
    """Draw images `first` to `last` - 1 of a part: uint8 [N,size,size,C]."""
    images = np.empty((last - first, size, size, channels), dtype=np.uint8)
    step = max(1, _CHUNK_PIXELS // (size * size))
    for start in range(first, last, step):
        stop = min(start + step, last)
        # Eight numbers per image, in order, so that image i depends only on i; as many as one counter of Philox gives.
        generator = np.random.Philox(key=[_SEED, _STREAM[part]]).advance(start)
        chance = np.random.Generator(generator).random((stop - start, 8), dtype=np.float32)
        coverage = _compute_coverage(np.arange(start, stop) % len(CLASS_NAMES), chance, size)
        shown = np.rint(coverage[..., None] * _choose_colour(chance, channels)[:, None, None, :])
        images[start - first : stop - first] = shown
    return images


def _choose_colour(chance: np.ndarray, channels: int) -> np.ndarray:
    """Random numbers [N,8] -> colours float32 [N,C] in [0, 255]; the brightest channel is at least 128."""
    if channels == 1:
        return 128 + 127 * chance[:, 4:5]
    mixed = chance[:, 4:7]
    return mixed / mixed.max(axis=1, keepdims=True).clip(1e-6) * (128 + 127 * chance[:, 7:8])


def _compute_coverage(numbers: np.ndarray, chance: np.ndarray, size: int) -> np.ndarray:
    """The share of each pixel that the shape covers, float32 [N,size,size] in [0, 1].

    Computed from the signed distance of the pixel's centre to the shape's edge, clipped at half a pixel either side.
    """
    radius = size * (0.2 + 0.15 * chance[:, 2])
    centre = radius[:, None] + (size - 2 * radius[:, None]) * chance[:, :2]
    turn = 2 * np.pi * chance[:, 3]
    pixel = np.arange(size, dtype=np.float32) + 0.5
    across = pixel[None, None, :] - centre[:, 0, None, None]
    down = pixel[None, :, None] - centre[:, 1, None, None]
    cos, sin = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
    x, y = cos * across + sin * down, cos * down - sin * across
    distance = np.empty(x.shape, dtype=np.float32)
    for number, edge in enumerate(
        (_circle_distance, _square_distance, _triangle_distance, _cross_distance, _ring_distance, _star_distance)
    ):
        mine = numbers == number
        distance[mine] = edge(x[mine], y[mine], radius[mine, None, None])
    return np.clip(0.5 - distance, 0, 1)


# Each shape lies within radius r around 0; distances are negative inside.


def _circle_distance(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.hypot(x, y) - r


def _square_distance(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x), np.abs(y)) - r / np.sqrt(2)


def _triangle_distance(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    return _polygon_distance(x, y, 3) - r / 2


def _cross_distance(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    x, y = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(x - 0.95 * r, y - 0.3 * r), np.maximum(y - 0.95 * r, x - 0.3 * r))


def _ring_distance(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.abs(np.hypot(x, y) - 0.75 * r) - 0.25 * r


def _star_distance(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    """A six-pointed star, the union of two triangles."""
    return np.minimum(_polygon_distance(x, y, 3), _polygon_distance(x, -y, 3)) - r / 2


def _polygon_distance(x: np.ndarray, y: np.ndarray, sides: int) -> np.ndarray:
    """Distance of a point from 0, along the normal of the nearest side of a regular polygon around 0."""
    angles = 2 * np.pi * (np.arange(sides) + 0.25) / sides
    return np.max([np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y for angle in angles], axis=0)
