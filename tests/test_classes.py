"""Conditional models from the command line, in both frameworks: what is asked for is what is drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import run_here

CARD = """
api = 1
[models.toy]
title = "A small conditional GAN"
framework = "{framework}"
hooks = "{package}.hooks"
conditional = true
output = "tanh"
latent = "normal"
image_sizes = [8, 16]
[models.toy.defaults]
use.loss = "non-saturating"
model.latent_dim = 4
train.batch_size = 64
train.lr = 2e-3
train.betas = [0.5, 0.999]
"""
HOOKS = """
import ganzoo_core as gz
@gz.hookimpl
def build_generator(spec):
    from {package} import networks
    return networks.generator(spec.height, spec.channels, spec.classes, spec.latent_dim)
@gz.hookimpl
def build_discriminator(spec):
    from {package} import networks
    return networks.discriminator(spec.height, spec.channels, spec.classes)
"""
TORCH = """
import torch
from torch import nn
class Generator(nn.Module):
    def __init__(self, side, channels, classes, latent):
        super().__init__()
        self.classes, self.shape = classes, (channels, side, side)
        self.layers = nn.Sequential(
            nn.Linear(latent + classes, 64), nn.ReLU(), nn.Linear(64, channels * side**2), nn.Tanh()
        )
    def forward(self, z, labels):
        told = nn.functional.one_hot(labels, self.classes).float()
        return self.layers(torch.cat([z, told], 1)).unflatten(1, self.shape)
