"""Runs through the public interface."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz

SMALL = {
    "model.width": 2,
    "model.hidden": 8,
    "model.latent_dim": 6,
    "data.size": 16,
    "train.report_every": "1steps",
    "engine.device": "cpu",
}
ACCURACIES = {"discriminator/accuracy_real", "discriminator/accuracy_fake"}
PROBABILITIES = {"discriminator/probability_real", "discriminator/probability_fake"}


@pytest.mark.parametrize(
    ("loss", "told", "not_told"),
    [("non-saturating", ACCURACIES | PROBABILITIES, set()), ("least-squares", ACCURACIES, PROBABILITIES)],
)
def test_five_steps_tell_both_losses_and_how_well_d_tells_them_apart(
    loss: str, told: set[str], not_told: set[str], tmp_path: Path
) -> None:
    run = gz.train(
        "convgan-tf", data="digits", loss=loss, steps=5, batch_size=8, settings=SMALL, out=tmp_path / "run", quiet=True
    )
    assert [line["step"] for line in run.stats] == [1, 2, 3, 4, 5]
    for line in run.stats:
        assert {"epoch", "discriminator/adversarial", "generator/adversarial"} | told <= set(line)
        assert not not_told & set(line)
        for name in told:
            assert 0 <= line[name] <= 1
        for name in ACCURACIES:
            assert (8 * line[name]).is_integer()  # of a batch of 8
        assert np.isfinite(line["discriminator/adversarial"])
    images = run.generate(3, seed=1)
    assert images.shape == (3, 16, 16, 1)
    assert images.dtype == np.uint8
    with Image.open(tmp_path / "run/samples/latest.png") as grid:
        assert grid.mode == "L"


class TellingZ:
    """Least squares that reports z: its mean square, and by how much it leaves [-1, 1]."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        return {
            "adversarial": ops.mean(ops.square(step.D(step.real) - 1.0)) + ops.mean(ops.square(step.D(step.fake))),
            "square": ops.mean(ops.square(step.z)),
            "beyond": ops.mean(ops.relu(ops.abs(step.z) - 1.0)),
        }

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.square(step.D(step.fake) - 1.0))}


def test_z_is_uniform_in_minus_1_to_1(tmp_path: Path) -> None:
    """Its variance is a third; the mean of 12,288 squares strays by 0.0027."""
    settings = {**SMALL, "model.latent_dim": 96}
    run = gz.train(
        "convgan-tf", data="digits", loss=TellingZ(), steps=1, batch_size=128, settings=settings, out=tmp_path / "run",
        quiet=True,
    )  # fmt: skip
    (line,) = run.stats
    assert line["discriminator/square"] == pytest.approx(1 / 3, abs=0.014)
    assert line["discriminator/beyond"] == 0


@pytest.mark.parametrize("loss", ["wgan-gp", "relativistic"])
def test_gradient_penalties_train_d(loss: str, tmp_path: Path) -> None:
    """The engine refuses a penalty that D has no gradient of, and a D whose layers have no second derivative."""
    run = gz.train(
        "convgan-tf", data="digits", loss=loss, steps=2, batch_size=8, settings=SMALL, out=tmp_path / "run", quiet=True
    )
    penalties = [name for name in run.stats[-1] if name.endswith("penalty")]
    assert penalties
    for name in penalties:
        assert run.stats[-1][name] > 0


def test_images_too_small_for_d_name_the_setting(tmp_path: Path) -> None:
    with pytest.raises(gz.UsageError, match=r"data\.size is 12; this model takes 16, 20, 24, 28"):
        gz.train("convgan-tf", data="digits", steps=1, settings={"data.size": 12}, out=tmp_path / "run", quiet=True)
