"""Modes are counted as papers do; a classifier of single digits looks at each channel of stacked ones."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_core.evaluation import Scorer, make_request
from ganzoo_scores import classifier, modes

NAMES = tuple("abcde")
REAL = gz.Features(np.zeros((3, 1), np.float32), labels=np.arange(3), class_names=NAMES)


def draw(labels: list[int], classes: int = 5) -> gz.Features:
    return gz.Features(np.zeros((len(labels), 1), np.float32), np.eye(classes, dtype=np.float32)[labels])


@given(st.lists(st.integers(0, 4), min_size=10, max_size=10))
def test_modes_and_divergence_are_those_of_the_definition(labels: list[int]) -> None:
    found, counts = modes.score(REAL, draw(labels), 0, per_class=2), Counter(labels)
    divergence = sum(count / 10 * math.log(count / 10 / (1 / 5)) for count in counts.values())
    assert found == {"modes_found": len(counts), "modes_kl": pytest.approx(divergence, abs=1e-12)}


def test_of_more_images_as_many_as_the_protocol_says_are_looked_at() -> None:
    sorted_labels = sorted([0, 1, 2, 3, 4] * 1000)  # as a folder of pictures has them: not the first ones alone
    found = [modes.score(REAL, draw(sorted_labels), seed, per_class=26) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert found[0]["modes_found"] == 5
    assert 0 < found[0]["modes_kl"] < 0.1  # (5 - 1) / (2 · 130) is expected


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        (
            [0] * 129,
            5,
            "modes looks at 130 images, 26 for each of 5 classes, and 129 are scored; a run draws more with -n",
        ),
        ([0] * 130, 7, "modes needs an extractor that knows the data's classes"),
    ],
)
def test_what_cannot_be_counted_is_refused_in_words(labels: list[int], classes: int, words: str) -> None:
    with pytest.raises(gz.UsageError, match=words):
        modes.score(REAL, draw(labels, classes), 0)
    assert modes.score(REAL, draw([0] * 9), 0, allow_few=True) == {"modes_found": 1, "modes_kl": math.log(5)}


class Brightness:
    """Two classes, dark and bright, with one feature: how bright."""

    facts = {"weights": "none"}  # noqa: RUF012
    batch = 8

    def extract(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert images.shape[1:] == (2, 2, 1)
        bright = images.mean(axis=(1, 2, 3), keepdims=True)[:, :, 0, 0].astype(np.float32)
        return bright, np.concatenate([100 - bright, bright], axis=1) / 50


def test_each_channel_is_looked_at_and_logits_are_of_combinations() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 2, 2, 3), dtype=np.uint8)
    found = classifier._ChannelExtractor(Brightness(), 3)  # type: ignore[arg-type]
    features, logits = found.extract(images)
    assert found.facts == {"weights": "none", "channels": 3}
    np.testing.assert_allclose(features, images.mean(axis=(1, 2)), rtol=1e-6)
    for image, row in zip(images, np.exp(logits), strict=True):
        single = []
        for channel in range(3):
            scores = np.exp([(100 - image[:, :, channel].mean()) / 50, image[:, :, channel].mean() / 50])
            single.append(scores / scores.sum())
        expected = [single[0][a] * single[1][b] * single[2][c] for a in range(2) for b in range(2) for c in range(2)]
        np.testing.assert_allclose(row, expected, rtol=1e-4)


@pytest.mark.slow
def test_stacked_digits_have_the_classifier_of_digits(scorer: Scorer, cache) -> None:
    request = make_request(
        data="stacked-digits", data_settings={}, extractor="classifier", metrics=["modes"], score_real_images=False
    )
    with Scorer(request) as stacked:
        assert stacked.facts == {**scorer.facts, "channels": 3}
        found = stacked.score(stack(26_000))
    assert found.scores["modes_found"] == 1000
    assert 0.015 < found.scores["modes_kl"] < 0.05


def stack(count: int) -> np.ndarray:
    """Random triples of scikit-learn's digits, without the dataset."""
    from sklearn.datasets import load_digits

    images = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    return images[np.random.default_rng(0).integers(0, len(images), (count, 3))].transpose(0, 2, 3, 1)