class Discriminator(nn.Module):
    def __init__(self, side, channels, classes):
        super().__init__()
        self.classes = classes
        self.layers = nn.Sequential(nn.Linear(channels * side**2 + classes, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    def forward(self, images, labels):
        told = nn.functional.one_hot(labels, self.classes).float()
        return self.layers(torch.cat([images.flatten(1), told], 1))[:, 0]
generator, discriminator = Generator, Discriminator
"""
KERAS = """
import keras
from keras import layers
def generator(side, channels, classes, latent):
    z, labels = keras.Input((latent,)), keras.Input((), dtype="int64")
    told = layers.CategoryEncoding(classes, "one_hot")(labels)
    x = layers.Dense(64, "relu")(layers.Concatenate()([z, told]))
    x = layers.Dense(channels * side**2, "tanh")(x)
    return keras.Model([z, labels], layers.Reshape((side, side, channels))(x))
def discriminator(side, channels, classes):
    images, labels = keras.Input((side, side, channels)), keras.Input((), dtype="int64")
    told = layers.CategoryEncoding(classes, "one_hot")(labels)
    x = layers.Dense(64)(layers.Concatenate()([layers.Flatten()(images), told]))
    return keras.Model([images, labels], layers.Dense(1)(layers.LeakyReLU(0.2)(x)))
"""
# One thread: networks so small gain nothing from more.
SHOWN = ("--set", "size=8", "--set", "sample_count=20", "--set", "threads=1")
SNAPSHOT = ("--checkpoint", "32000")


def add_toy(site: Any, framework: str) -> None:
    """A distribution with one small conditional model."""
    package = f"toy_{framework}"
    networks = TORCH if framework == "torch" else KERAS
    files = {"__init__.py": "", "hooks.py": HOOKS.format(package=package), "networks.py": networks}
    site.add(f"toy-{framework}", CARD.format(framework=framework, package=package), files=files)


@pytest.fixture(scope="module", params=["torch", "tensorflow"])
def trained(request: pytest.FixtureRequest, make_site: Callable[[], Any]) -> tuple[Any, Path]:
    if request.param == "torch":
        site, run = request.getfixturevalue("trained_in_torch")
        return site, run
    return train(make_site(), request.param)


@pytest.fixture(scope="module")
def trained_in_torch(make_site: Callable[[], Any]) -> tuple[Any, Path]:
    return train(make_site(), "torch")


def train(site: Any, framework: str) -> tuple[Any, Path]:
    """64,000 images of `digits`: a few seconds."""
    add_toy(site, framework)
    words = ("--data", "digits", *SHOWN, "--images", "64000", "--set", "snapshot_every=32000", "--out", "run")
    site.run_here("run", "toy", *words)
    return site, site.path / "run"


def draw(site: Any, *words: str | Path) -> dict[str, np.ndarray]:
    site.run_here("generate", *words, "--out", "drawn.npz")
    with np.load(site.path / "drawn.npz", allow_pickle=False) as archive:
        return dict(archive)


def test_each_class_looks_like_its_own_real_images(trained: tuple[Any, Path]) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    means = np.stack([digits.images[digits.target == label].mean(axis=0) for label in range(10)]) * 255 / 16
    drawn = draw(trained[0], trained[1], "--class", "all", "-n", "50")
    assert drawn["labels"].tolist() == [label for label in range(10) for _ in range(50)]
    found = drawn["images"].reshape(10, 50, 64).mean(axis=1)
    distances = np.linalg.norm(found[:, None] - means.reshape(1, 10, 64), axis=2)  # [asked, real]
    assert (distances.argmin(axis=1) == range(10)).sum() >= 9


def test_a_class_by_number_or_name_is_its_row(trained: tuple[Any, Path]) -> None:
    """One z gives one image in each class, however the class is asked for."""
    site, run = trained
    rows = draw(site, run, *SNAPSHOT, "--class", "all", "-n", "6", "--seed", "2")["images"].reshape(10, 6, 8, 8, 1)
    named = draw(site, run, *SNAPSHOT, "--class", "7", "-n", "6", "--seed", "2")
    assert (named["images"] == rows[7]).all()
    assert (named["labels"] == 7).all()
    assert not (rows[7] == rows[1]).all()


def test_a_class_that_is_not_there_lists_those_that_are(trained_in_torch: tuple[Any, Path]) -> None:
    done = trained_in_torch[0].run_here("generate", trained_in_torch[1], "--class", "eleven", code=2)
    assert "there is no class eleven; " in done.stderr
    assert "draws 0, 1, 2" in done.stderr


def test_grids_have_a_row_a_class_and_the_real_ones_beside(trained_in_torch: tuple[Any, Path]) -> None:
    """20 images of 10 classes: two columns drawn, one apart, two real; 8 pixels and a gap of 2, enlarged tenfold."""
    _, run = trained_in_torch
    with Image.open(run / "samples" / "64000.png") as drawn, Image.open(run / "samples" / "real.png") as real:
        sheet, alone = np.asarray(drawn), np.asarray(real)
    factor = 640 // (10 * 10 - 2)
    height, width = factor * (10 * 10 - 2), factor * (5 * 10 - 2)
    assert sheet.shape[0] == height + 2 * 26  # words above and below
    left = sheet.shape[1] - width if sheet.shape[1] - width < 60 else alone.shape[1] - factor * 18
    body, beside = sheet[26 : 26 + height, left : left + width], alone[:, -factor * 18 :]
    assert (body[:, factor * 30 :] == beside).all()
    assert body[:, : factor * 18].std() > 10


def test_all_of_a_class_are_written_as_labelled_rows(trained_in_torch: tuple[Any, Path], tmp_path: Path) -> None:
    site, run = trained_in_torch
    site.run_here("generate", run, "--class", "all", "-n", "3", "--out", tmp_path / "rows.png")
    with Image.open(tmp_path / "rows.png") as picture:
        factor = 640 // 98
        assert picture.height == factor * 98
        assert factor * 28 < picture.width < factor * 28 + 60
        assert np.asarray(picture)[:, : picture.width - factor * 28].max() == 255  # the names


@pytest.mark.slow
def test_a_class_without_training_images_is_said_and_not_offered(site: Any) -> None:
    """Six classes, of which the second has none: grids, `--class all` and the classes in turn leave it out."""
    add_toy(site, "torch")
    labels = np.array([0, 2, 3, 4, 5] * 16)
    images = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 1), dtype=np.uint8)
    np.savez(site.path / "some.npz", images=images, labels=labels, class_names=np.array(list("abcdef")))
    words = ("--data", "npz:some.npz", *SHOWN, "--images", "64", "--set", "holdout=0", "--out", "run")
    done = site.run_here("run", "toy", *words)
    assert "1 class has no training images, and a conditional model will not draw it: b" in done.stdout + done.stderr
    card = json.loads((site.path / "run" / "generator" / "generator.json").read_text())
    assert (card["class_names"], card["untrained_classes"]) == (list("abcdef"), [1])
    with Image.open(site.path / "run" / "samples" / "real.png") as real:
        factor = 640 // (5 * 10 - 2)
        assert real.height == factor * (5 * 10 - 2)  # five rows
    assert draw(site, "run", "--class", "all", "-n", "2")["labels"].tolist() == [0, 0, 2, 2, 3, 3, 4, 4, 5, 5]
    assert draw(site, "run", "-n", "7")["labels"].tolist() == [0, 2, 3, 4, 5, 0, 2]
    assert draw(site, "run", "-n", "1", "--class", "2")["labels"].tolist() == [2]
    for label in ("b", "1"):
        done = site.run_here("generate", "run", "--class", label, code=2)
        assert (
            "class b had no training images, so it was never learned; run/generator draws 0 a, 2 c, 3 d" in done.stderr
        )


def test_what_cannot_be_conditional_is_refused_before_anything_happens(site: Any, tmp_path: Path) -> None:
    add_toy(site, "torch")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (80, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "bare.npz", images=images)
    names = np.array(["cat", "dog", "hen"])
    np.savez(tmp_path / "wrong.npz", images=images, labels=np.full(80, 3), class_names=names)
    np.savez(tmp_path / "below.npz", images=images, labels=np.full(80, -1), class_names=names)
    for data, words in (
        ("bare", "toy is conditional, and npz has no labels"),
        ("wrong", "labels must be 0 to 2"),
        ("below", "labels must be 0 to 2"),
    ):
        done = site.run_here("run", "toy", "--data", f"npz:{tmp_path / data}.npz", "--out", tmp_path / "none", code=2)
        assert words in done.stderr
        assert not (tmp_path / "none").exists()


def test_an_unconditional_generator_takes_no_class(tmp_path: Path) -> None:
    words = ("--set", "width=4", "--set", "size=16", "--steps", "1", "--batch-size", "16", "--out", tmp_path / "run")
    run_here("run", "dcgan-torch", *words, cwd=tmp_path)
    for label in ("1", "all"):
        done = run_here("generate", tmp_path / "run", "--class", label, cwd=tmp_path, code=2)
        assert "is no conditional generator, so it cannot be told a class" in done.stderr
