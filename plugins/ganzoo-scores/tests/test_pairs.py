"""`pairs`: each number by its formula, and that it is asked for where there are targets and nowhere else."""

import math

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.discovery import catalog
from ganzoo_core.errors import UsageError
from ganzoo_core.evaluation.metrics import compute_scores, load_metrics
from ganzoo_scores import pairs

NAME = "ganzoo-scores/pairs"


def pair(images, targets, features=None, target_features=None):
    """Features of images with targets."""
    features = np.zeros((len(images), 2), np.float32) if features is None else features
    target_features = features if target_features is None else target_features
    return gz.Features(features, images=images, targets=gz.Features(target_features, images=targets))


def noisy(count=3, side=13, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 256, (count, side, side, channels), np.uint8)
    shift = rng.integers(-40, 41, targets.shape)
    return np.clip(targets + shift, 0, 255).astype(np.uint8), targets


def ssim_by_hand(x, y):
    """Wang et al. 2004, equation 13, for one channel: an 11×11 Gaussian of 1.5 pixels, the border mirrored."""
    shape, (x, y) = x.shape, (np.pad(of, 5, mode="reflect") for of in (x, y))
    one = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(one, one) / np.outer(one, one).sum()
    c1, c2, found = (0.01 * 255) ** 2, (0.03 * 255) ** 2, []
    for top in range(shape[0]):
        for left in range(shape[1]):
            a, b = (of[top : top + 11, left : left + 11].astype(float) for of in (x, y))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * a * a).sum() - mean_a**2, (window * b * b).sum() - mean_b**2
            both = (window * a * b).sum() - mean_a * mean_b
            top_part = (2 * mean_a * mean_b + c1) * (2 * both + c2)
            found.append(top_part / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    return np.mean(found)


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_and_ssim_are_their_formulas(channels, monkeypatch):
    images, targets = noisy(channels=channels)
    monkeypatch.setattr(pairs, "CHUNK", 2)
    found = pairs.score(None, pair(images, targets), 0)
    error = np.mean((images.astype(float) - targets) ** 2)
    assert found["psnr"] == pytest.approx(10 * math.log10(255**2 / error), rel=1e-6)
    by_hand = [
        np.mean([ssim_by_hand(images[i, :, :, c], targets[i, :, :, c]) for c in range(channels)]) for i in range(3)
    ]
    assert found["ssim"] == pytest.approx(np.mean(by_hand), rel=1e-6)


def test_the_distance_of_features_is_the_mean_over_pairs():
    images, targets = noisy()
    features, others = np.array([[0, 0], [1, 1], [2, 0]], np.float32), np.array([[3, 4], [1, 1], [2, 1]], np.float32)
    assert pairs.score(None, pair(images, targets, features, others), 0)["feature-distance"] == pytest.approx(2.0)


def test_equal_images_have_the_highest_scores():
    _, targets = noisy()
    assert pairs.score(None, pair(targets, targets), 0) == {"psnr": 100.0, "ssim": 1.0, "feature-distance": 0.0}


def test_images_without_room_for_a_window_are_refused():
    images, targets = noisy(side=5)
    with pytest.raises(gz.UsageError, match="6 pixels a side or more, and these have 5×5"):
        pairs.score(None, pair(images, targets), 0)


def test_it_is_computed_for_images_with_targets_alone():
    metrics = load_metrics({NAME: {}, "ganzoo-scores/kid": {"subsets": 2, "subset_size": 4}})
    images, targets = noisy(8)
    rng = np.random.default_rng(0)
    real, drawn = (gz.Features(rng.standard_normal((8, 2)).astype(np.float32)) for _ in range(2))
    without = compute_scores(metrics, real, drawn, 0)
    assert set(without["scores"]) == {"kid", "kid_std"}
    assert not {"psnr", "ssim", "feature-distance"} & set(without["doubts"])
    known = compute_scores(metrics, real, pair(images, targets, drawn.features), 0)
    assert set(known["scores"]) == {"kid", "kid_std", "psnr", "ssim", "feature-distance"}
    assert known["better"]["psnr"] == "higher"
    assert known["better"]["feature-distance"] == "lower"
    for chosen in (metrics, metrics[:1]):
        with pytest.raises(UsageError, match="pairs compares each image with the one that it should be"):
            compute_scores(chosen, real, drawn, 0, required=[NAME])


def test_its_extractor_is_any():
    part = catalog.scan().find("metrics", NAME)
    assert part.default
    assert part.needs == ("pairs",)
