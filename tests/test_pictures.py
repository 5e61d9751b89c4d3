"""What the pictures must show, judged by a classifier; and the same on data sets that lie on the disk.

A run of minutes each: `pytest -m slow`. The tests on real data need GANZOO_DATA.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.data.pixels import resize

from .conftest import run_here

DATA = Path(os.environ["GANZOO_DATA"]) if os.environ.get("GANZOO_DATA") else None
needs_data = pytest.mark.skipif(DATA is None, reason="GANZOO_DATA is not set, so there are no real images")


def nearest(images: np.ndarray, others: np.ndarray, *, itself: bool = False) -> np.ndarray:
    """[N]: the Euclidean distance of each image to the nearest of the others, in grey values over all pixels."""
    flat, targets = (array.reshape(len(array), -1).astype(np.float64) for array in (images, others))
    square = (flat**2).sum(1)[:, None] + (targets**2).sum(1)[None] - 2 * flat @ targets.T
    if itself:
        np.fill_diagonal(square, np.inf)
    return np.sqrt(np.maximum(square.min(axis=1), 0))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_command_draws_all_ten_digits_and_copies_none(seed: int, tmp_path: Path) -> None:
    from sklearn.datasets import load_digits
    from sklearn.svm import SVC

    done = run_here("run", "dcgan-torch", "--seed", str(seed), "--quiet", cwd=tmp_path)
    drawn = gz.load(tmp_path / done.stdout.splitlines()[-1]).generate(1000, seed=seed)

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    half, rest = order[: len(order) // 2], order[len(order) // 2 :]
    classifier = SVC().fit(digits.data[half], digits.target[half])
    assert classifier.score(digits.data[rest], digits.target[rest]) > 0.97  # or its verdict would mean nothing

    small = resize(drawn, (8, 8)).reshape(1000, 64) / 255 * 16
    share = np.bincount(classifier.predict(small), minlength=10) / 1000
    assert share.min() >= 0.03, share

    # A copy would lie nearer to a training image than any two different training images lie to each other.
    originals = np.rint(digits.images * 255 / 16).astype(np.uint8)[..., None]
    originals = resize(originals, drawn.shape[1:3])
    assert nearest(drawn, originals).min() > nearest(originals, originals, itself=True).min()


@needs_data
@pytest.mark.slow
def test_mnist_with_the_small_preset(tmp_path: Path) -> None:
    words = ("run", "dcgan-torch", "--data", "mnist", "--preset", "small", "--images", "60000", "--quiet")
    drawn = gz.load(tmp_path / run_here(*words, cwd=tmp_path).stdout.splitlines()[-1]).generate(64)
    assert drawn.shape == (64, 28, 28, 1)  # padded to 32 for the networks, cropped back
    # Real MNIST: a mean of 33 and dark corners.
    assert 20 < drawn.mean() < 50
    assert drawn[:, :3, :3].mean() < 10


@needs_data
@pytest.mark.parametrize(
    ("quick", "size"),
    [
        (("--set", "width=8", "--set", "size=32"), 32),
        pytest.param((), 64, marks=pytest.mark.slow),  # the line as the README has it: the original's networks
    ],
)
def test_fashion_mnist_from_torchvisions_folder(quick: tuple[str, ...], size: int, tmp_path: Path) -> None:
    """On a folder as torchvision leaves it, filled with the sample, made larger by repetition."""
    assert DATA is not None
    import gzip

    raw = tmp_path / "root/FashionMNIST/raw"
    raw.mkdir(parents=True)
    for name in ("train", "t10k"):
        for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
            with gzip.open(DATA / f"fashion_mnist_sample/{name}-{kind}-ubyte.gz") as file:
                content = file.read()
            count = int.from_bytes(content[4:8], "big") * 3
            head = content[:4] + count.to_bytes(4, "big") + content[8:header]
            (raw / f"{name}-{kind}-ubyte").write_bytes(head + content[header:] * 3)
    words = ("run", "dcgan-torch", "--data", "fashion_mnist", "--images", "2000", "--data-root", tmp_path / "root")
    done = run_here(*words, *quick, "--out", "run", cwd=tmp_path)
    assert re.search(rf"(?<![\d,])2,430 images of {size}×{size}×1\b", done.stderr)
    assert "SHA-256" in done.stderr  # it is not the original, which is said and not fatal
    side = 28 if size == 32 else size  # 28 pixels are padded to 32, and cropped back; 64 is resized
    assert gz.load(tmp_path / "run").generate(2).shape == (2, side, side, 1)


@needs_data
@pytest.mark.slow
def test_idx_files_and_a_folder_of_photographs(tmp_path: Path) -> None:
    assert DATA is not None
    quick = ("--preset", "none", "--set", "width=4", "--steps", "3", "--quiet", "--out")
    run_here("run", "dcgan-torch", "--data", f"idx:{DATA / 'fashion_mnist_sample'}", *quick, "idx", cwd=tmp_path)
    assert gz.load(tmp_path / "idx").generate(2).shape == (2, 28, 28, 1)

    photos = tmp_path / "photos"
    with tarfile.open(DATA / "cifar10_jpg_10k.tar.gz") as archive:
        members = [member for member in archive.getmembers() if member.isfile()][::40]
        archive.extractall(photos, members=members, filter="data")
    run_here("run", "dcgan-torch", "--data", f"folder:{photos}", *quick, "folder", cwd=tmp_path)
    assert gz.load(tmp_path / "folder").generate(2).shape == (2, 64, 64, 3)
    shutil.rmtree(photos)  # drawing needs no data
    assert gz.load(tmp_path / "folder").generate(2).shape == (2, 64, 64, 3)
