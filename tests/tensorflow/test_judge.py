"""What a Keras discriminator says of pictures, against formulas written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ganzoo_core import engines
from ganzoo_core.settings import read_engine_settings

keras = pytest.importorskip("keras")
RANDOM = np.random.default_rng(1)


@pytest.fixture(scope="module")
def engine() -> Any:
    return engines.create_engine("tensorflow", read_engine_settings({}))


def pictures(count: int, size: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (count, size, size, 1), dtype=np.uint8)


def test_batch_norms_means_are_those_of_real_batches(engine: Any) -> None:
    """The mean over batches of each batch's mean and variance; then scores are an affine map."""
    norm, dense = keras.layers.BatchNormalization(momentum=0.9), keras.layers.Dense(1)
    D = keras.Sequential([keras.layers.Flatten(), norm, keras.layers.Dropout(0.5), dense])
    D(np.zeros((2, 2, 2, 1), np.float32), training=True)
    real, seen = pictures(12, 2), pictures(70, 2)
    engine.recalibrate_batch_norm(D, real, None, {}, batch_size=4)
    batches = (real.reshape(12, 4) / 127.5 - 1).reshape(3, 4, 4)
    mean, variance = batches.mean(axis=1).mean(axis=0), batches.var(axis=1).mean(axis=0)
    weight, bias = (array.numpy().astype(float) for array in dense.weights)
    normed = (seen.reshape(70, 4) / 127.5 - 1 - mean) / np.sqrt(variance + norm.epsilon)
    scores = engine.score_images(D, seen, None, {})
    assert scores.shape == (70,)
    assert scores == pytest.approx(normed @ weight[:, 0] + bias[0], abs=1e-4)
    assert norm.momentum == 0.9


def test_a_growing_network_is_given_the_pictures_of_its_stage(engine: Any) -> None:
    """At 4 of 8 pixels, a quarter faded in: means of 2×2, blended with their own means of 2×2, enlarged."""

    class Growing(keras.Model):
        def call(self, images: Any, *, fade: Any, training: bool = False) -> Any:
            assert images.shape[1:] == (4, 4, 1)
            return keras.ops.reshape(images, (-1, 16)) * fade  # patches

    seen = pictures(3, 8)
    values = {"resolution": 4, "fade": 0.25, "lr_g": 1.0}
    found = engine.score_images(Growing(), seen, None, values, takes=("fade",))
    fine = (seen[..., 0] / 127.5 - 1).reshape(3, 4, 2, 4, 2).mean(axis=(2, 4))
    coarse = fine.reshape(3, 2, 2, 2, 2).mean(axis=(2, 4)).repeat(2, axis=1).repeat(2, axis=2)
    expected = 0.25 * (0.25 * fine + 0.75 * coarse)
    assert found == pytest.approx(expected.reshape(3, 16), abs=1e-5)


def test_labels_reach_a_conditional_network(engine: Any) -> None:
    class Told(keras.Model):
        def call(self, images: Any, labels: Any, training: bool = False) -> Any:
            means = keras.ops.mean(images, axis=(1, 2, 3)) + keras.ops.cast(labels, "float32")
            return {"scores": means[:, None], "classes": images}

    seen = pictures(3, 2)
    found = engine.score_images(Told(), seen, np.array([0, 5, 2]), {})
    assert found == pytest.approx((seen / 127.5 - 1).mean(axis=(1, 2, 3)) + np.array([0, 5, 2]), abs=1e-5)
