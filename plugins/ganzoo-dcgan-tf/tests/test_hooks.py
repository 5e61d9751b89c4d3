"""The manifest and the hooks, as ganzoo uses them."""

from __future__ import annotations

import importlib.resources
import math
import subprocess
import sys
import tomllib
from typing import Any

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_dcgan_tf import hooks


def card() -> dict[str, Any]:
    text = (importlib.resources.files("ganzoo_dcgan_tf") / "ganzoo.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["models"]["dcgan-tf"]


def spec(height: int = 28, width: int = 28, channels: int = 1) -> gz.Spec:
    return gz.Spec(height=height, width=width, channels=channels, classes=0, latent_dim=100, framework="tensorflow")


def count(weights: list[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def test_importing_the_hooks_brings_neither_keras_nor_the_networks() -> None:
    code = (
        "import sys, ganzoo_dcgan_tf.hooks; "
        "print([name for name in ('tensorflow', 'keras', 'sklearn', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_the_defaults_of_the_manifest_build_the_original() -> None:
    """The counts are those of the published original, with one channel."""
    G, D = networks(spec(), card()["defaults"]["model"])
    assert count(G.weights) == 2_330_944
    assert count(G.trainable_weights) == 2_305_472
    assert count(D.weights) == count(D.trainable_weights) == 212_865


def networks(spec: gz.Spec, options: gz.Options) -> tuple[Any, Any]:
    return hooks.build_generator(spec, options), hooks.build_discriminator(spec, options)


def test_three_channels_change_the_layers_next_to_the_image_only() -> None:
    """A 5×5 kernel of 64 channels for each further channel of the image, in each network."""
    options = card()["defaults"]["model"]
    grey, colour = networks(spec(), options), networks(spec(channels=3), options)
    for one, three in zip(grey, colour, strict=True):
        assert count(three.weights) - count(one.weights) == 2 * 25 * 64


def test_each_layer_is_the_original_s() -> None:
    G, D = networks(spec(), card()["defaults"]["model"])
    shapes = {
        "Dense": [(12544,)],
        "Reshape": [(7, 7, 256)],
        "Conv2DTranspose": [(7, 7, 128), (14, 14, 64), (28, 28, 1)],
    }
    for kind, expected in shapes.items():
        assert [layer.output.shape[1:] for layer in G.layers if type(layer).__name__ == kind] == expected
    assert [type(layer).__name__ for layer in D.layers] == [
        "Conv2D", "LeakyReLU", "Dropout", "Conv2D", "LeakyReLU", "Dropout", "Flatten", "Dense",
    ]  # fmt: skip
    for layer in (*G.layers, *D.layers):
        kind = type(layer).__name__
        if "Conv" in kind:
            assert (layer.kernel_size, layer.padding, layer.use_bias) == ((5, 5), "same", kind == "Conv2D")
        elif kind == "LeakyReLU":
            assert layer.negative_slope == 0.3
        elif kind == "Dropout":
            assert layer.rate == 0.3
        elif kind == "BatchNormalization":
            assert (layer.momentum, layer.epsilon) == (0.99, 1e-3)
    assert [layer.strides for layer in G.layers if "Conv" in type(layer).__name__] == [(1, 1), (2, 2), (2, 2)]
    assert not any(getattr(layer, "use_bias", False) for layer in G.layers)
    assert G.layers[-1].activation.__name__ == "tanh"
    assert D.layers[-1].activation.__name__ == "linear"


def test_leaky_relu_is_the_larger_of_x_and_its_share() -> None:
    x = np.linspace(-3, 3, 13, dtype=np.float32)
    G, _ = networks(spec(8, 8), {"width": 1, "dropout": 0.0})
    leaky = next(layer for layer in G.layers if type(layer).__name__ == "LeakyReLU")
    np.testing.assert_allclose(leaky(x), np.maximum(x, np.float32(0.3) * x), rtol=1e-6)


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 1), (32, 32, 3), (64, 64, 1), (12, 20, 3)])
def test_any_multiple_of_four(height: int, width: int, channels: int) -> None:
    G, D = networks(spec(height, width, channels), {"width": 2, "dropout": 0.3})
    images = G(np.zeros((3, 100), np.float32))
    assert images.shape == (3, height, width, channels)
    assert D(images).shape == (3, 1)


def test_another_size_is_refused_with_the_nearest_one() -> None:
    for build in (hooks.build_generator, hooks.build_discriminator):
        with pytest.raises(gz.UsageError, match=r"\b30×30 pixels and makes multiples of 4; say --set data.size=32"):
            build(spec(30, 30), {"width": 2, "dropout": 0.3})


@pytest.mark.parametrize(
    ("options", "words"),
    [({"width": 0, "dropout": 0.3}, "model.width is 0"), ({"width": 2, "dropout": 1.0}, "model.dropout is 1;")],
)
def test_settings_that_cannot_be_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(gz.UsageError, match=words):
        hooks.build_discriminator(spec(8, 8), options)


@pytest.mark.parametrize("preset", ["mnist", "fashion_mnist", "cifar10"])
def test_the_named_datasets_get_the_original(preset: str) -> None:
    """Adam 1e-4 as Keras has it, batches of 256, 50 epochs, both networks updated at once."""
    settings, train = card()["presets"][preset], card()["defaults"]["train"]
    assert settings == {"model": {"width": 64}, "train": {"batch_size": 256, "length": "50epochs"}}
    assert (train["lr"], train["betas"], train["adam_eps"]) == (1e-4, [0.9, 0.999], 1e-7)
    assert train["updates"] == "simultaneous"
