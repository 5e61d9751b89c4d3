"""Spectral normalisation in TensorFlow: against singular values, against torch, and what moves when."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from keras import layers
from torch import nn

import ganzoo_core as gz
from ganzoo_core.engines.tensorflow.ops import TensorFlowOps

IMAGES = (6, 8, 8, 1)


class Discriminator(keras.Model):
    """One layer of each kind that can be normalised, a batch norm and a dropout that cannot."""

    def __init__(self):
        super().__init__()
        self.down = layers.Conv2D(4, 4, 2, "same", kernel_initializer=keras.initializers.RandomNormal(0, 2.0))
        self.norm, self.drop = layers.BatchNormalization(), layers.Dropout(0.3)
        self.up = layers.Conv2DTranspose(3, 4, 2, "same")
        self.label, self.last = layers.Embedding(5, 3), layers.Dense(1)

    def call(self, images, training=False):
        h = tf.tanh(self.norm(self.down(images), training=training))
        names = self.label(tf.range(images.shape[0]) % 5)
        h = self.drop(tf.tanh(self.up(h)), training=training) * names[:, None, None, :]
        return self.last(tf.reshape(h, [images.shape[0], -1]))[:, 0]


def make(modify, network=None, **settings):
    keras.utils.set_random_seed(0)
    network = Discriminator() if network is None else network
    return modify("build_discriminator", network, "spectral-norm", "tensorflow", **settings)


def noise(seed=0):
    return tf.random.stateless_normal(IMAGES, (0, seed))


def kernels(network):
    """Each weight that is normalised, as the paper flattens it: one row an output channel."""
    return {
        "down": network.down.kernel.numpy().transpose(3, 0, 1, 2).reshape(4, -1),
        "up": network.up.kernel.numpy().transpose(2, 0, 1, 3).reshape(3, -1),
        "label": network.label.embeddings.numpy(),
        "last": network.last.kernel.numpy().T,
    }


def used(D, images, training=False):
    """The weights as the network sees them in a forward."""
    seen = {}
    network = D.network
    plain = network.call

    def watching(x, training=False):
        for name, layer in (("down", network.down), ("up", network.up), ("last", network.last)):
            seen[name] = np.array(tf.convert_to_tensor(layer.kernel))
        seen["label"] = np.array(tf.convert_to_tensor(network.label.embeddings))
        return plain(x, training=training)

    network.call = watching
    D(images, training=training)
    network.call = plain
    return {
        "down": seen["down"].transpose(3, 0, 1, 2).reshape(4, -1),
        "up": seen["up"].transpose(2, 0, 1, 3).reshape(3, -1),
        "label": seen["label"],
        "last": seen["last"].T,
    }


def vectors(D):
    return [weight.numpy() for weight in D.weights if weight.name.endswith(("_u", "_v"))]


def test_every_largest_singular_value_becomes_one(modify):
    D = make(modify)
    for step in range(60):
        D(noise(step), training=True)
    for matrix in used(D, noise()).values():
        assert np.linalg.svd(matrix, compute_uv=False)[0] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("iterations", [1, 3])
def test_the_power_iteration_by_hand(modify, iterations):
    D = make(modify, iterations=iterations)
    D(noise())
    order = [weight.name.split("_")[0] for weight in D.weights if weight.name.endswith("_v")]
    assert order == ["conv2d", "conv2d", "embedding", "dense"]
    v = dict(zip(("down", "up", "label", "last"), vectors(D)[1::2], strict=True))
    found = used(D, noise(), training=True)
    for name, matrix in kernels(D.network).items():
        right = v[name]
        for _ in range(iterations):
            left = matrix @ right / np.linalg.norm(matrix @ right)
            right = matrix.T @ left / np.linalg.norm(matrix.T @ left)
        np.testing.assert_allclose(found[name], matrix / (left @ matrix @ right), rtol=1e-4, atol=1e-6)


def test_the_stored_weights_are_the_plain_ones(modify):
    """Unlike in Keras' own layer, which overwrites them in each training forward."""
    D = make(modify)
    D(noise())
    before = kernels(D.network)
    D(noise(), training=True)
    for name, matrix in kernels(D.network).items():
        assert np.array_equal(matrix, before[name])


