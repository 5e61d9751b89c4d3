"""The loss: values by plain formulas, and what of the pair it looks at."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_core.engines.numpy_ops import NumpyOps
from ganzoo_pix2pix_torch.loss import Pix2Pix, loss

REAL = np.array([[[-1.0, 0.5]], [[0.25, 1.0]]], np.float32)
FAKE = np.array([[[-0.5, 0.5]], [[0.75, -1.0]]], np.float32)
FIXED = {"labels": None, "z": np.zeros((2, 0), np.float32), "values": {}, "ops": NumpyOps(np.random.default_rng(0))}


def make_step(real_scores: Any, fake_scores: Any) -> gz.Step:
    def D(images: Any) -> Any:
        return np.float32(real_scores if images is REAL else fake_scores)

    return gz.Step(D=D, G=lambda z: FAKE, real=REAL, fake=FAKE, **FIXED)


def sp(x: float) -> float:
    return math.log1p(math.exp(x))


@given(
    scores=st.tuples(*[st.lists(st.floats(-15, 15, width=32), min_size=2, max_size=2)] * 2),
    l1_weight=st.floats(0.5, 200),
    gan_weight=st.floats(0.5, 2),
)
def test_both_phases_are_the_paper_s(
    scores: tuple[list[float], list[float]], l1_weight: float, gan_weight: float
) -> None:
    made, step = Pix2Pix(l1_weight=l1_weight, gan_weight=gan_weight), make_step(*scores)
    real, fake = scores
    expected_d = (sum(sp(-s) for s in real) / 2 + sum(sp(s) for s in fake) / 2) / 2
    assert float(made.discriminator(step)["adversarial"]) == pytest.approx(expected_d, rel=1e-5)
    terms = made.generator(step)
    assert float(terms["adversarial"]) == pytest.approx(gan_weight * sum(sp(-s) for s in fake) / 2, rel=1e-5)
    assert float(terms["l1"]) == pytest.approx(l1_weight * (0.5 + 0.0 + 0.5 + 2.0) / 4, rel=1e-5)


def test_a_weight_of_zero_leaves_its_term_out() -> None:
    step = make_step([0.0, 0.0], [0.0, 0.0])
    assert list(Pix2Pix(l1_weight=100.0, gan_weight=0.0).generator(step)) == ["l1"]
    assert list(Pix2Pix(l1_weight=0.0, gan_weight=1.0).generator(step)) == ["adversarial"]
    with pytest.raises(gz.UsageError, match="both 0, so G would learn nothing"):
        loss({"l1_weight": 0.0, "gan_weight": 0.0})


@pytest.mark.parametrize("picks", [{"loss": "non-saturating"}, {"loss": "least-squares"}])
def test_the_networks_take_other_losses_too(picks: dict[str, str], tmp_path: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    settings = {"model.width": 1, "data.derive": "grey", "engine.threads": 1}
    run = gz.train(
        "pix2pix-torch", data=gz.ImageSource(images), settings=settings, steps=2, out=tmp_path / "run", quiet=True,
        preset="none", **picks,
    )  # fmt: skip
    assert run.stats[-1]["images"] == 2
