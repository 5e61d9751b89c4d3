"""The manifest and the hooks, as ganzoo uses them."""

from __future__ import annotations

import importlib.resources
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import ganzoo_core as gz
from ganzoo_cgan_projection_torch import hooks
from ganzoo_core import cli

OPTIONS = {"width": 4, "head": "projection", "spectral_norm": True}
QUICK = {"model.width": 2, "train.critic_steps": 2, "train.report_every": "1steps", "engine.threads": 1}


def card() -> dict[str, Any]:
    text = (importlib.resources.files("ganzoo_cgan_projection_torch") / "ganzoo.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["models"]["cgan-projection-torch"]


def spec(height: int = 32, width: int = 32, channels: int = 3) -> gz.Spec:
    return gz.Spec(height=height, width=width, channels=channels, classes=10, latent_dim=128, framework="torch")


def test_importing_the_hooks_brings_neither_torch_nor_the_networks() -> None:
    heavy = ("torch", "sklearn", "PIL", "ganzoo_cgan_projection_torch.networks")
    code = f"import sys, ganzoo_cgan_projection_torch.hooks; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_the_defaults_are_the_paper_s() -> None:
    """Width 128, hinge, Adam 2e-4 with betas (0, 0.9), five steps of D with 64 images each, 50,000 of G."""
    defaults = card()["defaults"]
    G = hooks.build_generator(spec(), defaults["model"])
    D = hooks.build_discriminator(spec(), defaults["model"])
    assert sum(p.numel() for p in G.parameters()) == 4_304_387
    assert sum(p.numel() for p in D.parameters()) == 1_055_105
    assert any("parametrizations" in name for name, _ in D.named_parameters())
    train = defaults["train"]
    assert (train["optimizer"], train["lr"], train["betas"]) == ("adam", 2e-4, [0.0, 0.9])
    assert (train["critic_steps"], train["batch_size"], defaults["use"]["loss"]) == (5, 64, "hinge")
    images = 50_000 * train["critic_steps"] * train["batch_size"]
    assert train["length"] == f"{images // 50_000}epochs"  # CIFAR-10 has 50,000 images
    cifar10 = card()["presets"]["cifar10"]
    assert (cifar10["data"]["size"], cifar10["model"]["width"]) == (32, 128)
    assert cifar10["train"]["length"] == train["length"]


def test_there_is_a_preset_for_each_data_set_with_classes() -> None:
    presets = card()["presets"]
    assert set(presets) == {"cifar10", "fashion_mnist", "mnist", "small", "digits", "emoji", "few"}
    others = {"digits": 16, "few": 64}
    assert {name: preset["data"]["size"] for name, preset in presets.items()} == dict.fromkeys(presets, 32) | others


def test_options_reach_the_networks() -> None:
    D = hooks.build_discriminator(spec(), {"width": 6, "head": "classes", "spectral_norm": False})
    assert D.classifier.weight.shape == (10, 6)
    assert not any("parametrizations" in name for name, _ in D.named_parameters())
    assert hooks.build_generator(spec(16, 16), OPTIONS).image.weight.shape == (3, 8, 3, 3)


def test_images_that_are_not_square_are_refused() -> None:
    with pytest.raises(gz.UsageError, match=r"\b32x64 pixels, but draws squares"):
        hooks.build_generator(spec(32, 64), OPTIONS)
    with pytest.raises(gz.UsageError, match=r"\b64x32 pixels, but draws squares"):
        hooks.build_discriminator(spec(64, 32), OPTIONS)


@pytest.mark.parametrize("loss", ["hinge", "relativistic", "wgan-gp", "wasserstein"])
def test_it_trains_with_other_losses(loss: str, tmp_path: Path) -> None:
    gz.train("cgan-projection-torch", loss=loss, steps=2, settings=QUICK, out=tmp_path / "run", quiet=True)
    generator = gz.load(tmp_path / "run")
    assert generator.class_names == [str(digit) for digit in range(10)]
    assert generator.generate(3, labels=[7, 7, 1]).shape == (3, 16, 16, 1)


def test_the_auxiliary_classifier_gets_its_classes_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "cgan-projection-torch", "--loss", "auxiliary-classifier", "--steps", "2", "--out", "run"]
    words += [word for key, value in QUICK.items() for word in ("--set", f"{key}={value}")]
    assert cli.main(words) == 0
    assert "discriminator.head=classes instead of projection" in capsys.readouterr().err
    lines = (tmp_path / "run" / "stats.jsonl").read_text(encoding="utf-8").splitlines()
    terms = json.loads(lines[0])
    assert {"discriminator/class_of_real", "discriminator/class_of_fake", "generator/class_of_fake"} <= set(terms)


def test_a_head_that_the_user_asked_for_is_not_replaced() -> None:
    with pytest.raises(gz.UsageError, match=r"model\.head is projection .*; say --set discriminator\.head=classes"):
        gz.train(
            "cgan-projection-torch",
            loss="auxiliary-classifier",
            steps=1,
            settings={**QUICK, "model.head": "projection"},
            quiet=True,
        )


def test_a_second_spectral_norm_is_refused_unless_the_first_is_off(tmp_path: Path) -> None:
    pytest.importorskip("ganzoo_modifiers")
    asked: dict[str, Any] = {"modifiers": ["spectral-norm"], "steps": 1, "quiet": True}
    with pytest.raises(gz.UsageError, match="has spectral normalisation already"):
        gz.train("cgan-projection-torch", settings=QUICK, out=tmp_path / "twice", **asked)
    off = {**QUICK, "model.spectral_norm": False}
    gz.train("cgan-projection-torch", settings=off, out=tmp_path / "once", **asked)
