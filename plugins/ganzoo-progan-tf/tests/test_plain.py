"""`plain.py`: its networks are those of `networks.py`, and its step is the one the paper describes."""

from __future__ import annotations

import ast
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import ganzoo_core as gz
from ganzoo_progan_tf import networks, plain


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def grown(size: int) -> tuple[plain.Generator, plain.Discriminator]:
    keras.utils.set_random_seed(4)
    G, D = plain.Generator(), plain.Discriminator()
    while 4 << len(G.blocks) < size:
        G.grow()
        D.grow()
    return G, D


def test_it_is_short_and_does_without_ganzoo() -> None:
    text = Path(plain.__file__).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    imported = {
        name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert not any(name.startswith("ganzoo") for name in imported)


@pytest.mark.parametrize("size", [4, 8, 16])
def test_its_networks_are_those_of_the_plugin(size: int) -> None:
    theirs = grown(size)
    ours = (
        networks.Generator(size=16, channels=1, latent_dim=plain.LATENT, width=plain.WIDTH),
        networks.Discriminator(size=16, channels=1, width=plain.WIDTH),
    )
    for mine, other in zip(ours, theirs, strict=True):
        mine.grow(size)
        assert [weight.shape for weight in mine.weights] == [weight.shape for weight in other.weights]
        for place, (a, b) in enumerate(zip(mine.weights, other.weights, strict=True)):
            value = noise(*a.shape, seed=place)
            a.assign(value)
            b.assign(value)
    z, fade = noise(8, plain.LATENT), tf.constant(0.3)
    images = ours[0](z, resolution=size, fade=fade)
    assert np.array_equal(theirs[0](z, fade=fade), images)
    assert np.array_equal(theirs[1](images, fade=fade), ours[1](images, resolution=size, fade=fade))


def test_a_step_is_wgan_gp_on_d_then_on_g_against_the_new_d() -> None:
    """With plain gradient descent each new weight is the old one minus the rate times the gradient."""
    rate, n, fade = 0.02, 8, tf.constant(0.4)
    G, D = grown(8)
    old_g, new_d = grown(8)
    # No pixel is 0 in [-1, 1]: there a new D's rectifiers would bend, one way or the other by rounding.
    batch = np.random.default_rng(1).integers(128, 256, size=(n, 16, 16, 1), dtype=np.uint8)
    z, epsilon = noise(n, plain.LATENT), np.random.default_rng(2).random((n, 1, 1, 1), dtype=np.float32)
    mean = [tf.Variable(tf.zeros_like(weight)) for weight in G.weights]
    opts = [keras.optimizers.SGD(rate) for _ in "GD"]
    for opt, network in zip(opts, (G, D), strict=True):
        opt.build(network.weights)
    losses = plain.train_step(G, D, opts, mean, batch, z, epsilon, fade, tf.constant(0.75))

    fine = (batch / 127.5 - 1).reshape(n, 8, 2, 8, 2, 1).mean(axis=(2, 4))
    coarse = fine.reshape(n, 4, 2, 4, 2, 1).mean(axis=(2, 4)).repeat(2, axis=1).repeat(2, axis=2)
    real = tf.constant(0.4 * fine + 0.6 * coarse, tf.float32)
    fake = old_g(z, fade=fade)
    with tf.GradientTape() as tape:
        mixed = epsilon * real + (1 - epsilon) * fake
        with tf.GradientTape() as inner:
            inner.watch(mixed)
            on_mixed = new_d(mixed, fade=fade)
        length = tf.norm(tf.reshape(inner.gradient(on_mixed, mixed), [n, -1]), axis=1)
        on_real = new_d(real, fade=fade)
        expected_d = tf.reduce_mean(new_d(fake, fade=fade) - on_real)
        expected_d += 10 * tf.reduce_mean((length - 1) ** 2) + 0.001 * tf.reduce_mean(on_real**2)
    descend(new_d, tape, expected_d, rate)
    with tf.GradientTape() as tape:
        expected_g = -tf.reduce_mean(new_d(old_g(z, fade=fade), fade=fade))
    descend(old_g, tape, expected_g, rate)

    np.testing.assert_allclose(losses, [expected_d, expected_g], rtol=1e-4)
    for network, expected in ((D, new_d), (G, old_g)):
        for a, b in zip(network.weights, expected.weights, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-6)
    for average, weight in zip(mean, G.weights, strict=True):
        np.testing.assert_allclose(average.numpy(), 0.25 * weight.numpy(), rtol=1e-5)


def descend(network: keras.Model, tape: tf.GradientTape, loss: tf.Tensor, rate: float) -> None:
    gradients = tape.gradient(loss, [weight.value for weight in network.weights])
    for weight, gradient in zip(network.weights, gradients, strict=True):
        if gradient is not None:
            weight.assign_sub(rate * gradient)


def test_its_images_are_the_digits_that_ganzoo_trains_on() -> None:
    from sklearn.datasets import load_digits

    whole = gz.ImageSource(images=np.rint(load_digits().images * 255 / 16).astype(np.uint8)[..., None])
    train = gz.hold_out(whole, "train").images
    images = plain.load_images()
    assert images.shape == (len(train), 16, 16, 1)
    assert images.dtype == np.uint8
    for i in range(0, len(train), 97):
        expected = Image.fromarray(train[i, :, :, 0]).resize((16, 16), Image.Resampling.LANCZOS)
        assert np.array_equal(images[i, :, :, 0], np.asarray(expected))


def test_it_runs_through_all_stages_and_leaves_their_grids(tmp_path: Path) -> None:
    plain.main(total_images=10 * plain.BATCH, folder=tmp_path)
    for size in (4, 8, 16):
        with Image.open(tmp_path / f"progan-digits-{size}.png") as grid:
            assert grid.size == (8 * size, 8 * size)
            assert grid.mode == "L"
