"""Scores of digits by the classifier, from end to end: what must be near, what far, what is caught."""

from __future__ import annotations

import json

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.runs import scores


@pytest.fixture(scope="module")
def of_real(scorer, digits):
    """Of the train part, against the test part."""
    train = digits("train")
    return scorer.score(train.images, train.labels)


def test_the_classifier_is_good_enough(scorer):
    assert scorer.facts["balanced_accuracy"] >= 0.97
    assert scorer.facts["test_images"] == scorer.reference_count == 359
    assert len(scorer.facts["weights"]) == 64


def test_a_real_half_is_near_the_other_half(of_real):
    found = of_real.scores
    assert found["fid"] < 2
    assert abs(found["kid"]) < 3 * found["kid_std"] + 0.01
    assert min(found[name] for name in ("precision", "recall", "coverage", "agreement")) > 0.8
    assert found["modes"] == 10
    assert found["is"] > 6
    # The test part is small: KID comes first, Fréchet's distance last with the reason.
    assert (next(iter(found)), list(found)[-1]) == ("kid", "fid")
    assert of_real.doubts == {"fid": "fid means little below 2,000 images, and 359 are in the reference"}


def test_the_floor_is_known(of_real):
    """Between two halves of the reference; KID does not depend on their size, Fréchet's distance does."""
    assert abs(of_real.real["kid"]) < 3 * of_real.real["kid_std"] + 0.01
    assert of_real.scores["fid"] < of_real.real["fid"] < 6
    assert set(of_real.real) == set(of_real.scores)


def test_noise_is_far_away(scorer, of_real):
    noise = np.random.default_rng(0).integers(0, 256, (1000, 8, 8, 1), dtype=np.uint8)
    found = scorer.score(noise).scores
    assert found["fid"] > 30 * of_real.scores["fid"]
    assert found["kid"] > 1
    assert max(found[name] for name in ("precision", "recall", "density", "coverage")) < 0.1


def test_a_generator_that_draws_one_class_is_caught(scorer, digits, of_real):
    train = digits("train")
    found = scorer.score(train.images[train.labels == 3])
    assert found.scores["modes"] == 1
    assert found.scores["fid"] > 30 * of_real.scores["fid"]
    assert found.scores["precision"] > 0.8  # what it draws is real
    assert found.scores["recall"] < 0.3
    assert found.scores["coverage"] < 0.3
    assert found.classes["share"]["3"] > 0.95


def test_a_generator_that_draws_one_image_is_caught(scorer, digits, of_real):
    found = scorer.score(np.repeat(digits("train").images[:1], 500, axis=0)).scores
    assert found["fid"] > 50 * of_real.scores["fid"]
    assert (found["modes"], found["recall"], found["is"]) == (1, 0, pytest.approx(1))


def test_half_noise_lies_between(scorer, digits, of_real):
    real = digits("train").images[:600]
    noise = np.random.default_rng(0).integers(0, 256, real.shape)
    values = [
        scorer.score(((1 - part) * real + part * noise).astype(np.uint8)).scores["fid"] for part in (0, 0.2, 0.4, 0.8)
    ]
    assert values == sorted(values)


def test_a_wrong_class_is_told(scorer, digits):
    train = digits("train")
    found = scorer.score(train.images, (train.labels + 1) % 10)
    assert found.scores["agreement"] < 0.03
    assert set(found.classes["agreement_within"]) == set("0123456789")


def test_the_same_images_have_the_same_scores(scorer, digits, of_real):
    train = digits("train")
    assert scorer.score(train.images, train.labels) == of_real
    assert scorer.score(train.images, train.labels, seed=1).scores["kid"] != of_real.scores["kid"]


def test_what_it_was_computed_with_is_kept(of_real):
    protocol = of_real.protocol
    assert protocol["data"] == "digits"
    assert (protocol["reference"], protocol["reference_count"], protocol["samples"]) == ("test", 359, 1438)
    assert protocol["extractor"]["name"] == "ganzoo-scores/classifier"
    assert protocol["extractor"]["features"] == 64
    assert protocol["metrics"]["ganzoo-scores/kid"] == {"subsets": 100, "subset_size": 1000}
    assert "Lanczos" in protocol["resizer"]
    assert {"ganzoo", "ganzoo-scores", "torch", "torchmetrics", "torch-fidelity"} <= set(protocol["versions"])
    assert scores.Score.from_json(json.loads(json.dumps(of_real.as_json()))) == of_real


def test_larger_images_and_colour_are_made_like_the_data(scorer, digits, of_real):
    train = digits("train")
    large = np.repeat(np.repeat(np.repeat(train.images, 4, axis=1), 4, axis=2), 3, axis=3)
    found = scorer.score(large, train.labels)
    assert found.scores["agreement"] > 0.97
    assert found.protocol["drawn_size"] == [32, 32, 3]
    # Real images that are resized as these were tell how near anything of that size could come.
    assert of_real.real["kid"] < found.real["kid"] < 1
    assert scores.find_differences(found, of_real) == []


def test_what_too_few_do_not_allow_is_left_out_and_the_process_goes_on(scorer, digits):
    few = scorer.score(digits("train").images[:30])
    assert few.doubts["fid"] == "fid needs more images than the extractor has features, 64, and 30 images are scored"
    assert "fid" not in few.scores
    assert few.scores["kid"] < 1
    with pytest.raises(gz.UsageError, match=r"expected uint8 \[N,H,W,C\]"):
        scorer.score(np.zeros((3, 8, 8, 1)))
    assert scorer.score(digits("train").images[:100]).scores["modes"] == 10
