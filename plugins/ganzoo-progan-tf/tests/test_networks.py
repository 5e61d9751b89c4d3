"""The two networks against the paper's tables, its formulas and independent arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_progan_tf import networks
from ganzoo_progan_tf.networks import Convolution, Discriminator, Generator

SIZES = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
PAPER = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}  # table 2


def generator(size: int = 16, *, channels: int = 1, latent_dim: int = 6, width: int = 5) -> Generator:
    keras.utils.set_random_seed(1)
    return Generator(size=size, channels=channels, latent_dim=latent_dim, width=width)


def discriminator(size: int = 16, *, channels: int = 1, width: int = 5) -> Discriminator:
    keras.utils.set_random_seed(2)
    return Discriminator(size=size, channels=channels, width=width)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def count(network: keras.Model) -> int:
    return sum(math.prod(weight.shape) for weight in network.trainable_weights)


def nearest(images: np.ndarray) -> np.ndarray:
    return np.kron(images, np.ones((1, 2, 2, 1), np.float32))


def halved(images: np.ndarray) -> np.ndarray:
    n, h, w, c = images.shape
    return images.reshape(n, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))


def leaky(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.2 * x)


def normed(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-8)


def convolved(layer: Convolution, x: np.ndarray, gain: float) -> np.ndarray:
    """Same padding, one product for each place of the kernel, weights scaled by hand."""
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    side = len(weight)
    weight = weight * gain / math.sqrt(side * side * x.shape[3])
    padded = np.pad(x, ((0, 0), (side // 2,) * 2, (side // 2,) * 2, (0, 0)))
    height, width = x.shape[1:3]
    parts = [
        padded[:, top : top + height, left : left + width] @ weight[top, left]
        for top in range(side)
        for left in range(side)
    ]
    return sum(parts) + bias


def make_biases_matter(network: keras.Model) -> None:
    for place, weight in enumerate(network.weights):
        if weight.name == "bias":
            weight.assign(noise(*weight.shape, seed=place))


# Sizes and counts.


def test_feature_maps_are_those_of_table_2() -> None:
    assert {size: networks.count_channels(size, 512) for size in SIZES} == PAPER
    assert {size: networks.count_channels(size, 10**6) for size in SIZES} == PAPER
    for stage, size in enumerate(SIZES, start=1):
        assert networks.count_channels(size, 48) == min(8192 / 2**stage, 512, 48)


def test_parameters_at_1024_pixels_are_the_paper_s() -> None:
    """Table 2 gives each layer's and 23.1 million in all for either network, with the last stage's toRGB alone."""
    G, D = (
        kind(size=1024, channels=3, width=512, **more)
        for kind, more in ((Generator, {"latent_dim": 512}), (Discriminator, {}))
    )
    for network in (G, D):
        network.grow(1024)
    former_g = sum(3 * PAPER[size] + 3 for size in SIZES[:-1])
    former_d = sum(4 * PAPER[size] for size in SIZES[:-1])
    for parameters in (count(G) - former_g, count(D) - former_d):
        assert round(parameters / 1e6, 1) == 23.1
    told_g = [round(count_of(layer) / 1e6, 1) for layer in (G.projection, G.convolution, G.blocks[0].first)]
    assert told_g == [4.2, 2.4, 2.4]
    assert [round(count_of(G.blocks[-1].first) / 1e3, 1), round(count_of(G.blocks[-1].second) / 1e3, 1)] == [4.6, 2.3]
    assert count_of(G.to_image[-1]) == 51
    assert count_of(D.from_image[-1]) == 64
    assert [round(count_of(layer) / 1e6, 1) for layer in (D.convolution, D.gather)] == [2.4, 4.2]
    assert count_of(D.score) == 513


def count_of(layer: keras.layers.Layer) -> int:
    return sum(math.prod(weight.shape) for weight in layer.weights)


@settings(deadline=None, max_examples=12)
@given(levels=st.integers(0, 3), channels=st.sampled_from([1, 3]), width=st.integers(1, 9), latent=st.integers(1, 12))
def test_parameters_of_every_stage(levels: int, channels: int, width: int, latent: int) -> None:
    """Up to 32 pixels all layers are `width` wide when it is small."""
    G = generator(4 << levels, channels=channels, width=width, latent_dim=latent)
    D = discriminator(4 << levels, channels=channels, width=width)
    three = 9 * width * width + width
    expected_g = 16 * latent * width + width + three + width * channels + channels
    expected_d = channels * width + width + three + 9 * width + 16 * width * width + width + width + 1
    for level in range(levels + 1):
        G.grow(4 << level)
        D.grow(4 << level)
        assert count(G) == expected_g + level * (2 * three + width * channels + channels)
        assert count(D) == expected_d + level * (2 * three + channels * width + width)


@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_of_every_stage(channels: int) -> None:
    G, D = generator(32, channels=channels), discriminator(32, channels=channels)
    for resolution in (4, 8, 16, 32):
        G.grow(resolution)
        D.grow(resolution)
        images = G(noise(3, 6), resolution=resolution, fade=tf.constant(0.3))
        assert images.shape == (3, resolution, resolution, channels)
        assert images.dtype == tf.float32
        scores = D(images, resolution=resolution, fade=tf.constant(0.3))
        assert scores.shape == (3,)


# Growth.


def test_growing_adds_layers_and_leaves_what_was_there() -> None:
    for network in (generator(16), discriminator(16)):
        seen: list[tuple[str, tuple[int, ...], np.ndarray]] = []
        for resolution in (4, 8, 16):
            network.grow(resolution)
            now = [(weight.name, tuple(weight.shape), weight.numpy()) for weight in network.weights]
            assert len(now) > len(seen)
            for (name, shape, value), (name_now, shape_now, value_now) in zip(seen, now, strict=False):
                assert (name, shape) == (name_now, shape_now)
                assert np.array_equal(value, value_now)
            seen = now
            network.grow(resolution)
            network.grow(4)
            assert len(network.weights) == len(seen)


def test_growing_at_once_is_growing_in_steps() -> None:
    """What a saved generator is rebuilt by: the same weights, at the same places."""
    for make in (generator, discriminator):
        at_once, in_steps = make(16), make(16)
        at_once.grow(16)
        for resolution in (8, 16):
            in_steps.grow(resolution)
        assert [w.shape for w in at_once.weights] == [w.shape for w in in_steps.weights]
        assert [w.name for w in at_once.weights] == [w.name for w in in_steps.weights]


def test_at_fade_0_a_stage_is_the_one_before_and_at_1_the_new_layers_alone() -> None:
    G, D = generator(16, channels=3), discriminator(16, channels=3)
    z = noise(4, 6)
    for old, new in ((4, 8), (8, 16)):
        make_biases_matter(G)
        make_biases_matter(D)
        before = G(z, resolution=old, fade=tf.constant(1.0)).numpy()
        images = noise(4, new, new, 3, seed=new)
        judged = D(halved(images), resolution=old, fade=tf.constant(1.0)).numpy()
        G.grow(new)
        D.grow(new)
        at = {fade: G(z, resolution=new, fade=tf.constant(fade)).numpy() for fade in (0.0, 0.25, 1.0)}
        np.testing.assert_allclose(at[0.0], nearest(before), atol=1e-6)
        np.testing.assert_allclose(at[0.25], 0.75 * nearest(before) + 0.25 * at[1.0], atol=1e-5)
        assert np.abs(at[1.0] - at[0.0]).max() > 0.01
        scores = D(images, resolution=new, fade=tf.constant(0.0)).numpy()
        np.testing.assert_allclose(scores, judged, atol=1e-5)
        assert np.abs(D(images, resolution=new, fade=tf.constant(1.0)).numpy() - judged).max() > 1e-3


def test_d_blends_features_before_the_shared_layers() -> None:
    """At fade 0.25 the rest of D sees 0.75 of the old way in, and 0.25 of the new."""
    D = discriminator(8, channels=3)
    D.grow(8)
    make_biases_matter(D)
    images = noise(4, 8, 8, 3)
    old = leaky(convolved(D.from_image[0], halved(images), math.sqrt(2)))
    new = leaky(convolved(D.from_image[1], images, math.sqrt(2)))
    new = leaky(convolved(D.blocks[0].first, new, math.sqrt(2)))
    new = halved(leaky(convolved(D.blocks[0].second, new, math.sqrt(2))))
    x = 0.75 * old + 0.25 * new
    deviation = np.sqrt(x.var(axis=0) + 1e-8).mean()
    x = np.concatenate([x, np.full((4, 4, 4, 1), deviation, np.float32)], axis=3)
    x = leaky(convolved(D.convolution, x, math.sqrt(2)))
    weight = D.gather.weight.numpy() * math.sqrt(2) / math.sqrt(16 * 5)
    x = leaky(np.einsum("nhwc,hwcd->nd", x, weight) + D.gather.bias.numpy())
    expected = x @ D.score.weight.numpy()[0, 0] / math.sqrt(5) + D.score.bias.numpy()
    found = D(images, resolution=8, fade=tf.constant(0.25)).numpy()
    np.testing.assert_allclose(found, expected[:, 0], rtol=1e-4, atol=1e-5)


def test_images_are_what_plain_arithmetic_gives() -> None:
    G = generator(8, channels=3)
    G.grow(8)
    make_biases_matter(G)
    z = noise(2, 6)
    weight = G.projection.weight.numpy() * math.sqrt(2) / math.sqrt(16 * 6)
    # Slid over one pixel, a kernel's last place comes first.
    x = normed(leaky(np.einsum("nl,hwlc->nhwc", z, weight[::-1, ::-1]) + G.projection.bias.numpy()))
    x = before = normed(leaky(convolved(G.convolution, x, math.sqrt(2))))
    x = normed(leaky(convolved(G.blocks[0].first, nearest(x), math.sqrt(2))))
    x = normed(leaky(convolved(G.blocks[0].second, x, math.sqrt(2))))
    old, new = convolved(G.to_image[0], before, 1.0), convolved(G.to_image[1], x, 1.0)
    found = G(z, resolution=8, fade=tf.constant(0.4)).numpy()
    np.testing.assert_allclose(found, 0.6 * nearest(old) + 0.4 * new, rtol=1e-4, atol=1e-5)


def test_without_a_resolution_a_network_grows_to_its_full_size() -> None:
    """With a schedule that knows no stages the whole network trains from the start."""
    G, D = generator(16), discriminator(16)
    assert G(noise(2, 6)).shape == (2, 16, 16, 1)
    assert D(noise(2, 16, 16, 1)).shape == (2,)
    assert len(G.blocks) == len(D.blocks) == 2


def test_other_sizes_and_stages_are_refused() -> None:
    for size in (0, 2, 6, 28, 2048):
        with pytest.raises(gz.UsageError, match=rf"images of {size} pixels; set data\.size to 4, 8, 16"):
            generator(size)
    with pytest.raises(gz.UsageError, match=r"model\.width is 0"):
        discriminator(16, width=0)
    for resolution in (2, 12, 32):
        with pytest.raises(gz.UsageError, match=f"of 16 pixels cannot grow to {resolution}; .* 16 at most"):
            generator(16).grow(resolution)
    with pytest.raises(ValueError, match="has grown to 4 pixels and is asked for 8"):
        generator(16)(noise(1, 6), resolution=8, fade=tf.constant(1.0))


# The paper's ingredients.


def test_weights_are_stored_as_unit_normals_and_biases_as_zeros() -> None:
    for network in (generator(16, width=32, latent_dim=32), discriminator(16, width=32)):
        network.grow(16)
        flat = np.concatenate([w.numpy().ravel() for w in network.weights if w.name == "weight"])
        error = 5 / math.sqrt(len(flat))
        assert abs(flat.mean()) < error
        assert abs(flat.std() - 1) < error
        assert all(not w.numpy().any() for w in network.weights if w.name == "bias")
        kernels = [w.numpy() for w in network.weights if w.name == "weight" and w.shape == (3, 3, 32, 32)]
        assert all(not np.allclose(kernels[0], other) for other in kernels[1:])


@pytest.mark.parametrize(("side", "gain"), [(3, math.sqrt(2)), (1, 1.0)])
def test_equalised_convolution_by_hand(side: int, gain: float) -> None:
    layer = Convolution(4, 3, side, gain=gain)
    layer.bias.assign([0.1, -0.2, 0.3])
    x = noise(2, 5, 6, 4)
    np.testing.assert_allclose(layer(x).numpy(), convolved(layer, x, gain), rtol=1e-4, atol=1e-5)


def test_gains_are_he_s_but_1_where_no_rectifier_follows() -> None:
    G, D = generator(8, channels=3), discriminator(8, channels=3)
    G.grow(8)
    D.grow(8)
    assert [layer.scale for layer in G.to_image] == pytest.approx([math.sqrt(1 / 5)] * 2)
    assert D.score.scale == pytest.approx(math.sqrt(1 / 5))
    assert [layer.scale for layer in D.from_image] == pytest.approx([math.sqrt(2 / 3)] * 2)
    assert D.gather.scale == pytest.approx(math.sqrt(2 / (16 * 5)))
    assert D.convolution.scale == pytest.approx(math.sqrt(2 / (9 * 6)))
    assert G.projection.scale == pytest.approx(math.sqrt(2 / (16 * 6)))
    for layer in (G.convolution, G.blocks[0].first, G.blocks[0].second, D.blocks[0].first, D.blocks[0].second):
        assert layer.scale == pytest.approx(math.sqrt(2 / (9 * 5)))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(1, 6), st.floats(1e-3, 1e3), st.integers(0, 2**31))
def test_pixel_norm(n: int, channels: int, scale: float, seed: int) -> None:
    x = noise(n, 3, 2, channels, seed=seed) * np.float32(scale)
    found = networks.pixel_norm(tf.constant(x)).numpy()
    np.testing.assert_allclose(found, normed(x.astype(np.float64)), rtol=1e-4)
    if np.abs(x).max(axis=-1).min() > 1e-2:
        np.testing.assert_allclose((found**2).mean(axis=-1), 1, rtol=1e-3)


def test_pixel_norm_of_nothing_is_nothing() -> None:
    assert not networks.pixel_norm(tf.zeros([1, 1, 1, 3])).numpy().any()


@pytest.mark.parametrize(("n", "group"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 3), (8, 4), (16, 4), (10, 2)])
def test_minibatch_deviation(n: int, group: int) -> None:
    x = noise(n, 4, 4, 3, seed=n)
    expected = np.empty((n, 4, 4, 1), np.float32)
    for first in range(0, n, group):
        members = x[first : first + group].astype(np.float64)
        mean = sum(members) / group
        variance = sum((member - mean) ** 2 for member in members) / group
        expected[first : first + group] = np.sqrt(variance + 1e-8).mean()
    found = networks.add_minibatch_stddev(tf.constant(x)).numpy()
    assert found.shape == (n, 4, 4, 4)
    assert np.array_equal(found[..., :3], x)
    np.testing.assert_allclose(found[..., 3:], expected, rtol=1e-4)


def test_d_sees_whether_the_images_of_a_group_differ() -> None:
    D = discriminator(4)
    one = noise(1, 4, 4, 1)
    alone = D(np.repeat(one, 4, axis=0), resolution=4, fade=tf.constant(1.0)).numpy()
    among = D(np.concatenate([one, noise(3, 4, 4, 1, seed=9)]), resolution=4, fade=tf.constant(1.0)).numpy()
    assert abs(alone[0] - among[0]) > 1e-3
    np.testing.assert_allclose(alone, alone[0], rtol=1e-5)


def test_sampling_up_and_down() -> None:
    x = noise(2, 4, 6, 3)
    assert np.array_equal(networks.upsample(tf.constant(x)).numpy(), nearest(x))
    np.testing.assert_allclose(networks.downsample(tf.constant(x)).numpy(), halved(x), rtol=1e-5, atol=1e-6)


def test_no_layer_of_d_normalises() -> None:
    """A gradient penalty asks for each image's own score; only the deviation looks at others."""
    D = discriminator(16)
    D.grow(16)
    assert not any("Normalization" in type(layer).__name__ for layer in flattened(D))


