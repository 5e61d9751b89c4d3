"""Numbers and labels of odd types, given in Python: sentences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import evaluation, python_api
from ganzoo_core.data.sources import as_source
from ganzoo_core.generation import load
from ganzoo_core.generation.saved import SavedGenerator

SMALL = {
    "model.width": 2, "model.latent_dim": 2, "data.size": 16, "train.batch_size": 4, "train.sample_count": 1,
    "engine.threads": 1,
}  # fmt: skip
NO_NUMBERS: list[Any] = [2.5, "3", None, True, [2], np.array([2]), np.float32(2), float("nan"), 1j, b"2", {}]
CALLS: dict[str, Callable[[SavedGenerator, Any], Any]] = {
    "n of generate": lambda generator, odd: generator.generate(odd),
    "n of generate_all": lambda generator, odd: generator.generate_all(odd),
    "n of walk": lambda generator, odd: generator.walk(odd, frames=2, keys=2),
    "frames": lambda generator, odd: generator.walk(1, frames=odd, keys=2),
    "keys": lambda generator, odd: generator.walk(1, frames=2, keys=odd),
    "seed of generate": lambda generator, odd: generator.generate(1, seed=odd),
    "seed of generate_all": lambda generator, odd: generator.generate_all(1, seed=odd),
    "seed of walk": lambda generator, odd: generator.walk(1, frames=2, keys=2, seed=odd),
}


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> SavedGenerator:
    place = tmp_path_factory.mktemp("trained") / "run"
    python_api.train("cgan-torch", settings=SMALL, steps=1, out=place, quiet=True)
    return load.load(place)


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_whole_number_is_said(generator: SavedGenerator, name: str) -> None:
    for odd in [*NO_NUMBERS, -1, *([2**200] if "seed" in name else [0])]:
        if odd is None and name in ("n of generate", "n of walk"):  # as many as there are rows, or the usual number
            continue
        with pytest.raises(gz.UsageError, match=r"^(n|frames|keys|the seed) (is|are) .*expected a whole number"):
            CALLS[name](generator, odd)
    CALLS[name](generator, np.int64(2))


def test_what_is_no_class_is_said(generator: SavedGenerator) -> None:
    for odd in NO_NUMBERS:
        if not isinstance(odd, str):
            with pytest.raises(gz.UsageError, match=r"is not a class; expected a name, or an index: a whole number"):
                generator.class_of(odd)
    assert generator.class_of("3") == generator.class_of(np.int8(3)) == 3


ODD_TYPES: list[Any] = [[0.2, 0.9], np.array([0.0, 1.0]), [True, False], [[0], [1]], [0, [1, 2]], [0], [], {}, object()]
ODD_INDICES: list[Any] = [[-1, 0], np.array([2**63, 1], np.uint64), [2**70, 0], [0, 10**9]]
LABELS = r"^labels( are|\[[01]\])"


def test_labels_of_a_training_set_are_not_rounded() -> None:
    images = np.zeros((2, 8, 8), np.uint8)
    for odd in [*ODD_TYPES, *ODD_INDICES, np.array(["2", "3"]), 5, "ab"]:
        with pytest.raises(gz.UsageError, match=LABELS):
            as_source(images, odd)
    source = as_source(images, [0, 2])
    assert source.images.shape == (2, 8, 8, 1)
    assert source.labels is not None
    assert (source.labels.dtype, source.labels.tolist()) == (np.int64, [0, 2])
    assert list(source.class_names) == ["0", "1", "2"]


def test_what_is_scored_is_asked_for_in_whole_numbers(tmp_path: Path) -> None:
    images = np.zeros((2, 8, 8, 1), np.uint8)
    for odd in NO_NUMBERS[:2] + NO_NUMBERS[3:]:
        with pytest.raises(gz.UsageError, match=r"^n is .*; expected a whole number of images from 2 to"):
            evaluation.evaluate(tmp_path, n=odd)
    for odd in [*NO_NUMBERS, -1, 2**200]:
        with pytest.raises(gz.UsageError, match=r"^the seed is .*; expected a whole number from 0"):
            evaluation.evaluate(tmp_path, seed=odd)
    for odd in ODD_TYPES:  # before the data are loaded
        with pytest.raises(gz.UsageError, match=LABELS):
            evaluation.evaluate(images=images, labels=odd, data="digits")


def test_a_z_that_the_generator_does_not_take_is_said(generator: SavedGenerator) -> None:
    labels = np.array([0, 1])
    z = np.zeros((2, generator.spec.latent_dim), np.float32)
    odd: list[Any] = [z.astype(float), z[:, :1], z[0], z[:0], z.tolist(), None, "z"]
    for wrong in odd:
        with pytest.raises(gz.UsageError, match=r"^z is .*; expected float32 \[N,2\]$"):
            generator.draw(wrong, labels)
    with pytest.raises(gz.UsageError, match="takes labels beside z"):
        generator.draw(z, None)
    for wrong in ODD_TYPES + ODD_INDICES:
        with pytest.raises(gz.UsageError, match=LABELS):
            generator.draw(z, wrong)
    assert generator.draw(z, labels).shape == (2, 16, 16, 1)
