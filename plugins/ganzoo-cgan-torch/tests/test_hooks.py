"""The manifest and the hooks, as ganzoo uses them."""

from __future__ import annotations

import importlib.resources
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_cgan_torch import hooks

ONE = {"engine.threads": 1}  # so small a network gains nothing from more, and loses on a busy machine


def card() -> dict[str, Any]:
    text = (importlib.resources.files("ganzoo_cgan_torch") / "ganzoo.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["models"]["cgan-torch"]


def spec(height: int = 28, width: int = 28, channels: int = 1, classes: int = 10) -> gz.Spec:
    return gz.Spec(height=height, width=width, channels=channels, classes=classes, latent_dim=100, framework="torch")


def test_importing_the_hooks_brings_neither_torch_nor_the_networks() -> None:
    code = (
        "import sys, ganzoo_cgan_torch.hooks; "
        "print([name for name in ('torch', 'sklearn', 'PIL', 'ganzoo_cgan_torch.networks') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("preset", "size", "width", "length"),
    [
        ("cifar10", 32, 128, "200epochs"),
        ("fashion_mnist", 28, 128, "50epochs"),
        ("mnist", 28, 128, "50epochs"),
        ("digits", 16, 32, "200000"),
    ],
)
def test_each_dataset_has_its_width_and_its_length(preset: str, size: int, width: int, length: str) -> None:
    settings = card()["presets"][preset]
    assert (settings["data"], settings["model"]) == ({"size": size}, {"width": width})
    grids = {"sample_every": "5000"} if preset == "digits" else {}
    assert settings["train"] == {"length": length, **grids}


def test_the_small_preset_leaves_the_size_to_the_data() -> None:
    settings = card()["presets"]["small"]
    assert settings["model"] == {"width": 32}
    assert "data" not in settings


def test_the_defaults_are_the_original_s() -> None:
    defaults = card()["defaults"]
    assert defaults["use"]["loss"] == "non-saturating"
    assert defaults["train"]["optimizer"] == "adam"
    assert defaults["train"]["lr"] == 2e-4
    assert defaults["train"]["betas"] == [0.5, 0.999]


def test_every_size_of_the_manifest_can_be_built_and_no_other_below_it() -> None:
    """4 to 7 pixels, doubled at least twice."""
    sizes = card()["image_sizes"]
    assert sizes == [n for n in range(129) if any(base * 2**k == n for base in (4, 5, 6, 7) for k in range(2, 6))]
    for size in sizes:
        G, D = gz.build("cgan-torch", data="digits", settings={"data.size": size, "model.width": 1, **ONE})
        labels = _labels(3)
        assert D(G(_noise(3), labels), labels).shape == (3,)


@pytest.mark.parametrize(("preset", "channels", "size"), [("fashion_mnist", 1, 28), ("cifar10", 3, 32)])
def test_the_original_s_networks_come_from_its_preset(preset: str, channels: int, size: int) -> None:
    G, D = gz.build("cgan-torch", data=preset, settings={"model.width": 2, **ONE})
    assert G(_noise(2), _labels(2)).shape == (2, channels, size, size)
    assert D.layers[0].in_channels == channels + 1


def test_settings_reach_the_network_they_belong_to() -> None:
    from torch import nn

    settings = {"width": 4, "embedding": 7, "norm": "none", "dropout": 0.25}
    G = hooks.build_generator(spec(classes=3), settings)
    D = hooks.build_discriminator(spec(classes=3), settings)
    assert G.embedding.weight.shape == (3, 7)
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in G.modules())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in D.modules())
    assert [layer.p for layer in D.modules() if isinstance(layer, nn.Dropout)] == [0.25, 0.25]


def test_images_that_are_not_square_are_refused() -> None:
    options = {"width": 4, "embedding": 5, "norm": "batch", "dropout": 0.0}
    with pytest.raises(gz.UsageError, match=r"\b28x32 pixels, but draws squares"):
        hooks.build_generator(spec(28, 32), options)
    with pytest.raises(gz.UsageError, match=r"\b32x28 pixels, but draws squares"):
        hooks.build_discriminator(spec(32, 28), options)


def test_a_run_knows_its_classes_afterwards(tmp_path: Path) -> None:
    images = np.zeros((60, 28, 28, 1), dtype=np.uint8)
    images[::2, 8:20, 8:20] = 255
    run = gz.train(
        "cgan-torch",
        data=gz.ImageSource(images, np.arange(60) % 2, ("square", "nothing")),
        preset="none",
        settings={"model.width": 2, "train.batch_size": 20, **ONE},
        steps=3,
        out=tmp_path / "run",
        quiet=True,
    )
    saved = gz.load(run.folder)
    assert saved.class_names == ["square", "nothing"]
    squares, nothings = saved.generate(4, labels=[0] * 4), saved.generate(4, labels=[1] * 4)
    assert squares.shape == (4, 28, 28, 1)
    assert not np.array_equal(squares, nothings)


def _noise(count: int) -> Any:
    import torch

    return torch.randn(count, 100)


def _labels(count: int) -> Any:
    import torch

    return torch.arange(count)
