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
import torch

import ganzoo_core as gz
from ganzoo_core import building, engines, mix
from ganzoo_core.discovery import catalog
from ganzoo_core.training import assemble, setup
from ganzoo_sngan_torch import hooks


def card() -> dict[str, Any]:
    text = (importlib.resources.files("ganzoo_sngan_torch") / "ganzoo.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["models"]["sngan-torch"]


def spec(height: int = 32, width: int = 32, channels: int = 3) -> gz.Spec:
    return gz.Spec(height=height, width=width, channels=channels, classes=0, latent_dim=128, framework="torch")


def test_importing_the_hooks_brings_neither_torch_nor_the_networks() -> None:
    code = (
        "import sys, ganzoo_sngan_torch.hooks; "
        "print([name for name in ('torch', 'sklearn', 'PIL', 'ganzoo_sngan_torch.networks') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_the_defaults_are_the_paper_s() -> None:
    defaults = card()["defaults"]
    assert defaults["use"] == {"loss": "hinge", "schedule": "linear-decay", "with": ["spectral-norm"]}
    assert defaults["schedule"] == {"start": 0.0, "final": 0.0}
    train = defaults["train"]
    assert (train["optimizer"], train["lr"], train["betas"]) == ("adam", 2e-4, [0.0, 0.9])
    assert (train["batch_size"], train["critic_steps"], train["length"]) == (64, 5, "100000steps")
    assert card()["presets"]["cifar10"] == {
        "data": {"size": 32},
        "model": {"width": 128},
        "train": {"length": "100000steps"},
    }


@pytest.mark.parametrize(
    ("size", "expected"),
    [(32, (4_276_739, 1_053_825)), (64, (12_220_675, 10_141_441)), (128, (32_150_787, 29_017_857))],
)
def test_the_defaults_build_the_published_networks(size: int, expected: tuple[int, int]) -> None:
    options = card()["defaults"]["model"]
    with torch.device("meta"):
        built = (build(spec(size, size), options) for build in (hooks.build_generator, hooks.build_discriminator))
        assert tuple(sum(p.numel() for p in network.parameters()) for network in built) == expected


def test_the_mix_normalises_every_layer_of_the_discriminator() -> None:
    """By the modifier that the manifest picks; without it there is no spectral norm."""
    for words, wanted in ((None, 2 * 3 + 1 + 1), ([], 0)):
        request = mix.Request(picks={"model": "sngan-torch", "data": "digits"}, modifiers=words)
        resolved = mix.resolve(catalog.scan(), request)
        assert [part.name for part in resolved.modifiers] == ["spectral-norm"] * bool(wanted)
        fitted = building.fit_from_card(resolved)
        assert fitted is not None
        G, D = building.build_networks(engines.create_engine("torch", resolved.settings), resolved, fitted, {})
        assert sum(name.endswith("parametrizations.weight.original") for name, _ in D.named_parameters()) == wanted
        assert not any("parametrizations" in name for name, _ in G.named_parameters())


def test_the_published_configuration_takes_a_step_at_a_reduced_batch(tmp_path: Path) -> None:
    """All of the paper's settings at 32 pixels but the batch: five updates of D and one of G, all of which move."""
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    request = mix.Request(
        picks={"model": "sngan-torch", "data": gz.ImageSource(images)},
        preset="cifar10",
        assigned={"train.batch_size": 2, "engine.device": "cpu"},
        flags={"train.length": ("2steps", "--steps")},
    )
    runner = assemble.open_run(
        setup.build(setup.load(mix.resolve(catalog.scan(), request), None), quiet=True), out=tmp_path / "run"
    )
    trainer = runner.trainer
    assert sum(p.numel() for p in trainer.G.parameters()) == 4_276_739
    assert sum(p.numel() for p in trainer.D.parameters()) == 1_053_825
    before = [p.detach().clone() for network in (trainer.G, trainer.D) for p in network.parameters()]
    trainer.step(0, 0, {})
    after = [p for network in (trainer.G, trainer.D) for p in network.parameters()]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True) if a.dim() > 1)
    assert {float(step["step"]) for step in trainer.d_optimizer.state.values()} == {5.0}
    assert {float(step["step"]) for step in trainer.g_optimizer.state.values()} == {1.0}
    assert all(np.isfinite(value) for value in trainer.pop_means().values())


def test_images_that_are_not_square_are_refused() -> None:
    for build in (hooks.build_generator, hooks.build_discriminator):
        with pytest.raises(gz.UsageError, match=r"draws squares; set data\.size to 16, 32, 64 or 128"):
            build(spec(16, 32), {"width": 4})


@pytest.mark.parametrize("loss", ["relativistic", "wgan-gp", "non-saturating"])
def test_it_trains_with_other_losses(loss: str, tmp_path: Path) -> None:
    """With spectral norm in both networks."""
    small = {"model.width": 2, "data.size": 16, "train.batch_size": 4, "engine.threads": 1, "train.sample_count": 2}
    settings = {**small, "use.with": "spectral-norm", "with.spectral-norm.networks": "discriminator,generator"}
    gz.train("sngan-torch", loss=loss, settings=settings, steps=2, out=tmp_path / "run", quiet=True)
    assert gz.load(tmp_path / "run").generate(3).shape == (3, 16, 16, 1)
