"""Images of 16 pixels in which what belongs together can be told by looking: a set, an extractor and a metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import ganzoo_core as gz

COUNT, SIDE = 40, 16


def draw_square(index: int) -> np.ndarray:
    """uint8 [16,16,3]: a coloured square on black, of its own place and colour for each index."""
    rng = np.random.default_rng(index)
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    top, left = rng.integers(0, 8, 2)
    image[top : top + 8, left : left + 8] = rng.integers(60, 256, 3)
    return image


def make_set() -> gz.ImageSource:
    """All images: `source` is the negative, `vector` the mean of each channel and 1, `index` the image's index."""
    images = np.stack([draw_square(index) for index in range(COUNT)])
    means = images.mean(axis=(1, 2)) / 255
    conditions = {
        "source": 255 - images,
        "vector": np.concatenate([means, np.ones((COUNT, 1))], axis=1).astype(np.float32),
        "index": np.arange(COUNT, dtype=np.int64),
    }
    labels = np.arange(COUNT, dtype=np.int64) % 2
    return gz.ImageSource(images, labels, ("even", "odd"), background=0, conditions=conditions)


@gz.hookimpl
def dataset(name: str, split: str, options: gz.Options) -> gz.ImageSource:
    source = make_set()
    return gz.hold_out(source if name == "pairs16" else replace(source, conditions={}), split, options)


class Mean:
    def __init__(self) -> None:
        self.facts = {"weights": "none", "resizer": "none"}

    def extract(self, images: np.ndarray) -> tuple[np.ndarray, None]:
        return images.reshape(len(images), -1).mean(axis=1, keepdims=True), None


@gz.hookimpl
def extractor() -> Mean:
    return Mean()


@gz.hookimpl
def metric(name: str) -> Callable[..., dict[str, Any]]:
    def compare(real: gz.Features, fake: gz.Features, seed: int) -> dict[str, float]:
        return {"distance": float(np.abs(fake.images.astype(float) - fake.targets.images).mean())}

    def score(real: gz.Features, fake: gz.Features, seed: int) -> dict[str, float]:
        asked = -1.0 if fake.labels is None else float(fake.labels.mean())
        return {"fid": float(abs(real.features.mean() - fake.features.mean())), "asked": asked}

    return compare if name == "closeness" else score
