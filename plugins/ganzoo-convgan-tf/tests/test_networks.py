"""The networks: counts, shapes, ranges, each layer, and second derivatives through max pooling."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_convgan_tf.networks import create_discriminator, create_generator


def make_generator(side: int = 28, channels: int = 1, features: int = 2, hidden: int = 8) -> keras.Model:
    keras.utils.set_random_seed(0)
    return create_generator(height=side, width=side, channels=channels, latent_dim=96, features=features, hidden=hidden)


def make_discriminator(side: int = 28, channels: int = 1, features: int = 2, hidden: int = 8) -> keras.Model:
    keras.utils.set_random_seed(0)
    return create_discriminator(height=side, width=side, channels=channels, features=features, hidden=hidden)


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Float32, uniform in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def count(weights: list[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


@pytest.fixture
def double() -> Iterator[None]:
    """Networks that are made meanwhile are in double precision."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@pytest.mark.parametrize(
    ("channels", "expected_g", "expected_d"), [(1, 6_675_009, 1_102_721), (3, 6_677_059, 1_104_321)]
)
def test_learnable_parameters_at_28_pixels(channels: int, expected_g: int, expected_d: int) -> None:
    """D's number with one channel is the published one. The others are that of a published G with a z of 4, which is
    6,595,521 with batch norm's statistics, and what further inputs and channels add to each."""
    G, D = make_generator(28, channels, 32, 1024), make_discriminator(28, channels, 32, 1024)
    assert count(G.trainable_weights) == expected_g
    assert count(D.trainable_weights) == expected_d
    statistics = 2 * (1024 + 6272 + 64)
    more_channels = channels - 1
    assert count(G.weights) == 6_595_521 + (96 - 4) * 1024 + more_channels * (4 * 4 * 64 + 1)
    assert count(G.weights) - count(G.trainable_weights) == statistics
    assert count(D.weights) == 1_102_721 + more_channels * 5 * 5 * 32


@settings(deadline=None, max_examples=12)
@given(
    height=st.integers(4, 12),
    width=st.integers(4, 12),
    channels=st.sampled_from([1, 3]),
    features=st.integers(1, 5),
    hidden=st.integers(1, 9),
    latent=st.integers(1, 9),
)
def test_parameters_and_shapes_follow_the_size_and_the_widths(
    height: int, width: int, channels: int, features: int, hidden: int, latent: int
) -> None:
    size = {"height": 4 * height, "width": 4 * width, "channels": channels, "features": features, "hidden": hidden}
    G, D = create_generator(**size, latent_dim=latent), create_discriminator(**size)
    base = height * width * 4 * features
    dense = (latent + 1) * hidden + (hidden + 1) * base
    transposed = (16 * 4 * features + 1) * 2 * features + (16 * 2 * features + 1) * channels
    assert count(G.trainable_weights) == dense + transposed + 2 * (hidden + base + 2 * features)

    def pooled(side: int) -> int:
        return ((side - 4) // 2 - 4) // 2

    convolutions = (25 * channels + 1) * features + (25 * features + 1) * 2 * features
    flat = pooled(4 * height) * pooled(4 * width) * 2 * features
    assert count(D.trainable_weights) == convolutions + (flat + 1) * hidden + hidden + 1
    assert G.output_shape == D.input_shape == (None, 4 * height, 4 * width, channels)
    assert D.output_shape == (None, 1)


@pytest.mark.parametrize("side", [16, 28, 32, 40])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_of_the_asked_size_and_within_their_range(side: int, channels: int) -> None:
    G, D = make_generator(side, channels), make_discriminator(side, channels)
    for training in (True, False):
        images = G(50 * numbers(3, 96), training=training)
        assert images.shape == (3, side, side, channels)
        assert images.dtype == tf.float32
        assert np.abs(images).max() <= 1
        assert D(images, training=training).shape == (3, 1)


def test_scores_are_raw() -> None:
    D = make_discriminator()
    scores = D(1000 * numbers(8, 28, 28, 1)).numpy()
    assert np.abs(scores).max() > 1
    assert np.ptp(scores) > 0


def test_each_layer_is_the_original_s() -> None:
    G, D = make_generator(28, 3, 32, 1024), make_discriminator(28, 3, 32, 1024)

    def told(network: keras.Model) -> list[tuple[str, tuple[int, ...]]]:
        return [(type(layer).__name__, tuple(layer.output.shape[1:])) for layer in network.layers]

    assert told(G) == [
        ("Dense", (1024,)),
        ("BatchNormalization", (1024,)),
        ("Dense", (6272,)),
        ("BatchNormalization", (6272,)),
        ("Reshape", (7, 7, 128)),
        ("Conv2DTranspose", (14, 14, 64)),
        ("BatchNormalization", (14, 14, 64)),
        ("Conv2DTranspose", (28, 28, 3)),
    ]
    assert told(D) == [
        ("Conv2D", (24, 24, 32)),
        ("LeakyReLU", (24, 24, 32)),
        ("MaxPooling2D", (12, 12, 32)),
        ("Conv2D", (8, 8, 64)),
        ("LeakyReLU", (8, 8, 64)),
        ("MaxPooling2D", (4, 4, 64)),
        ("Flatten", (1024,)),
        ("Dense", (1024,)),
        ("LeakyReLU", (1024,)),
        ("Dense", (1,)),
    ]
    activations = [layer.activation.__name__ for layer in G.layers if hasattr(layer, "activation")]
    assert activations == ["relu", "relu", "relu", "tanh"]
    assert {layer.activation.__name__ for layer in D.layers if hasattr(layer, "activation")} == {"linear"}
    for layer in (*G.layers, *D.layers):
        kind = type(layer).__name__
        if kind == "Conv2D":
            assert (layer.kernel_size, layer.strides, layer.padding) == ((5, 5), (1, 1), "valid")
        elif kind == "Conv2DTranspose":
            assert (layer.kernel_size, layer.strides, layer.padding) == ((4, 4), (2, 2), "same")
        elif kind == "MaxPooling2D":
            assert (layer.pool_size, layer.strides, layer.padding) == ((2, 2), (2, 2), "valid")
        elif kind == "BatchNormalization":
            assert (layer.momentum, layer.epsilon) == (0.99, 1e-3)
        if kind in ("Dense", "Conv2D", "Conv2DTranspose"):
            assert layer.use_bias
            assert not layer.bias.numpy().any()
            assert type(layer.kernel_initializer).__name__ == "GlorotUniform"


@pytest.fixture(scope="module")
def leaky() -> list[keras.layers.Layer]:
    return [layer for layer in make_discriminator(16).layers if type(layer).__name__ == "LeakyReLU"]


def test_leaky_relu_has_a_slope_of_a_hundredth(leaky: list[keras.layers.Layer]) -> None:
    assert [layer.negative_slope for layer in leaky] == [0.01] * 3


@given(x=st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1))
def test_leaky_relu_is_the_larger_of_x_and_its_share(leaky: list[keras.layers.Layer], x: list[float]) -> None:
    given = np.array(x, np.float32)
    smallest = np.finfo(np.float32).tiny  # what is smaller counts as 0 in TensorFlow
    for layer in leaky:
        np.testing.assert_allclose(layer(given), np.maximum(given, np.float32(0.01) * given), rtol=1e-6, atol=smallest)


