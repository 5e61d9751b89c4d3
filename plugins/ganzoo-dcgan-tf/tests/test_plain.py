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

from ganzoo_dcgan_tf import networks, plain


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


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
    card = tomllib.loads(text)["models"]["dcgan-tf"]
    preset = card["presets"]["digits"]
    assert preset["data"] == {"size": 28}
    assert preset["use"] == {"schedule": "cosine"}
    assert preset["model"] == {"width": plain.WIDTH, "latent_dim": plain.LATENT}
    assert preset["train"] == {
        "batch_size": plain.BATCH, "length": str(plain.IMAGES), "lr": plain.LR, "betas": list(plain.BETAS),
        "ema_halflife": plain.EMA, "sample_every": "5000",
    }  # fmt: skip


def test_its_networks_are_those_of_the_plugin() -> None:
    size = {"height": 28, "width": 28, "channels": 1, "features": plain.WIDTH}
    ours = (
        networks.create_generator(**size, latent_dim=plain.LATENT),
        networks.create_discriminator(**size, dropout=0.3),
    )
    theirs = plain.make_generator(), plain.make_discriminator()
    for mine, other in zip(ours, theirs, strict=True):
        assert [layer.get_config() | {"name": ""} for layer in mine.layers] == [
            layer.get_config() | {"name": ""} for layer in other.layers
        ]


def test_a_step_moves_both_networks_against_the_old_weights() -> None:
    """With plain gradient descent each new weight is the old one minus the rate times the gradient.

    The gradients come from the cross-entropy written with logarithms, one network at a time, all from the old weights.
    """
    keras.utils.set_random_seed(0)
    G, D = plain.make_generator(), plain.make_discriminator()
    for layer in D.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    real, z = tf.tanh(noise(16, 28, 28, 1)), tf.constant(noise(16, plain.LATENT, seed=1))
    with tf.GradientTape(persistent=True) as tape:
        of_real = tf.sigmoid(tf.cast(D(real, training=True), tf.float64))
        of_fake = tf.sigmoid(tf.cast(D(G(z, training=True), training=True), tf.float64))
        d_expected = -tf.reduce_mean(tf.math.log(of_real)) - tf.reduce_mean(tf.math.log(1 - of_fake))
        g_expected = -tf.reduce_mean(tf.math.log(of_fake))
    rate, expected = 0.1, []
    for network, loss in ((G, g_expected), (D, d_expected)):
        gradients = tape.gradient(loss, network.trainable_variables)
        expected.append(
            [
                (weight.numpy(), rate * gradient.numpy())
                for weight, gradient in zip(network.trainable_variables, gradients, strict=True)
            ]
        )
    optimizers = keras.optimizers.SGD(rate), keras.optimizers.SGD(rate)
    for optimizer, network in zip(optimizers, (G, D), strict=True):
        optimizer.build(network.trainable_variables)
    d_loss, g_loss = plain.train_step.python_function(G, D, *optimizers, real, z)
    assert float(d_loss) == pytest.approx(float(d_expected), rel=1e-5)
    assert float(g_loss) == pytest.approx(float(g_expected), rel=1e-5)
    for network, steps in zip((G, D), expected, strict=True):
        for weight, (old, moved) in zip(network.trainable_variables, steps, strict=True):
            np.testing.assert_allclose(weight.numpy(), old - moved, rtol=1e-5, atol=1e-6 * np.abs(moved).max() + 1e-7)


def test_it_runs_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain.main(total_images=500 * plain.BATCH, path=tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (8 * 28, 8 * 28)
    told = capsys.readouterr().out.splitlines()
    assert told[0].split()[0] == str(500 * plain.BATCH)
    assert "loss of D" in told[0]


def test_the_held_out_fifth_stays_out() -> None:
    images = plain.load_images()
    assert images.shape == (1438, 28, 28, 1)
    assert images.dtype == np.uint8
