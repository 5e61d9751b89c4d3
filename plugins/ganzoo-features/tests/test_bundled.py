"""--extractor bundled."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

import ganzoo_core as gz
from ganzoo_features import bundled

MAX_BYTES = 5_000_000


def make_images(height=32, width=32, channels=3, count=75, seed=0):
    """Smooth noise, uint8 [N,H,W,C]."""
    coarse = np.random.default_rng(seed).uniform(0, 256, (count, 8, 8, channels))
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    return coarse[:, rows][:, :, columns].astype(np.uint8)


@pytest.fixture(scope="module")
def extract():
    pytest.importorskip("torch")
    return bundled.extractor().extract


@pytest.fixture(scope="module")
def in_tensorflow(tmp_path_factory):
    """The features of `make_images()` and of `make_images(45, 80, 1)` by TensorFlow, in a process of its own."""
    pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("tensorflow")
    paths = [str(folder / name) for name in ("square.npy", "wide.npy")]
    for path, images in zip(paths, (make_images(), make_images(45, 80, 1)), strict=True):
        np.save(path, images)
    code = """if True:
        import sys
        import numpy as np
        import tensorflow
        from ganzoo_features import bundled
        extractor = bundled.extractor()
        for path in sys.argv[1:]:
            features, logits = extractor.extract(np.load(path))
            assert logits is None
            np.save(path, features)
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code, *paths], check=True, timeout=300)
    return [np.load(path) for path in paths]


def test_both_frameworks_compute_the_same_features(extract, in_tensorflow):
    for images, other in zip((make_images(), make_images(45, 80, 1)), in_tensorflow, strict=True):
        features, logits = extract(images)
        assert features.dtype == np.float32
        assert features.shape == (len(images), bundled.FEATURES)
        assert logits is None
        np.testing.assert_allclose(other, features, rtol=1e-4, atol=1e-4 * float(np.abs(features).max()))


def test_both_frameworks_give_the_same_scores(extract, in_tensorflow):
    fid, kid = (pytest.importorskip(f"ganzoo_scores.{name}") for name in ("fid", "kid"))
    fake = gz.Features(extract(make_images(seed=1) // 2)[0], None)
    here, there = gz.Features(extract(make_images())[0], None), gz.Features(in_tensorflow[0], None)
    assert fid.score(there, fake, 0, allow_few=True)["fid"] == pytest.approx(
        fid.score(here, fake, 0, allow_few=True)["fid"], rel=1e-4
    )
    assert kid.score(there, fake, 0)["kid"] == pytest.approx(kid.score(here, fake, 0)["kid"], rel=1e-4)


def test_whole_batches_have_the_features_of_all_images_at_once(extract):
    images = np.concatenate([make_images(seed=seed) for seed in range(5)])[:150]
    step = 2 * bundled.extractor().batch
    parts = [extract(images[first : first + step])[0] for first in range(0, len(images), step)]
    assert len(parts) > 1
    np.testing.assert_array_equal(np.concatenate(parts), extract(images)[0])


def test_an_image_has_the_same_features_whatever_comes_with_it(extract):
    images = make_images()
    features, _ = extract(images)
    for some in (slice(0, 1), slice(3, 40), slice(70, 75)):
        np.testing.assert_allclose(extract(images[some])[0], features[some], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "seen"),
    [((8, 8, 1), (32, 32)), ((28, 40, 1), (32, 40)), ((64, 33, 3), (64, 33)), ((90, 20, 3), (64, 32))],
)
def test_sides_of_32_to_64_pixels_are_seen(extract, shape, seen):
    images = make_images(*shape, count=3)
    resized = bundled.resize(images)
    assert resized.shape == (3, *seen, shape[2])
    assert np.array_equal(extract(images)[0], extract(resized)[0])


def test_grey_is_seen_as_equal_channels(extract):
    grey = make_images(channels=1)
    assert np.array_equal(extract(grey)[0], extract(grey.repeat(3, axis=3))[0])


def test_no_images_have_no_features(extract):
    assert extract(np.zeros((0, 32, 32, 3), np.uint8))[0].shape == (0, bundled.FEATURES)


def test_a_score_says_by_which_weights(extract):
    content = bundled.WEIGHTS_FILE.read_bytes()
    facts = bundled.extractor().facts
    assert facts == {
        "weights": hashlib.sha256(content).hexdigest(),
        "weights_version": bundled.WEIGHTS_VERSION,
        "resizer": "bicubic with antialiasing, as Pillow has it, to sides of 32 to 64 pixels",
    }
    assert len(content) <= MAX_BYTES


def test_damaged_weights_are_told(tmp_path):
    tensors = safetensors.numpy.load_file(bundled.WEIGHTS_FILE)
    safetensors.numpy.save_file({**tensors, "centre": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(gz.DataError, match=r"centre is float32 .*; reinstall ganzoo-features"):
        bundled.load_tensors(tmp_path / "other.safetensors")
    with pytest.raises(gz.DataError, match=r"cannot be read.*; reinstall ganzoo-features"):
        bundled.load_tensors(tmp_path / "none.safetensors")


def test_weights_that_were_changed_are_refused(tmp_path, monkeypatch):
    tensors = safetensors.numpy.load_file(bundled.WEIGHTS_FILE)
    tensors["centre"][0] += 1
    changed = tmp_path / "bundled.safetensors"
    safetensors.numpy.save_file(tensors, changed)
    monkeypatch.setattr(bundled, "WEIGHTS_FILE", changed)
    with pytest.raises(gz.DataError, match="is not as it was shipped; reinstall ganzoo-features"):
        bundled.extractor()


def test_the_hooks_module_imports_no_framework():
    code = (
        "import sys, ganzoo_features.bundled; "
        "print([n for n in ('torch', 'tensorflow', 'PIL') if n in sys.modules], end='')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "[]"