def test_a_score_is_what_plain_loops_give() -> None:
    D = make_discriminator(16, channels=3)
    x = numbers(2, 16, 16, 3)
    w1, b1, w2, b2, w3, b3, w4, b4 = (weight.numpy().astype(np.float64) + 0.01 for weight in D.weights)
    for weight, value in zip(D.weights, (w1, b1, w2, b2, w3, b3, w4, b4), strict=True):
        weight.assign(value)

    def leaky(h: np.ndarray) -> np.ndarray:
        return np.maximum(h, 0.01 * h)

    def level(h: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
        """A convolution without padding, and the largest of each square of four."""
        n, side = len(h), h.shape[1] - 4
        out = np.empty((n, side, side, w.shape[3]))
        for i in range(side):
            for j in range(side):
                out[:, i, j] = np.tensordot(h[:, i : i + 5, j : j + 5], w, 3) + b
        side //= 2
        return leaky(out).reshape(n, side, 2, side, 2, -1).max((2, 4))

    h = level(level(x.astype(np.float64), w1, b1), w2, b2).reshape(2, -1)
    expected = leaky(h @ w3 + b3) @ w4 + b4
    np.testing.assert_allclose(D(x), expected, rtol=1e-4, atol=1e-6)


def test_a_score_depends_on_its_own_image_only() -> None:
    D = make_discriminator()
    x = numbers(4, 28, 28, 1)
    np.testing.assert_allclose(D(x, training=True)[:1], D(x[:1], training=True), rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("double")
def test_a_gradient_penalty_has_the_right_gradient_in_every_kernel() -> None:
    """`has.second_order`: second derivatives through max pooling against central differences."""
    D = make_discriminator(channels=3)
    x = tf.constant(numbers(3, 28, 28, 3), tf.float64)

    def penalty() -> tf.Tensor:
        with tf.GradientTape() as inner:
            inner.watch(x)
            summed = tf.reduce_sum(D(x, training=True))
        return tf.reduce_sum(tf.square(100 * inner.gradient(summed, x)))

    kernels = [weight for weight in D.trainable_variables if weight.name == "kernel"]
    assert len(kernels) == 4
    with tf.GradientTape() as tape:
        value = penalty()
    gradients = tape.gradient(value, [kernel.value for kernel in kernels])
    for kernel, gradient in zip(kernels, gradients, strict=True):
        kept, step = kernel.numpy(), np.zeros(kernel.shape)
        at = int(np.abs(gradient).argmax())
        step.flat[at] = 1e-6
        sides = []
        for moved in (kept + step, kept - step):
            kernel.assign(moved)
            sides.append(float(penalty()))
        kernel.assign(kept)
        assert gradient.numpy().flat[at] == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "nearest"), [(30, 30, 32), (12, 12, 16), (8, 8, 16), (28, 12, 28), (0, 0, 16)]
)
def test_another_size_is_refused_with_the_nearest_one(height: int, width: int, nearest: int) -> None:
    size = {"height": height, "width": width, "channels": 1, "features": 2, "hidden": 2}
    words = rf"{height}×{width} pixels and makes multiples of 4 from 16 up; set data\.size to {nearest}$"
    with pytest.raises(gz.UsageError, match=words):
        create_generator(**size, latent_dim=2)
    with pytest.raises(gz.UsageError, match=words):
        create_discriminator(**size)


def test_fewer_than_16_pixels_would_leave_nothing() -> None:
    """16: 12, pooled 6, then 2, pooled 1. 12: 8, pooled 4, then 0."""
    assert make_discriminator(16).layers[5].output.shape[1:] == (1, 1, 4)
    assert ((12 - 4) // 2 - 4) // 2 == 0


@pytest.mark.parametrize(
    ("wrong", "words"), [({"features": 0}, r"model\.width is 0"), ({"hidden": -1}, r"model\.hidden is -1")]
)
def test_a_width_of_nothing_is_refused(wrong: dict[str, int], words: str) -> None:
    for make in (make_generator, make_discriminator):
        with pytest.raises(gz.UsageError, match=words):
            make(**wrong)
