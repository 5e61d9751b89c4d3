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
from ganzoo_core.engines.torch import precision
from ganzoo_core.runs.folder import RunFolder
from ganzoo_r3gan_torch import hooks

QUICK = {"model.width": 8, "train.report_every": "1steps", "train.batch_size": 8, "engine.threads": 1}
NOISE = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
MOVED = {  # all that moves over the first images, in a run of a few steps
    "use.schedule": "cosine", "schedule.images": 32, "schedule.gamma_ends": [1.0, 0.1],
    "schedule.beta2_ends": [0.9, 0.99], "schedule.ema_halflife_ends": [0.0, 20.0], "schedule.augment_ends": [0.0, 0.5],
    "use.with": ["diffaugment"],
}  # fmt: skip


def card() -> dict[str, Any]:
    text = (importlib.resources.files("ganzoo_r3gan_torch") / "ganzoo.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["models"]["r3gan-torch"]


def spec(height: int = 32, width: int = 32, channels: int = 3, classes: int = 0) -> gz.Spec:
    return gz.Spec(height=height, width=width, channels=channels, classes=classes, latent_dim=64, framework="torch")


def count(network: Any) -> int:
    return sum(p.numel() for p in network.parameters())


def test_importing_the_hooks_brings_neither_torch_nor_the_networks() -> None:
    heavy = ("torch", "sklearn", "PIL", "ganzoo_r3gan_torch.networks")
    code = f"import sys, ganzoo_r3gan_torch.hooks; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


PUBLISHED = {  # preset: G, D, batch, and what moves from where to where until how many million images
    "cifar10": (20_781_952, 21_280_512, 512, [0.05, 0.005], [0.0, 5e6], [0.0, 0.55], 20),
    "ffhq-64": (22_429_824, 22_381_440, 256, [2.0, 0.2], [0.0, 5e5], [0.0, 0.3], 20),
    "ffhq-256": (23_057_952, 23_009_568, 256, [150.0, 15.0], [0.0, 5e5], [0.0, 0.3], 20),
    "imagenet-32": (None, None, 4096, [0.5, 0.05], [0.0, 5e7], [0.0, 0.5], 200),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_paper_s_presets_are_the_published_ones(name: str) -> None:
    import torch

    expected_g, expected_d, batch, gamma, halflife, augment, millions = PUBLISHED[name]
    defaults, preset = card()["defaults"], card()["presets"][name]
    merged = {key: {**defaults.get(key, {}), **preset.get(key, {})} for key in {*defaults, *preset}}
    model, schedule, train, size = merged["model"], merged["schedule"], merged["train"], merged["data"]["size"]
    classes = {"cifar10": 10, "imagenet-32": 1000}.get(name, 0)
    assert model["conditional"] == bool(classes)
    with torch.device("meta"):
        G = hooks.build_generator(spec(size, size, classes=classes), model)
        D = hooks.build_discriminator(spec(size, size, classes=classes), model)
    if expected_g is not None:
        assert (count(G), count(D)) == (expected_g, expected_d)
    assert (model["width"], model["latent_dim"]) == (1536 if name == "imagenet-32" else 768, 64)
    assert {layer.groups for layer in D.modules() if getattr(layer, "groups", 1) > 1} <= {96, 48, 24, 12}
    assert (train["batch_size"], train["lr"], train["betas"][0], train["adam_eps"]) == (batch, 2e-4, 0.0, 1e-8)
    assert (schedule["gamma_ends"], schedule["ema_halflife_ends"], schedule["augment_ends"]) == (
        gamma, halflife, augment,
    )  # fmt: skip
    assert schedule["beta2_ends"] == [0.9, 0.99]
    assert schedule["images"] == millions * 1_000_000
    assert train["lr"] * schedule["final"] == pytest.approx(5e-5)
    assert train["ema_rampup"] == 0  # the half-life is what the schedule says
    assert merged["use"] == {"loss": "relativistic", "schedule": "cosine", "with": ["diffaugment"]}
    assert merged["data"]["flip"] is True


@pytest.mark.slow
def test_the_published_configuration_takes_a_step(tmp_path: Path) -> None:
    """20.8 M parameters, ten classes, both penalties through the augmentation: two images of a batch of 512."""
    labels = np.arange(40, dtype=np.int64) % 10
    data = gz.ImageSource(NOISE, labels, tuple(map(str, range(10))))
    asked = {"train.batch_size": 2, "engine.threads": 1, "train.report_every": "1steps", "train.sample_count": 1}
    gz.train("r3gan-torch", data=data, preset="cifar10", settings=asked, steps=1, out=tmp_path / "run", quiet=True)
    (line,) = RunFolder(tmp_path / "run").read_stats()
    assert line["gamma"] == 0.05
    assert {"discriminator/r1_penalty", "discriminator/r2_penalty", "generator/adversarial"} <= set(line)
    assert all(np.isfinite(value) for key, value in line.items() if "/" in key)


def test_images_that_are_not_square_are_refused() -> None:
    with pytest.raises(gz.UsageError, match=r"\b32x64 pixels, but draws squares"):
        hooks.build_generator(spec(32, 64), card()["defaults"]["model"])
    with pytest.raises(gz.UsageError, match=r"\b64x32 pixels, but draws squares"):
        hooks.build_discriminator(spec(64, 32), card()["defaults"]["model"])


def test_a_setting_makes_both_networks_conditional(tmp_path: Path) -> None:
    """The class drawn is the class asked for, by name or number, and the saved generator knows it."""
    told = {**QUICK, "model.conditional": True}
    gz.train("r3gan-torch", settings=told, steps=2, out=tmp_path / "run", quiet=True)
    generator = gz.load(tmp_path / "run")
    assert generator.class_names == [str(digit) for digit in range(10)]
    sevens, ones = (generator.generate(3, labels=[label] * 3, seed=1) for label in (7, 1))
    assert sevens.shape == (3, 16, 16, 1)
    assert not np.array_equal(sevens, ones)
    gz.train("r3gan-torch", settings=QUICK, steps=2, out=tmp_path / "plain", quiet=True)
    assert gz.load(tmp_path / "plain").class_names == []


def test_data_without_labels_are_refused_with_what_to_type() -> None:
    with pytest.raises(gz.UsageError, match=r"has no labels; say --set model\.conditional=false"):
        gz.train("r3gan-torch", data=NOISE, settings={**QUICK, "model.conditional": True}, steps=1, quiet=True)


@pytest.mark.parametrize(
    ("loss", "more", "penalties"),
    [
        ("relativistic", {}, {"r1_penalty", "r2_penalty"}),
        ("relativistic", {"loss.r2": False}, {"r1_penalty"}),
        ("non-saturating", {"use.with": ["r1"]}, {"r1_penalty"}),
        ("non-saturating", {"use.with": ["r1", "r2"]}, {"r1_penalty", "r2_penalty"}),
    ],
)
def test_either_loss_goes_with_either_penalty(
    loss: str, more: dict[str, Any], penalties: set[str], tmp_path: Path
) -> None:
    """The four runs that the paper compares on StackedMNIST; one schedule moves the weight in each."""
    scheduled = {"use.schedule": "cosine", "schedule.gamma_ends": [1.0, 0.5], "schedule.images": 8}
    gz.train("r3gan-torch", loss=loss, settings={**QUICK, **scheduled, **more}, steps=2, out=tmp_path / "a", quiet=True)
    lines = RunFolder(tmp_path / "a").read_stats()
    terms = {key.split("/")[1] for key in lines[0] if key.startswith("discriminator/")}
    assert {term for term in terms if term.endswith("penalty")} == penalties
    assert [line["gamma"] for line in lines] == [1.0, 0.5]


def test_what_the_schedule_moves_is_in_the_statistics_and_moves_training(tmp_path: Path) -> None:
    for name, more in (
        ("moved", {}),
        ("still", {"schedule.augment_ends": [0.0, 0.0], "with.diffaugment.augment": 0.0}),
    ):
        settings = {**QUICK, **MOVED, **more}
        gz.train("r3gan-torch", settings=settings, steps=6, out=tmp_path / name, quiet=True)
    moved, still = (RunFolder(tmp_path / name).read_stats() for name in ("moved", "still"))
    halfway = {"gamma": 0.55, "beta2": 0.945, "ema_halflife": 10.0, "augment": 0.25}
    assert {name: moved[2][name] for name in halfway} == pytest.approx(halfway)
    for line in moved[4:]:
        assert {name: line[name] for name in halfway} == {
            "gamma": 0.1, "beta2": 0.99, "ema_halflife": 20.0, "augment": 0.5,
        }  # fmt: skip
    assert moved[0]["discriminator/adversarial"] == still[0]["discriminator/adversarial"]  # at a chance of 0
    assert moved[5]["discriminator/adversarial"] != still[5]["discriminator/adversarial"]


@pytest.mark.skipif(
    bool(precision._describe_missing_support(__import__("torch").device("cpu"))),
    reason="this processor would emulate bfloat16",
)
@pytest.mark.parametrize("block", ["grouped", "plain"])
def test_bfloat16_trains_like_float32_but_for_its_rounding(block: str, tmp_path: Path) -> None:
    for kind in ("float32", "bfloat16"):
        settings = {**QUICK, "model.block": block, "engine.precision": kind, "engine.device": "cpu"}
        gz.train("r3gan-torch", settings=settings, steps=4, out=tmp_path / kind, quiet=True)
    exact, rounded = (RunFolder(tmp_path / kind).read_stats() for kind in ("float32", "bfloat16"))
    for line, other in zip(exact, rounded, strict=True):
        for term in ("discriminator/adversarial", "generator/adversarial", "discriminator/r1_penalty"):
            assert other[term] == pytest.approx(line[term], rel=0.05)
    assert exact[-1]["discriminator/adversarial"] != rounded[-1]["discriminator/adversarial"]
