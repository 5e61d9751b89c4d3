"""The manifest and the hooks, as ganzoo uses them."""

from __future__ import annotations

import importlib.resources
import subprocess
import sys
import tomllib
from typing import Any

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_pix2pix_torch import hooks

OPTIONS = {"width": 2, "norm": "instance", "dropout": 0.5, "patch": 70}


def card() -> dict[str, Any]:
    text = (importlib.resources.files("ganzoo_pix2pix_torch") / "ganzoo.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["models"]["pix2pix-torch"]


def spec(height: int = 32, width: int = 32, channels: int = 3, source: tuple[int, ...] = (32, 32, 1)) -> gz.Spec:
    return gz.Spec(
        height=height,
        width=width,
        channels=channels,
        classes=0,
        latent_dim=0,
        framework="torch",
        conditions={"source": source},
    )


def test_importing_the_hooks_brings_neither_torch_nor_the_networks() -> None:
    code = (
        "import sys, ganzoo_pix2pix_torch.hooks, ganzoo_pix2pix_torch.loss; "
        "print([name for name in ('torch', 'PIL', 'ganzoo_pix2pix_torch.networks') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_the_defaults_are_the_paper_s() -> None:
    defaults = card()["defaults"]
    assert defaults["use"]["loss"] == "pix2pix"
    assert defaults["model"] == {"width": 64, "norm": "instance", "dropout": 0.5, "patch": 70}
    train = defaults["train"]
    assert (train["optimizer"], train["lr"], train["betas"]) == ("adam", 2e-4, [0.5, 0.999])
    assert (train["batch_size"], train["updates"]) == (1, "alternating")


def test_settings_reach_both_networks() -> None:
    from torch import nn

    options = {"width": 3, "norm": "batch", "dropout": 0.25, "patch": 16}
    G, D = hooks.build_generator(spec(), options), hooks.build_discriminator(spec(), options)
    assert [layer.p for layer in G.modules() if isinstance(layer, nn.Dropout)] == [0.25] * 3
    for network in (G, D):
        assert any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
        assert not any(isinstance(layer, nn.InstanceNorm2d) for layer in network.modules())
    assert [layer.out_channels for layer in D.layers if isinstance(layer, nn.Conv2d)] == [3, 6, 1]


@pytest.mark.parametrize(("derive", "channels"), [("grey", 1), ("edges", 1), ("downscale:4", 3), ("mask:0.25", 4)])
def test_the_condition_s_channels_follow_what_is_derived(derive: str, channels: int) -> None:
    images = np.zeros((4, 32, 32, 3), np.uint8)
    settings = {"data.derive": derive, "model.width": 2, "engine.threads": 1}
    G, D = gz.build("pix2pix-torch", data=gz.ImageSource(images), settings=settings, preset="none")
    assert G.down[0].in_channels == channels
    assert D.layers[0].in_channels == channels + 3


def test_conditions_and_images_that_do_not_suit_are_refused() -> None:
    for build in (hooks.build_generator, hooks.build_discriminator):
        with pytest.raises(gz.UsageError, match=r"\b32x64 pixels, but draws squares; set data\.size to 32"):
            build(spec(32, 64, source=(32, 64, 1)), OPTIONS)
        with pytest.raises(gz.UsageError, match=r"`source` is 64x16 pixels; .* of the images' size, 32x32 pixels"):
            build(spec(source=(16, 64, 1)), OPTIONS)
        with pytest.raises(gz.UsageError, match=r"`source` is no picture"):
            build(spec(source=(7,)), OPTIONS)


def test_data_without_a_condition_are_refused_with_how_to_make_one() -> None:
    images = np.zeros((4, 32, 32, 3), np.uint8)
    with pytest.raises(gz.UsageError, match=r"takes the condition `source`.*--set data\.derive=grey"):
        gz.build("pix2pix-torch", data=gz.ImageSource(images), settings={"model.width": 2}, preset="none")


@pytest.mark.slow
def test_a_step_of_the_full_size(tmp_path: Any) -> None:
    """256 pixels, width 64, a batch of one: 54 million weights move."""
    images = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), np.uint8)
    settings = {"data.derive": "downscale:4", "data.holdout": 0}
    run = gz.train(
        "pix2pix-torch", data=gz.ImageSource(images), preset="none", settings=settings, steps=1, out=tmp_path / "run",
        quiet=True,
    )  # fmt: skip
    (line,) = run.stats
    assert 0 < line["generator/l1"] < 200
    assert all(np.isfinite(value) for value in line.values())
