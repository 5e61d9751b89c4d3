"""After the first command a classifier sees the digit that was asked for, and the digits of a class differ.

A run of minutes: `pytest -m slow`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.data.pixels import resize

EACH = 100  # images drawn of each class


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Real digits of 8x8 pixels, grey values [N,64], and their labels [N]."""
    from sklearn.datasets import load_digits

    whole = load_digits()
    source = gz.ImageSource(
        images=np.rint(whole.images * 255 / 16).astype(np.uint8)[..., None],
        labels=whole.target.astype(np.int64),
        class_names=tuple(map(str, range(10))),
    )
    part = gz.hold_out(source, split)
    assert part.labels is not None
    return part.images.reshape(-1, 64) / 255.0, part.labels


def spread(images: np.ndarray) -> float:
    """The mean Euclidean distance between two different images of these [N,64]."""
    distances = np.linalg.norm(images[:, None] - images[None], axis=2)
    return float(distances.sum() / (len(images) * (len(images) - 1)))


@pytest.mark.slow
def test_each_class_is_the_one_asked_for_and_has_more_than_one_picture(tmp_path: Path) -> None:
    from sklearn.svm import SVC

    words = ["run", "cgan-projection-torch", "--quiet", "--set", "engine.threads=1", "--out", "run"]
    subprocess.run(
        [sys.executable, "-m", "ganzoo_core", *words], cwd=tmp_path, check=True, capture_output=True, timeout=1800
    )
    asked = np.repeat(np.arange(10), EACH)
    drawn = gz.load(tmp_path / "run").generate(len(asked), labels=asked.tolist())
    small = resize(drawn, (8, 8)).reshape(len(asked), 64) / 255.0

    classifier = SVC().fit(*digits("train"))
    test_images, test_labels = digits("test")
    assert classifier.score(test_images, test_labels) > 0.97  # or its verdict would mean nothing
    right = (classifier.predict(small) == asked).reshape(10, EACH).sum(axis=1)
    assert (right >= 90).sum() >= 9, right

    # One picture learned by heart would be named rightly too, a hundred times.
    ratios = [spread(small[asked == k]) / spread(test_images[test_labels == k]) for k in range(10)]
    assert min(ratios) >= 0.5, np.round(ratios, 2)
