"""`plain.py`: its networks are those of `networks.py`, and its step is the one it tells of."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import ganzoo_core as gz
from ganzoo_convgan_tf import networks, plain


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def test_it_is_short_and_does_without_ganzoo() -> None:
    text = Path(plain.__file__).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 160
    imported = {
        name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert not any(name.startswith("ganzoo") for name in imported)


def test_its_settings_are_those_of_the_digits_preset() -> None:
    text = Path(plain.__file__).with_name("ganzoo.toml").read_text(encoding="utf-8")
    card = tomllib.loads(text)["models"]["convgan-tf"]
    preset, defaults = card["presets"]["digits"], card["defaults"]
    assert preset == {
        "data": {"size": 28},
        "model": {"width": plain.WIDTH, "hidden": plain.HIDDEN, "latent_dim": plain.LATENT},
        "train": {"batch_size": plain.BATCH, "ema_halflife": plain.EMA, "length": str(plain.IMAGES)},
    }
    assert (defaults["train"]["lr"], defaults["train"]["betas"]) == (plain.LR, list(plain.BETAS))
    assert (
        defaults["train"]["adam_eps"]
        == plain.make_optimizers(plain.make_generator(), plain.make_discriminator())[0].epsilon
    )


def test_its_networks_are_those_of_the_plugin() -> None:
    size = {"height": 28, "width": 28, "channels": 1, "features": plain.WIDTH, "hidden": plain.HIDDEN}
    ours = networks.create_generator(**size, latent_dim=plain.LATENT), networks.create_discriminator(**size)
    theirs = plain.make_generator(), plain.make_discriminator()
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.input_shape == other.input_shape
        assert [layer.get_config() | {"name": ""} for layer in mine.layers] == [
            layer.get_config() | {"name": ""} for layer in other.layers
        ]


def test_a_step_is_cross_entropy_on_d_then_on_g_against_the_new_d() -> None:
    """With plain gradient descent each new weight is the old one minus the rate times the gradient.

    The gradients come from the cross-entropy written with logarithms, one network after the other, without a graph;
    the step is traced.
    """
    keras.utils.set_random_seed(0)
    G, D, old_g, new_d = (make() for make in (plain.make_generator, plain.make_discriminator) * 2)
    old_g.set_weights(G.get_weights())
    new_d.set_weights(D.get_weights())
    real, z, rate = tf.constant(numbers(16, 28, 28, 1)), tf.constant(numbers(16, plain.LATENT, seed=1)), 0.1
    optimizers = [keras.optimizers.SGD(rate) for _ in range(2)]
    for optimizer, network in zip(optimizers, (G, D), strict=True):
        optimizer.build(network.trainable_variables)
    d_loss, g_loss, right_on_real, right_on_fake = plain.train_step(G, D, *optimizers, real, z)

    def probability(images: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(tf.cast(new_d(images), tf.float64))

    def descend(tape: tf.GradientTape, loss: tf.Tensor, network: keras.Model) -> None:
        gradients = tape.gradient(loss, network.trainable_variables)
        for weight, gradient in zip(network.trainable_variables, gradients, strict=True):
            weight.assign(weight - rate * gradient)

    with tf.GradientTape() as g_tape:
        fake = old_g(z, training=True)
        with tf.GradientTape() as d_tape:
            of_real, of_fake = probability(real), probability(fake)
            expected_d = -tf.reduce_mean(tf.math.log(of_real)) - tf.reduce_mean(tf.math.log(1 - of_fake))
        descend(d_tape, expected_d, new_d)
        expected_g = -tf.reduce_mean(tf.math.log(probability(fake)))
    descend(g_tape, expected_g, old_g)
    assert float(d_loss) == pytest.approx(float(expected_d), rel=1e-5)
    assert float(g_loss) == pytest.approx(float(expected_g), rel=1e-5)
    assert float(right_on_real) == np.mean(of_real > 0.5)
    assert float(right_on_fake) == np.mean(of_fake <= 0.5)
    for got, expected in ((G, old_g), (D, new_d)):
        for weight, other in zip(got.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_allclose(weight, other, rtol=1e-4, atol=1e-6)


def test_its_images_are_the_digits_that_ganzoo_trains_on() -> None:
    from sklearn.datasets import load_digits

    whole = gz.ImageSource(images=np.rint(load_digits().images * 255 / 16).astype(np.uint8)[..., None])
    train = gz.hold_out(whole, "train").images
    images = plain.load_images()
    assert images.shape == (len(train), 28, 28, 1)
    assert images.dtype == np.uint8
    for i in range(0, len(train), 97):
        expected = Image.fromarray(train[i, :, :, 0]).resize((28, 28), Image.Resampling.LANCZOS)
        assert np.array_equal(images[i, :, :, 0], np.asarray(expected))


def test_it_runs_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain.main(total_images=20 * plain.BATCH, path=tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (8 * 28, 8 * 28)
        assert grid.mode == "L"
    told = capsys.readouterr().out
    assert told.split()[0] == str(20 * plain.BATCH)
    assert "D is right on" in told
    assert "grid.png" in told
