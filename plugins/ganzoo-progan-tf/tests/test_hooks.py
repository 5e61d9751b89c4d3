"""The manifest and the hooks, as ganzoo uses them."""

from __future__ import annotations

import importlib.resources
import subprocess
import sys
import tomllib
from typing import Any

import pytest

import ganzoo_core as gz
from ganzoo_progan_tf import hooks

OPTIONS = {"width": 4}


def card() -> dict[str, Any]:
    text = (importlib.resources.files("ganzoo_progan_tf") / "ganzoo.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["models"]["progan-tf"]


def spec(height: int = 16, width: int = 16, channels: int = 1) -> gz.Spec:
    return gz.Spec(height=height, width=width, channels=channels, classes=0, latent_dim=8, framework="tensorflow")


def test_importing_the_hooks_brings_neither_tensorflow_nor_the_networks() -> None:
    code = (
        "import sys, ganzoo_progan_tf.hooks; names = ('tensorflow', 'keras', 'sklearn', 'PIL', "
        "'ganzoo_progan_tf.networks'); print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_the_defaults_are_the_paper_s() -> None:
    """Appendix A.1 and section 3; 600,000 images a phase are the authors' code's."""
    defaults = card()["defaults"]
    assert defaults["use"] == {"loss": "wgan-gp", "schedule": "progressive"}
    assert defaults["loss"] == {"gp_weight": 10.0, "drift": 0.001}
    assert defaults["model"] == {"width": 512, "latent_dim": 512}
    assert defaults["schedule"] == {"start_resolution": 4, "stable_images": 600_000, "fade_images": 600_000}
    train = defaults["train"]
    assert (train["optimizer"], train["lr"], train["betas"], train["adam_eps"]) == ("adam", 1e-3, [0.0, 0.99], 1e-8)
    assert (train["critic_steps"], train["batch_size"]) == (1, 16)
    assert 0.5 ** (train["batch_size"] / train["ema_halflife"]) == pytest.approx(0.999, abs=1e-7)


def test_the_card_says_how_the_networks_are_called() -> None:
    said = card()
    assert said["takes"] == ["resolution", "fade"]
    assert (said["output"], said["latent"], said["conditional"]) == ("linear", "sphere", False)
    assert said["image_sizes"] == [4 * 2**level for level in range(9)]


@pytest.mark.parametrize("preset", sorted(card()["presets"]))
def test_the_stages_of_every_preset_fit_its_run(preset: str) -> None:
    """Lengths in images: the stable phases and the fades up to the preset's size are not longer than the run."""
    defaults, chosen = card()["defaults"], card()["presets"][preset]
    stages = {**defaults["schedule"], **chosen.get("schedule", {})}
    doublings = (chosen["data"]["size"] // stages["start_resolution"]).bit_length() - 1
    assert stages["start_resolution"] << doublings == chosen["data"]["size"]
    length = chosen["train"]["length"]
    if not length.isdigit():
        assert (stages["stable_images"], stages["fade_images"]) == (0, 0)
        return
    needed = (doublings + 1) * stages["stable_images"] + doublings * stages["fade_images"]
    assert needed <= int(length)


def test_the_defaults_reach_the_largest_size_within_the_run() -> None:
    stages, length = card()["defaults"]["schedule"], int(card()["defaults"]["train"]["length"])
    assert 9 * stages["stable_images"] + 8 * stages["fade_images"] <= length


def test_networks_begin_at_4_pixels_and_are_made_for_the_spec() -> None:
    G = hooks.build_generator(spec(32, 32, channels=3), OPTIONS)
    D = hooks.build_discriminator(spec(32, 32, channels=3), OPTIONS)
    for network in (G, D):
        assert (network.resolution, network.size, network.width, network.channels) == (4, 32, 4, 3)
    assert G.projection.weight.shape == (4, 4, 8, 4)


def test_images_that_are_not_square_are_refused() -> None:
    with pytest.raises(gz.UsageError, match=r"\b16x32 pixels, but draws squares"):
        hooks.build_generator(spec(16, 32), OPTIONS)
    with pytest.raises(gz.UsageError, match=r"\b32x16 pixels, but draws squares"):
        hooks.build_discriminator(spec(32, 16), OPTIONS)
