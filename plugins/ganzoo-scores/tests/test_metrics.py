"""Each metric against the library it comes from, called directly on the same images, or against its formula."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch_fidelity
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

import ganzoo_core as gz
from ganzoo_scores import classes, density_coverage, fid, inception_score, kid, precision_recall


def tensors(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="module")
def fidelity(pictures, seer):
    """What torch-fidelity's own interface says of the two sets of images, by the same features."""

    class Registered(FeatureExtractorBase):
        def __init__(self, name, features_list, **kwargs):
            super().__init__(name, features_list)

        def forward(self, images):
            return (seer(images).float(),)

        @staticmethod
        def get_provided_features_list():
            return ("seen",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "seen"

    torch_fidelity.register_feature_extractor("seer", Registered)
    real, fake = (Listed(tensors(images)) for images in pictures)
    # Without save_cpu_ram it starts processes, and more of them than there are cores.
    return torch_fidelity.calculate_metrics(
        input1=fake, input2=real, feature_extractor="seer", fid=True, prc=True, cuda=False, cache=False,
        save_cpu_ram=True, verbose=False,
    )  # fmt: skip


class Listed(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def test_fid_is_what_torchmetrics_says(pictures, seen, seer):
    direct = FrechetInceptionDistance(feature=seer)
    for images, is_real in zip(pictures, (True, False), strict=True):
        direct.update(tensors(images), real=is_real)
    assert fid.score(*seen, seed=0)["fid"] == pytest.approx(float(direct.compute()), rel=1e-12)


def test_fid_is_what_torch_fidelity_says(seen, fidelity):
    assert fid.score(*seen, seed=0)["fid"] == pytest.approx(fidelity["frechet_inception_distance"], rel=1e-4)


def test_kid_is_what_torchmetrics_says(pictures, seen, seer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        direct = KernelInceptionDistance(feature=seer, subsets=20, subset_size=100)
    for images, is_real in zip(pictures, (True, False), strict=True):
        direct.update(tensors(images), real=is_real)
    torch.manual_seed(3)
    mean, spread = direct.compute()
    found = kid.score(*seen, seed=3, subsets=20, subset_size=100)
    assert found == {"kid": pytest.approx(float(mean), rel=1e-12), "kid_std": pytest.approx(float(spread), rel=1e-12)}


def test_precision_and_recall_are_what_torch_fidelity_says(seen, fidelity):
    real, fake = (gz.Features(side.features.astype(np.float32)) for side in seen)
    found = precision_recall.score(real, fake, seed=0)
    assert found == {"precision": pytest.approx(fidelity["precision"]), "recall": pytest.approx(fidelity["recall"])}


def test_the_inception_score_is_what_torchmetrics_says(pictures, seen, seer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        direct = InceptionScore(feature=seer, splits=5)
    direct.update(tensors(pictures[1]))
    torch.manual_seed(3)
    mean, spread = direct.compute()
    found = inception_score.score(*seen, seed=3, splits=5)
    assert found == {"is": pytest.approx(float(mean), rel=1e-12), "is_std": pytest.approx(float(spread), rel=1e-12)}


def test_scores_do_not_move_the_random_numbers_of_others(seen):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    kid.score(*seen, seed=0, subsets=2)
    inception_score.score(*seen, seed=0)
    assert torch.equal(torch.rand(3), expected)


def exactly(mean, spread, count, random):
    """Features whose sample mean and standard deviations are these to the last digits, and uncorrelated."""
    drawn = random.standard_normal((count, len(mean)))
    drawn -= drawn.mean(axis=0)
    drawn = drawn @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(drawn, rowvar=False)))).T
    return drawn * spread + mean


axes = st.lists(st.tuples(*[st.floats(-5, 5)] * 2, *[st.floats(0.1, 5)] * 2), min_size=1, max_size=6)


@given(axes)
def test_the_frechet_distance_of_gaussians_has_a_closed_form(axes):
    """|μ1 - μ2|² + Σ (σ1 - σ2)² where the covariances are diagonal: Dowson and Landau 1982, equation 6."""
    first, second, a, b = np.array(axes).T
    random = np.random.default_rng(0)
    one, other = exactly(first, a, 50, random), exactly(second, b, 40, random)
    assert fid.compute_frechet_distance(one, other) == pytest.approx(
        ((first - second) ** 2 + (a - b) ** 2).sum(), rel=1e-6, abs=1e-6
    )


def test_the_frechet_distance_of_correlated_gaussians():
    """Covariances that share their axes: the distance is that of their roots along them."""
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    random = np.random.default_rng(0)
    one = exactly(np.zeros(3), [1, 2, 3], 50, random) @ turn.T
    other = exactly(np.zeros(3), [2, 2, 1], 60, random) @ turn.T + [0, 0, 2]
    assert fid.compute_frechet_distance(one, other) == pytest.approx(1 + 0 + 4 + 4, rel=1e-9)


def test_fid_within_each_class_takes_the_class_asked_for_and_else_the_one_found():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    real = gz.Features(random.standard_normal((80, 3)), None, labels, ("cat", "dog"))
    logits = np.eye(2)[labels]
    fake = gz.Features(random.standard_normal((80, 3)), logits, None, ("cat", "dog"))
    found = fid.score(real, fake, seed=0)["fid_within"]
    for k, name in enumerate(("cat", "dog")):
        assert found[name] == fid.compute_frechet_distance(real.features[labels == k], fake.features[labels == k])
    swapped = gz.Features(fake.features, logits, 1 - labels, ("cat", "dog"))
    assert fid.score(real, swapped, seed=0)["fid_within"]["cat"] == fid.compute_frechet_distance(
        real.features[labels == 0], fake.features[labels == 1]
    )


def test_classes_with_few_images_have_no_fid_of_their_own():
    random = np.random.default_rng(0)
    labels = np.array([0] * 37 + [1] * 3)
    side = gz.Features(random.standard_normal((40, 3)), None, labels, ("cat", "dog"))
    assert set(fid.score(side, side, seed=0)["fid_within"]) == {"cat"}


ADD = "add images to the data, or say --reference all if a part of them is held out"


@pytest.mark.parametrize(
    ("real", "fake", "counts", "way_out"),
    [
        (100, 8, "8 images are scored", "a run draws more with -n 1000"),
        (8, 100, "8 are in the reference", ADD),
        (8, 7, "7 images are scored and 8 are in the reference", f"a run draws more with -n 1000; {ADD}"),
    ],
)
def test_too_few_images_for_the_features_are_refused_in_words(real, fake, counts, way_out):
    random = np.random.default_rng(0)
    sides = [gz.Features(random.standard_normal((count, 8))) for count in (real, fake)]
    with pytest.raises(gz.UsageError) as error:
        fid.score(*sides, seed=0)
    assert str(error.value) == (
        f"fid needs more images than the extractor has features, 8, and {counts}; {way_out}; --metrics kid suits few "
        "images, and --set metric.fid.allow_few=true scores them all the same"
    )
    assert fid.score(*sides, seed=0, allow_few=True)["fid"] > 0


def test_what_is_advised_for_few_images_suits_so_few():
    """No covariance of one image, and no `kid` of three."""
    side = np.random.default_rng(0).standard_normal((5, 8))
    with pytest.raises(gz.UsageError) as error:
        fid.score(gz.Features(side[:1]), gz.Features(side), seed=0, allow_few=True)
    assert str(error.value) == f"fid needs at least 2 images on each side, and 1 is in the reference; {ADD}"
    for count, advised in ((1, []), (3, ["allow_few"]), (4, ["--metrics kid", "allow_few"])):
        with pytest.raises(gz.UsageError) as error:
            fid.score(gz.Features(side[:count]), gz.Features(side), seed=0)
        assert [way for way in ("--metrics kid", "allow_few") if way in str(error.value)] == advised


def by_loops(real, fake, k):
    """Density and coverage as Naeem et al. define them, one pair at a time."""
    balls = []
    for x in real:
        near = sorted(np.sqrt(((x - other) ** 2).sum()) for other in real)
        balls.append((x, near[k]))  # near[0] is the image itself
    inside = [[np.sqrt(((y - x) ** 2).sum()) < radius for y in fake] for x, radius in balls]
    return {"density": np.sum(inside) / (k * len(fake)), "coverage": np.mean([any(row) for row in inside])}


@pytest.mark.parametrize("k", [1, 3, 5])
def test_density_and_coverage_are_what_their_definitions_say(k):
    random = np.random.default_rng(k)
    real, fake = random.standard_normal((40, 3)), random.standard_normal((30, 3)) * 0.8 + 0.2
    found = density_coverage.score(gz.Features(real), gz.Features(fake), seed=0, neighbours=k)
    assert found == pytest.approx(by_loops(real, fake, k))


def test_density_and_coverage_in_pieces(monkeypatch, seen):
    whole = density_coverage.score(*seen, seed=0)
    monkeypatch.setattr(density_coverage, "BATCH", 7)
    assert density_coverage.score(*seen, seed=0) == whole


def test_the_inception_score_of_clear_images_of_every_class_is_their_number():
    logits = np.tile(100 * np.eye(4), (50, 1)).astype(np.float32)
    found = inception_score.score(gz.Features(logits), gz.Features(logits, logits), seed=0, splits=1)
    assert found["is"] == pytest.approx(4)
    one = np.repeat(logits[:1], 50, axis=0)
    assert inception_score.score(gz.Features(one), gz.Features(one, one), seed=0)["is"] == pytest.approx(1)


def test_classes_are_counted():
    names = ("a", "b", "c")
    real = gz.Features(np.zeros((10, 2)), None, np.array([0] * 5 + [1] * 4 + [2]), names)
    logits = np.eye(3)[[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]]
    fake = gz.Features(np.zeros((10, 2)), logits, np.array([0, 0, 0, 1, 1, 0, 0, 0, 2, 2]), names)
    found = classes.score(real, fake, seed=0, covered=0.1)
    assert found["share"] == {"a": 0.9, "b": 0.1, "c": 0.0}
    assert found["reference_share"] == {"a": 0.5, "b": 0.4, "c": 0.1}
    assert (found["modes"], found["agreement"]) == (2, 0.7)
    assert found["agreement_within"] == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert (
        classes.score(real, fake, seed=0, covered=0.3)["modes"] == 1
    )  # b has 0.1 of the images, and 0.3 · 0.4 is more
    assert "agreement" not in classes.score(real, gz.Features(fake.features, logits, None, names), seed=0)


@pytest.mark.parametrize(
    ("score", "count", "words"),
    [
        (kid.score, 3, "kid needs at least 4 images"),
        (precision_recall.score, 3, "precision-recall needs at least 4 images"),
        (density_coverage.score, 5, "density-coverage needs at least 6 images"),
        (inception_score.score, 19, "is takes 2 images or more in each of its 10 parts, and there are 19"),
        (classes.score, 9, "classes needs an extractor that knows the data's classes; say --extractor classifier"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_words(score, count, words):
    drawn = np.random.default_rng(0).standard_normal((count, 2)).astype(np.float32)
    with pytest.raises(gz.UsageError, match=words):
        score(gz.Features(drawn), gz.Features(drawn, drawn), seed=0)


def cubic_mmd(real, fake):
    """Squared MMD, unbiased, under k(x, y) = (x·y / F + 1)³, pair by pair."""

    def kernel(x, y):
        return (float(x @ y) / len(x) + 1) ** 3

    def within(side):
        count = len(side)
        return sum(kernel(side[i], side[j]) for i in range(count) for j in range(count) if i != j) / count / (count - 1)

    across = np.mean([[kernel(x, y) for y in fake] for x in real])
    return within(real) + within(fake) - 2 * across


def test_kid_is_the_mean_and_spread_over_subsets_of_the_cubic_kernel_s_mmd():
    """Subsets of half of four images are pairs: all that may be drawn are listed, and every one is among them."""
    numbers = np.random.default_rng(0)
    real, fake = numbers.standard_normal((4, 3)), numbers.standard_normal((4, 3)) + 1
    pairs = [(a, b) for a in range(4) for b in range(a)]
    possible = [cubic_mmd(real[list(r)], fake[list(f)]) for r in pairs for f in pairs]
    sides = gz.Features(real.astype(np.float32)), gz.Features(fake.astype(np.float32))
    one = kid.score(*sides, seed=0, subsets=1)
    assert one["kid_std"] == 0
    assert min(abs(one["kid"] - value) for value in possible) < 1e-5
    two = kid.score(*sides, seed=0, subsets=2, subset_size=2)
    spreads = [(abs(a - b) / 2, (a + b) / 2) for a in possible for b in possible]
    assert min(abs(two["kid_std"] - s) + abs(two["kid"] - m) for s, m in spreads) < 1e-5


def test_kid_takes_its_settings_by_their_names_and_a_thousand_images_a_hundred_times_without(monkeypatch):
    asked = []

    class Noted(KernelInceptionDistance):
        def __init__(self, **options):
            asked.append((options["subsets"], options["subset_size"]))
            super().__init__(**{**options, "subsets": 1, "subset_size": 2})

    monkeypatch.setattr("torchmetrics.image.kid.KernelInceptionDistance", Noted)
    few, many = gz.Features(np.eye(5, dtype=np.float32)), gz.Features(np.zeros((2002, 1), np.float32))
    kid.score(many, many, seed=0)
    kid.score(few, few, seed=0)
    kid.metric({"subsets": 7, "subset_size": 3})(few, few, seed=0)
    kid.metric({"subsets": 7, "subset_size": 3})(many, many, seed=0)
    assert asked == [(100, 1000), (100, 2), (7, 2), (7, 3)]


@pytest.mark.parametrize(("subsets", "size"), [(0, 2), (1, 1), (0, 1), (-1, 5)])
def test_kid_of_no_subsets_or_of_single_images_is_refused(subsets, size):
    side = gz.Features(np.eye(6, dtype=np.float32))
    with pytest.raises(gz.UsageError) as caught:
        kid.score(side, side, seed=0, subsets=subsets, subset_size=size)
    assert str(caught.value) == (f"kid takes at least 1 subset of at least 2 images; found {subsets} of {size}")


@pytest.mark.parametrize(
    ("real", "fake", "words"),
    [(3, 9, f"3 are in the reference; {ADD}"), (9, 3, "3 images are scored; a run draws more with -n 1000")],
)
def test_kid_needs_four_images_on_each_side(real, fake, words):
    sides = [gz.Features(np.eye(count, 5, dtype=np.float32)) for count in (real, fake)]
    with pytest.raises(gz.UsageError) as caught:
        kid.score(*sides, seed=0)
    assert str(caught.value) == f"kid needs at least 4 images on each side, and {words}"


def test_kid_of_a_seed_is_the_same_again_and_of_another_seed_another():
    numbers = np.random.default_rng(0)
    sides = [gz.Features(numbers.standard_normal((12, 3)).astype(np.float32)) for _ in range(2)]
    first, again, other = (kid.score(*sides, seed=seed, subsets=3, subset_size=4) for seed in (1, 1, 2))
    assert first == again != other
