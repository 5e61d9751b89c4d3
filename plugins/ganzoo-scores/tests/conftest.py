"""Images and networks that several tests share. Classifiers are kept in a folder of the session's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import ganzoo_core as gz
from ganzoo_core.evaluation import Scorer, make_request


class Seer(torch.nn.Module):
    """Eight features of an image [C,8,8], by fixed random numbers."""

    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.randn(64, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(images.double().mean(dim=1).flatten(1) / 255 @ self.weight)


@pytest.fixture(scope="session")
def seer() -> Seer:
    return Seer()


@pytest.fixture(scope="session")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Real and generated images uint8 [N,8,8,3], alike but for their brightness."""
    random = np.random.default_rng(0)
    real = random.integers(0, 256, (300, 8, 8, 3), dtype=np.uint8)
    return real, (random.integers(0, 200, (250, 8, 8, 3)) + 20).astype(np.uint8)


@pytest.fixture(scope="session")
def seen(seer: Seer, pictures: tuple[np.ndarray, np.ndarray]) -> tuple[gz.Features, gz.Features]:
    """What `seer` finds in them, in float64; its features are taken for logits as well."""
    found = [seer(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy() for images in pictures]
    return gz.Features(found[0], found[0]), gz.Features(found[1], found[1])


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache folder, empty at first."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("GANZOO_CACHE")
    os.environ["GANZOO_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["GANZOO_CACHE"]
    else:
        os.environ["GANZOO_CACHE"] = before


@pytest.fixture(scope="session")
def scorer(cache: Path) -> Iterator[Scorer]:
    """Scores of `digits`, by a classifier that was trained for it."""
    with Scorer(make_request(data="digits", data_settings={})) as made:
        yield made


@pytest.fixture(scope="session")
def digits() -> Callable[[str], gz.ImageSource]:
    """A part of scikit-learn's digits."""
    return partial(_digits)


def _digits(split: str) -> gz.ImageSource:
    from sklearn.datasets import load_digits

    found = load_digits()
    images = np.rint(found.images * (255 / 16)).astype(np.uint8)[..., None]
    return gz.hold_out(gz.ImageSource(images, found.target.astype(np.int64), tuple("0123456789"), 0), split)
