"""Whoever asks for a class gets that class, and not always the same picture of it.

Each trains for minutes with the real command: `pytest -m slow`. A classifier fitted on real training images says which
class a drawn image shows. Within a class, drawn images must lie at least half as far apart as real test images do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz

CLASSES = 10
DATA = Path(os.environ["GANZOO_DATA"]) if os.environ.get("GANZOO_DATA") else None


def draw_each_class(*words: str, folder: Path) -> np.ndarray:
    """Train with `ganzoo run cgan-torch WORDS`, load what it left, and draw uint8 [class 10, number 100, pixels]."""
    command = [sys.executable, "-m", "ganzoo_core", "run", "cgan-torch", *words, "--quiet", "--out", str(folder)]
    done = subprocess.run(
        [*command, "--set", "engine.threads=1"], capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
    drawn = gz.load(folder).generate(100 * CLASSES, labels=np.repeat(np.arange(CLASSES), 100).tolist())
    return drawn.reshape(CLASSES, 100, *drawn.shape[1:3])


def spread(flat: np.ndarray) -> float:
    """The mean Euclidean distance between two different rows of [N, pixels]."""
    rows = flat.astype(np.float64)
    square = (rows**2).sum(1)[:, None] + (rows**2).sum(1)[None] - 2 * rows @ rows.T
    return float(np.sqrt(np.maximum(square, 0)).sum() / (len(rows) * (len(rows) - 1)))


def share_of_real_spread(drawn: np.ndarray, real: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[10]: how far apart the drawn images [10,100,pixels] of a class lie, as a share of the real ones' distance."""
    return np.array([spread(drawn[k]) / spread(real[labels == k]) for k in range(CLASSES)])


def test_the_spread_is_the_mean_over_pairs() -> None:
    assert spread(np.array([[0, 0], [3, 4], [0, 0]])) == pytest.approx((5 + 0 + 5) / 3, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_digit_that_is_asked_for_is_drawn(seed: int, tmp_path: Path) -> None:
    from sklearn.datasets import load_digits
    from sklearn.svm import SVC

    digits = load_digits()
    whole = gz.ImageSource(
        np.rint(digits.images * 255 / 16).astype(np.uint8)[..., None],
        digits.target.astype(np.int64),
        tuple("0123456789"),
    )
    train, test = gz.hold_out(whole, "train"), gz.hold_out(whole, "test")
    assert train.labels is not None
    assert test.labels is not None
    classifier = SVC().fit(train.images.reshape(-1, 64), train.labels)
    assert classifier.score(test.images.reshape(-1, 64), test.labels) > 0.97  # or its verdict would mean nothing

    drawn = draw_each_class("--seed", str(seed), folder=tmp_path / "run")
    small = [Image.fromarray(image).resize((8, 8), Image.Resampling.LANCZOS) for row in drawn for image in row]
    flat = np.stack([np.asarray(image) for image in small]).reshape(CLASSES, 100, 64)
    agreed = [int((classifier.predict(flat[k]) == k).sum()) for k in range(CLASSES)]
    shares = share_of_real_spread(flat, test.images.reshape(-1, 64), test.labels)
    print(f"agreed {agreed}, spread {np.round(shares, 2).tolist()}")
    assert sum(count >= 90 for count in agreed) >= 9, agreed
    assert shares.min() >= 0.5, shares


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="GANZOO_DATA is not set, so there is no MNIST")
def test_a_digit_of_mnist_that_is_asked_for_is_drawn(tmp_path: Path) -> None:
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    assert DATA is not None
    raw = DATA / "MNIST/raw"

    def read(name: str, header: int) -> np.ndarray:
        return np.frombuffer((raw / name).read_bytes()[header:], dtype=np.uint8)

    images, labels = read("train-images-idx3-ubyte", 16).reshape(-1, 784), read("train-labels-idx1-ubyte", 8)
    test_images, test_labels = read("t10k-images-idx3-ubyte", 16).reshape(-1, 784), read("t10k-labels-idx1-ubyte", 8)
    classifier = make_pipeline(PCA(40, random_state=0), SVC(C=10)).fit(images[:20_000] / 255, labels[:20_000])
    assert classifier.score(test_images / 255, test_labels) >= 0.97

    words = ("--data", "mnist", "--preset", "small", "--images", "400000")
    flat = draw_each_class(*words, folder=tmp_path / "run").reshape(CLASSES, 100, 784)
    agreed = [int((classifier.predict(flat[k] / 255) == k).sum()) for k in range(CLASSES)]
    shares = share_of_real_spread(flat, test_images, test_labels)
    print(f"agreed {agreed}, spread {np.round(shares, 2).tolist()}")
    assert sum(agreed) >= 950, agreed
    assert shares.min() >= 0.5, shares
