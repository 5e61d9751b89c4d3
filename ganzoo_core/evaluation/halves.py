"""Two halves of real images, one of which is scored against the other: the floor of each score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ganzoo_core.api import Features
from ganzoo_core.randomness import philox

MAX_HALF = 5_000  # images in each half of the reference: half of what is drawn at most by default


def split_in_halves(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of two random halves of `count` images, always the same, of at most `MAX_HALF` images each."""
    order, half = philox(0, "yardstick").permutation(count), min(count // 2, MAX_HALF)
    return np.sort(order[:half]), np.sort(order[half : 2 * half])


def select_features(features: Features, chosen: np.ndarray) -> Features:
    """The features at these indices, with logits and labels."""
    return replace(
        features,
        features=features.features[chosen],
        logits=None if features.logits is None else features.logits[chosen],
        labels=None if features.labels is None else features.labels[chosen],
    )