def flattened(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    yield from layer._flatten_layers(include_self=False)


# The gradient penalty.


@pytest.mark.parametrize("fade", [0.5, 1.0])
def test_a_gradient_penalty_reaches_every_weight_with_the_right_gradient(fade: float) -> None:
    """Second derivatives against central differences of the penalty, in double precision."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        D = discriminator(8, width=3)
        D.grow(8)
        x = tf.constant(noise(4, 8, 8, 1), tf.float64)

        def penalty() -> tf.Tensor:
            with tf.GradientTape(watch_accessed_variables=False) as inner:
                inner.watch(x)
                scores = D(x, resolution=8, fade=tf.constant(fade, tf.float64))
            gradient = inner.gradient(scores, x)
            norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]))
            return tf.reduce_mean(tf.square(norm - 1))

        weights = [weight for weight in D.trainable_weights if weight.name == "weight"]
        with tf.GradientTape() as tape:
            value = penalty()
        gradients = tape.gradient(value, [weight.value for weight in weights])
    finally:
        keras.config.set_dtype_policy(policy)
    used = 0
    for weight, gradient in zip(weights, gradients, strict=True):
        assert gradient is not None, weight.path
        at = np.unravel_index(int(np.abs(gradient.numpy()).argmax()), weight.shape)
        kept, step = weight.numpy(), 1e-6
        found = []
        for sign in (1, -1):
            moved = kept.copy()
            moved[at] += sign * step
            weight.assign(moved)
            found.append(float(penalty()))
        weight.assign(kept)
        expected = (found[0] - found[1]) / (2 * step)
        assert float(gradient.numpy()[at]) == pytest.approx(expected, rel=1e-5, abs=1e-9), weight.path
        used += abs(expected) > 1e-6
    # At fade 1 the old way in has no part in the scores.
    assert used == len(weights) - (fade == 1.0)
