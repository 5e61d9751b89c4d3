"""The manifest and the hooks, as ganzoo uses them."""

from __future__ import annotations

import importlib.resources
import subprocess
import sys
import tomllib
from typing import Any

import pytest

import ganzoo_core as gz
from ganzoo_dcgan_torch import hooks


def card() -> dict[str, Any]:
    text = (importlib.resources.files("ganzoo_dcgan_torch") / "ganzoo.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["models"]["dcgan-torch"]


def spec(height: int = 64, width: int = 64, channels: int = 1) -> gz.Spec:
    return gz.Spec(height=height, width=width, channels=channels, classes=0, latent_dim=100, framework="torch")


def test_importing_the_hooks_brings_neither_torch_nor_the_networks() -> None:
    code = (
        "import sys, ganzoo_dcgan_torch.hooks; "
        "print([name for name in ('torch', 'sklearn', 'PIL', 'ganzoo_dcgan_torch.networks') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_the_defaults_of_the_manifest_build_the_paper_s_networks() -> None:
    defaults = card()["defaults"]["model"]
    G = hooks.build_generator(spec(channels=3), defaults)
    D = hooks.build_discriminator(spec(channels=3), defaults)
    assert sum(p.numel() for p in G.parameters()) == 12_658_432
    assert sum(p.numel() for p in D.parameters()) == 11_036_160


@pytest.mark.parametrize("preset", ["mnist", "fashion_mnist", "cifar10"])
def test_the_named_datasets_get_the_original(preset: str) -> None:
    """64 pixels, width 128, batch 64, 100 epochs, Adam 2e-4 with betas (0.5, 0.999)."""
    merged = card()["defaults"]
    settings = card()["presets"][preset]
    assert settings["data"]["size"] == 64
    assert settings["model"]["width"] == 128
    assert settings["train"] == {"batch_size": 64, "length": "100epochs"}
    assert merged["train"]["lr"] == 2e-4
    assert merged["train"]["betas"] == [0.5, 0.999]
    assert merged["model"]["latent_dim"] == 100


@pytest.mark.parametrize("preset", ["small", "digits"])
def test_the_small_presets_are_of_32_pixels(preset: str) -> None:
    settings = card()["presets"][preset]
    assert settings["data"]["size"] == 32
    assert settings["model"]["width"] == 32


def test_each_network_has_its_own_width_and_norm() -> None:
    from torch import nn

    G = hooks.build_generator(spec(32, 32), {"width": 4, "norm": "batch"})
    D = hooks.build_discriminator(spec(32, 32), {"width": 6, "norm": "layer"})
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in G.modules())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in D.modules())
    assert D.layers[0].out_channels == 6


def test_images_that_are_not_square_are_refused() -> None:
    options = {"width": 4, "norm": "batch"}
    with pytest.raises(gz.UsageError, match=r"\b32x64 pixels, but draws squares"):
        hooks.build_generator(spec(32, 64), options)
    with pytest.raises(gz.UsageError, match=r"\b64x32 pixels, but draws squares"):
        hooks.build_discriminator(spec(64, 32), options)
