"""Each loss's adversarial term: its value, its gradient, and the order in which it calls D."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_core.engines.numpy_ops import NumpyOps
from ganzoo_core.engines.torch.ops import TorchOps

NUMPY, TORCH = NumpyOps(np.random.default_rng(0)), TorchOps("cpu")

SCORES = st.integers(1, 6).flatmap(
    lambda n: st.tuples(*[st.lists(st.floats(-15, 15, width=32), min_size=n, max_size=n)] * 2)
)
# Without penalties: those are in test_penalties.py.
PLAIN = {
    "non-saturating": {},
    "minimax": {},
    "least-squares": {},
    "hinge": {},
    "wasserstein": {},
    "wgan-gp": {"gp_weight": 0.0},
    "relativistic": {"gamma": 0.0},
}


def sp(x):
    return math.log1p(math.exp(x))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def step_function(condition):
    return 1.0 if condition else 0.0


# For one real score r and one fake score f: what D and G minimise.
FORMULAS = {
    "non-saturating": (lambda r, f: sp(-r) + sp(f), lambda r, f: sp(-f)),
    "minimax": (lambda r, f: sp(-r) + sp(f), lambda r, f: -sp(f)),
    "least-squares": (lambda r, f: (r - 1) ** 2 / 2 + f**2 / 2, lambda r, f: (f - 1) ** 2 / 2),
    "hinge": (lambda r, f: max(0, 1 - r) + max(0, 1 + f), lambda r, f: -f),
    "wasserstein": (lambda r, f: f - r, lambda r, f: -f),
    "wgan-gp": (lambda r, f: f - r, lambda r, f: -f),
    "relativistic": (lambda r, f: sp(-(r - f)), lambda r, f: sp(-(f - r))),
}
# The derivatives of D's by r and by f, and of G's by f.
SLOPES = {
    "non-saturating": (lambda r, f: -sigmoid(-r), lambda r, f: sigmoid(f), lambda r, f: -sigmoid(-f)),
    "minimax": (lambda r, f: -sigmoid(-r), lambda r, f: sigmoid(f), lambda r, f: -sigmoid(f)),
    "least-squares": (lambda r, f: r - 1, lambda r, f: f, lambda r, f: f - 1),
    "hinge": (lambda r, f: -step_function(r < 1), lambda r, f: step_function(f > -1), lambda r, f: -1.0),
    "wasserstein": (lambda r, f: -1.0, lambda r, f: 1.0, lambda r, f: -1.0),
    "wgan-gp": (lambda r, f: -1.0, lambda r, f: 1.0, lambda r, f: -1.0),
    "relativistic": (lambda r, f: -sigmoid(f - r), lambda r, f: sigmoid(f - r), lambda r, f: -sigmoid(r - f)),
}


class Identity:
    """Images are their own scores. Remembers what it was called on."""

    def __init__(self):
        self.called_on = []

    def __call__(self, images):
        self.called_on.append(images)
        return images

    def outputs(self, images):
        return {"scores": self(images)}


def test_all_are_covered(manifest):
    assert {*PLAIN, "auxiliary-classifier"} == set(manifest["losses"])
    assert [name for name, card in manifest["losses"].items() if card.get("default")] == ["non-saturating"]


@pytest.mark.parametrize("name", PLAIN)
@given(scores=SCORES)
def test_values(name, scores, make_loss, fake_step):
    loss, (real, fake) = make_loss(name, **PLAIN[name]), scores
    by_hand = [sum(formula(r, f) for r, f in zip(real, fake, strict=True)) / len(real) for formula in FORMULAS[name]]
    for ops, tensor in ((NUMPY, np.asarray), (TORCH, torch.from_numpy)):
        step = fake_step(D=Identity(), ops=ops, real=tensor(np.array(real)), fake=tensor(np.array(fake)))
        for terms, expected in zip((loss.discriminator(step), loss.generator(step)), by_hand, strict=True):
            assert list(terms) == ["adversarial"]
            assert terms["adversarial"].shape == ()
            assert float(terms["adversarial"]) == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("name", PLAIN)
@given(scores=SCORES)
def test_torch_and_numpy_agree_in_float32(name, scores, make_loss, fake_step):
    loss, (real, fake) = make_loss(name, **PLAIN[name]), np.array(scores, dtype=np.float32)
    ours = fake_step(D=Identity(), ops=NUMPY, real=real, fake=fake)
    theirs = fake_step(D=Identity(), ops=TORCH, real=torch.from_numpy(real), fake=torch.from_numpy(fake))
    size = 1e-6 * max(1.0, np.abs(scores).max())  # a difference of two means may be far smaller than they are
    for phase in (loss.discriminator, loss.generator):
        expected = float(phase(ours)["adversarial"])
        assert float(phase(theirs)["adversarial"]) == pytest.approx(expected, rel=1e-6, abs=size)


@pytest.mark.parametrize("name", PLAIN)
def test_gradients(name, make_loss, fake_step):
    loss = make_loss(name, **PLAIN[name])
    real = torch.tensor([-3.0, 0.25, 2.5, 0.0], dtype=torch.float64, requires_grad=True)
    fake = torch.tensor([-2.0, 1.5, -0.5, 3.0], dtype=torch.float64, requires_grad=True)
    step = fake_step(D=Identity(), ops=TORCH, real=real, fake=fake)
    found = torch.autograd.grad(loss.discriminator(step)["adversarial"], [real, fake])
    found += torch.autograd.grad(loss.generator(step)["adversarial"], [fake])
    for gradient, slope in zip(found, SLOPES[name], strict=True):
        expected = [slope(r, f) / 4 for r, f in zip(real.tolist(), fake.tolist(), strict=True)]
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", PLAIN)
def test_patches_are_averaged_like_samples(name, make_loss, fake_step):
    loss, generator = make_loss(name, **PLAIN[name]), np.random.default_rng(1)
    real, fake = generator.normal(size=(2, 3, 2, 2))
    patches = fake_step(D=Identity(), ops=NUMPY, real=real, fake=fake)
    flat = fake_step(D=Identity(), ops=NUMPY, real=real.ravel(), fake=fake.ravel())
    assert loss.discriminator(patches)["adversarial"] == pytest.approx(loss.discriminator(flat)["adversarial"])
    assert loss.generator(patches)["adversarial"] == pytest.approx(loss.generator(flat)["adversarial"])


@pytest.mark.parametrize("name", [*PLAIN, "auxiliary-classifier"])
def test_real_comes_before_fake_and_each_once(name, make_loss, fake_step):
    class WithClasses(Identity):
        def outputs(self, images):
            return {"scores": self(images), "classes": images[:, None]}

    loss, D = make_loss(name, **PLAIN.get(name, {})), WithClasses()
    step = fake_step(D=D, ops=NUMPY, real=np.ones(2), fake=np.zeros(2), labels=np.zeros(2, dtype=np.int64))
    loss.discriminator(step)
    assert [images is step.real for images in D.called_on] == [True, False]
    D.called_on.clear()
    loss.generator(step)
    expected = [True, False] if name == "relativistic" else [False]
    assert [images is step.real for images in D.called_on] == expected


@pytest.mark.parametrize("name", sorted(set(PLAIN) - {"relativistic"}))
def test_only_relativistic_needs_reals_in_the_generator_step(name, make_loss, fake_step, manifest):
    assert "real_in_generator_step" not in manifest["losses"][name].get("needs", [])
    make_loss(name, **PLAIN[name]).generator(fake_step(D=Identity(), ops=NUMPY, real=None, fake=np.zeros(2)))


@given(scores=SCORES)
def test_minimax_is_a_zero_sum_game_with_the_non_saturating_discriminator(scores, make_loss, fake_step):
    real, fake = np.array(scores)
    step = fake_step(D=Identity(), ops=NUMPY, real=real, fake=fake)
    minimax = make_loss("minimax")
    of_D = float(minimax.discriminator(step)["adversarial"])
    assert of_D == float(make_loss("non-saturating").discriminator(step)["adversarial"])
    # G's value is minus the part of D's that G can change.
    assert float(minimax.generator(step)["adversarial"]) == pytest.approx(sum(map(sp, -real)) / len(real) - of_D)


@given(scores=SCORES, shift=st.floats(-5, 5))
def test_relativistic_knows_only_differences(scores, shift, make_loss, fake_step):
    loss, (real, fake) = make_loss("relativistic", gamma=0.0), np.array(scores)
    here = fake_step(D=Identity(), ops=NUMPY, real=real, fake=fake)
    there = fake_step(D=Identity(), ops=NUMPY, real=real + shift, fake=fake + shift)
    swapped = fake_step(D=Identity(), ops=NUMPY, real=fake, fake=real)
    for phase in (loss.discriminator, loss.generator):
        assert float(phase(there)["adversarial"]) == pytest.approx(float(phase(here)["adversarial"]), abs=1e-9)
    assert float(loss.generator(here)["adversarial"]) == float(loss.discriminator(swapped)["adversarial"])


@pytest.mark.parametrize("name", PLAIN)
def test_far_scores_stay_finite(name, make_loss, fake_step):
    far = torch.tensor([1e4, -1e4], requires_grad=True)
    step = fake_step(D=Identity(), ops=TORCH, real=far, fake=-far)
    loss = make_loss(name, **PLAIN[name])
    total = loss.discriminator(step)["adversarial"] + loss.generator(step)["adversarial"]
    assert torch.isfinite(total)
    assert torch.isfinite(torch.autograd.grad(total, far)[0]).all()


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("wasserstein", "clip", 0.0),
        ("wgan-gp", "gp_weight", -1.0),
        ("wgan-gp", "drift", -1.0),
        ("relativistic", "gamma", -0.5),
        ("auxiliary-classifier", "class_weight", -1.0),
    ],
)
def test_senseless_settings_are_refused(name, option, value, make_loss):
    with pytest.raises(gz.UsageError, match=rf"loss\.{option} is .*expected"):
        make_loss(name, **{option: value})


def test_the_papers_hyperparameters(manifest):
    clipping, penalty = manifest["losses"]["wasserstein"], manifest["losses"]["wgan-gp"]
    assert clipping["defaults"]["loss"] == {"clip": 0.01}
    assert clipping["defaults"]["train"] == {
        "critic_steps": 5, "updates": "alternating", "optimizer": "rmsprop", "lr": 5e-5,
    }  # fmt: skip
    assert clipping["clip_discriminator"] == "loss.clip"
    assert penalty["defaults"]["loss"] == {"gp_weight": 10.0, "drift": 0.0}
    assert penalty["defaults"]["train"] == {
        "critic_steps": 5, "updates": "alternating", "optimizer": "adam", "lr": 1e-4, "betas": [0.5, 0.9],
    }  # fmt: skip
    decisions = {name: card.get("decision") for name, card in manifest["losses"].items()}
    assert decisions == {
        "non-saturating": 0, "minimax": 0, "hinge": 0, "auxiliary-classifier": 0, "least-squares": 0.5,
        "relativistic": "pair", "wasserstein": None, "wgan-gp": None,
    }  # fmt: skip


def test_no_loss_brings_a_framework(manifest):
    modules = [card["hooks"] for card in manifest["losses"].values()]
    assert all(hasattr(importlib.import_module(module), "loss") for module in modules)
    program = f"import sys, {', '.join(modules)}; print({{'torch', 'tensorflow', 'keras'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "set()"