def test_vectors_rest_in_eval_and_move_once_in_training(modify):
    D = make(modify)
    D(noise())
    once = make(modify)
    once(noise())
    before = vectors(D)
    assert all(np.array_equal(a, b) for a, b in zip(before, vectors(once), strict=True))
    D(noise(1))
    assert all(np.array_equal(a, b) for a, b in zip(before, vectors(D), strict=True))
    with tf.GradientTape() as tape:
        _, gradient = TensorFlowOps().score_and_gradient(lambda x: D(x, training=True), noise())
        penalty = tf.reduce_sum(tf.square(gradient))
    once(noise(), training=True)
    assert any(not np.array_equal(a, b) for a, b in zip(before, vectors(D), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(vectors(D), vectors(once), strict=True))
    assert np.isfinite(tape.gradient(penalty, D.network.down.kernel)).all()


def test_batch_norm_and_seeds_move_as_without_it(modify):
    """The wrapped network, against one whose weights were divided by hand."""
    plain, D = Discriminator(), make(modify)
    D(noise())
    plain(noise())
    for network in (plain, D.network):
        network.drop.seed_generator.state.assign([7, 0])
    divided = used(D, noise(), training=True)
    plain.down.kernel.assign(divided["down"].reshape(4, 4, 4, 1).transpose(1, 2, 3, 0))
    plain.up.kernel.assign(divided["up"].reshape(3, 4, 4, 4).transpose(1, 2, 0, 3))
    plain.label.embeddings.assign(divided["label"])
    plain.last.kernel.assign(divided["last"].T)
    plain(noise(), training=True)
    assert D.network.drop.seed_generator.state.numpy().tolist() == [7, 1]
    for ours, theirs in zip(D.network.norm.weights, plain.norm.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_the_gradient_is_torchs(modify):
    """A dense layer with the same weight and vectors: value, σ and gradient of c·(W/σ)."""
    torch.manual_seed(0)
    theirs = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2, bias=False)).eval()
    D = make(modify, keras.Sequential([keras.Input((3,)), layers.Dense(2, use_bias=False)]))
    D(np.zeros((1, 3), np.float32))
    original, power = theirs.parametrizations.weight.original, theirs.parametrizations.weight[0]
    kernel = D.network.layers[-1].kernel
    kernel.assign(original.detach().numpy().T)
    for weight in D.weights:
        if weight.name.endswith("_u"):
            weight.assign(power._u.numpy())
        elif weight.name.endswith("_v"):
            weight.assign(power._v.numpy())
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    wanted = theirs(torch.from_numpy(x))
    (wanted**2).sum().backward()
    with tf.GradientTape() as tape:
        found = D(x)
        total = tf.reduce_sum(found**2)
    np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(total, kernel), original.grad.numpy().T, rtol=1e-4, atol=1e-5)


def test_the_gradient_against_differences(modify):
    """Through σ as well: u and v of a converged power iteration hardly move with W."""
    D = make(modify, keras.Sequential([keras.Input((3,)), layers.Dense(2, use_bias=False)]))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    for _ in range(200):
        D(x, training=True)
    kernel = D.network.layers[-1].kernel
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(D(x) ** 2)
    gradient, start = tape.gradient(total, kernel).numpy(), kernel.numpy()

    def value(weight):
        weight = weight.astype(np.float64)
        return ((x @ weight / np.linalg.svd(weight, compute_uv=False)[0]) ** 2).sum()

    for place in np.ndindex(*start.shape):
        shift = np.zeros_like(start, dtype=np.float64)
        shift[place] = 1e-5
        expected = (value(start + shift) - value(start - shift)) / 2e-5
        assert gradient[place] == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_vectors_are_saved_with_the_network(modify):
    D = make(modify)
    D(noise())
    names = [weight.name.rsplit("_", 1)[-1] for weight in D.weights]
    assert names.count("u") == names.count("v") == 4
    assert not any(weight.trainable for weight in D.weights if weight.name.endswith(("_u", "_v")))
    other = modify("build_discriminator", Discriminator(), "spectral-norm", "tensorflow")
    other(noise(3))
    other.set_weights(D.get_weights())
    assert np.array_equal(D(noise(5)), other(noise(5)))


def test_two_inputs_of_a_functional_network(modify):
    image, label = keras.Input(IMAGES[1:]), keras.Input((), dtype="int64")
    joined = layers.Concatenate()([layers.Flatten()(image), layers.Embedding(5, 2)(label)])
    D = make(modify, keras.Model([image, label], layers.Dense(1)(joined)))
    assert D(noise(), tf.range(6, dtype=tf.int64) % 5, training=True).shape == (6, 1)


def test_a_growing_network_grows_and_its_new_layers_are_normalised(modify):
    class Growing(keras.Model):
        def __init__(self):
            super().__init__()
            self.stages = [layers.Dense(3)]
            self.built = True

        def grow(self, resolution):
            self.stages.append(layers.Dense(resolution))

        def call(self, x, resolution, fade):
            for stage in self.stages:
                x = fade * stage(x)
            return x

    D = make(modify, Growing())
    x = np.ones((2, 4), np.float32)
    assert D(x, resolution=4, fade=tf.constant(1.0)).shape == (2, 3)
    before = vectors(D)
    D.grow(8)
    assert D(x, resolution=8, fade=tf.constant(1.0)).shape == (2, 8)
    after = vectors(D)
    assert len(after) == len(before) + 2
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=False))
    assert not hasattr(make(modify), "grow")


def test_a_second_spectral_norm_is_refused(modify):
    with pytest.raises(gz.UsageError, match="spectral normalisation already"):
        make(modify, make(modify))
    with pytest.raises(gz.UsageError, match="spectral normalisation already"):
        make(modify, keras.Sequential([layers.SpectralNormalization(layers.Dense(1))]))


def test_a_discriminator_without_layers_is_refused(modify):
    with pytest.raises(gz.UsageError, match="found no convolution"):
        make(modify, keras.Sequential([layers.Flatten()]))
