"""The manifest and the hooks, as ganzoo uses them."""

from __future__ import annotations

import importlib.resources
import math
import subprocess
import sys
import tomllib
from typing import Any

import pytest

import ganzoo_core as gz
from ganzoo_convgan_tf import hooks


def card() -> dict[str, Any]:
    text = (importlib.resources.files("ganzoo_convgan_tf") / "ganzoo.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["models"]["convgan-tf"]


def spec(height: int = 28, width: int = 28, channels: int = 1) -> gz.Spec:
    return gz.Spec(height=height, width=width, channels=channels, classes=0, latent_dim=96, framework="tensorflow")


def count(weights: list[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def test_importing_the_hooks_brings_neither_keras_nor_the_networks() -> None:
    code = (
        "import sys, ganzoo_convgan_tf.hooks; "
        "print([name for name in ('tensorflow', 'keras', 'sklearn', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_the_defaults_of_the_manifest_build_the_original() -> None:
    defaults = card()["defaults"]["model"]
    G, D = hooks.build_generator(spec(), defaults), hooks.build_discriminator(spec(), defaults)
    assert defaults["latent_dim"] == 96
    assert count(G.trainable_weights) == 6_675_009
    assert count(D.weights) == count(D.trainable_weights) == 1_102_721


def test_the_defaults_of_training_are_the_original_s() -> None:
    """Cross-entropy, Adam 1e-3 with beta1 0.5, 10 epochs, batch 128, numbers every 20 steps, a grid every 250."""
    defaults = card()["defaults"]
    assert defaults["use"]["loss"] == "non-saturating"
    assert defaults["train"] == {
        "length": "10epochs", "batch_size": 128, "updates": "alternating", "optimizer": "adam", "lr": 1e-3,
        "betas": [0.5, 0.999], "adam_eps": 1e-7, "report_every": "20steps", "sample_every": "250steps",
    }  # fmt: skip


@pytest.mark.parametrize(("preset", "size"), [("mnist", 28), ("fashion_mnist", 28), ("cifar10", 32)])
def test_the_named_datasets_get_the_original_at_their_own_size(preset: str, size: int) -> None:
    assert card()["presets"][preset] == {
        "data": {"size": size},
        "train": {"batch_size": 128, "length": "10epochs"},
    }


def test_every_size_that_the_manifest_names_can_be_built() -> None:
    sizes = card()["image_sizes"]
    assert sizes == [*range(16, 129, 4)]
    for size in (sizes[0], sizes[1], sizes[-1]):
        G = hooks.build_generator(spec(size, size), {"width": 1, "hidden": 1})
        D = hooks.build_discriminator(spec(size, size), {"width": 1, "hidden": 1})
        assert G.output_shape == D.input_shape == (None, size, size, 1)


def test_each_network_has_its_own_width() -> None:
    G = hooks.build_generator(spec(16, 16), {"width": 4, "hidden": 8})
    D = hooks.build_discriminator(spec(16, 16), {"width": 6, "hidden": 10})
    assert [layer.filters for layer in G.layers if type(layer).__name__ == "Conv2DTranspose"] == [8, 1]
    assert [layer.filters for layer in D.layers if type(layer).__name__ == "Conv2D"] == [6, 12]
    assert (G.layers[0].units, D.layers[-3].units) == (8, 10)
