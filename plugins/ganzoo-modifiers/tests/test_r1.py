"""R1 and R2 on top of another loss: value, derivative, one forward, and what they hand on."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import ganzoo_core as gz
from ganzoo_core.engines.numpy_ops import NumpyOps
from ganzoo_core.engines.torch.ops import TorchOps

A = 0.7
RANDOM = np.random.default_rng(5)
REAL, FAKE = RANDOM.normal(size=(2, 3, 2, 2, 2))
SLOPE = RANDOM.normal(size=(2, 2, 2))


class Scoring:
    """A loss with something of its own beside the two phases."""

    weight = 3.0

    def discriminator(self, step):
        return {"adversarial": step.ops.mean(step.D(step.fake)) - step.ops.mean(step.D(step.real))}

    def generator(self, step):
        return {"adversarial": step, "by": self}


class Quadratic:
    """D(x) = a/2·‖x‖² + b·x, whose gradient is a·x + b."""

    def __init__(self, a, b):
        self.a, self.b, self.calls = a, b, []

    def __call__(self, x):
        self.calls.append(x)
        return (0.5 * self.a * x * x + self.b * x).reshape(len(x), -1).sum(1)

    def outputs(self, x):
        return {"scores": self(x)}

    def score_and_gradient(self, x):
        return self(x), self.a * x + self.b


def step_in_numpy(fake_step):
    return fake_step(D=Quadratic(A, SLOPE), ops=NumpyOps(np.random.default_rng(0)), real=REAL, fake=FAKE)


def step_in_torch(fake_step):
    a, b = torch.tensor(A, dtype=torch.float64, requires_grad=True), torch.tensor(SLOPE, requires_grad=True)
    real, fake = torch.from_numpy(REAL), torch.from_numpy(FAKE)
    return fake_step(D=Quadratic(a, b), ops=TorchOps("cpu"), real=real, fake=fake)


def by_hand(gamma, images=REAL):
    total = 0.0
    for sample in images:
        total += sum(float(value) ** 2 for value in (A * sample + SLOPE).ravel())
    return gamma / 2 * total / len(images)


@pytest.mark.parametrize("step_of", [step_in_numpy, step_in_torch])
def test_value(step_of, modify, fake_step):
    step, plain = step_of(fake_step), step_of(fake_step)
    terms = modify("loss", Scoring(), "r1", gamma=4.0).discriminator(step)
    assert list(terms) == ["adversarial", "r1_penalty"]
    assert terms["r1_penalty"].item() == pytest.approx(by_hand(4.0), rel=1e-9)
    assert terms["adversarial"].item() == pytest.approx(Scoring().discriminator(plain)["adversarial"].item())


@pytest.mark.parametrize("step_of", [step_in_numpy, step_in_torch])
def test_r2_is_the_same_on_fakes(step_of, modify, fake_step):
    step, plain = step_of(fake_step), step_of(fake_step)
    terms = modify("loss", Scoring(), "r2", gamma=4.0).discriminator(step)
    assert list(terms) == ["adversarial", "r2_penalty"]
    assert terms["r2_penalty"].item() == pytest.approx(by_hand(4.0, FAKE), rel=1e-9)
    assert terms["adversarial"].item() == pytest.approx(Scoring().discriminator(plain)["adversarial"].item())


@pytest.mark.parametrize("order", [("r1", "r2"), ("r2", "r1")])
def test_both_take_one_forward_of_each_batch(order, modify, fake_step):
    step, loss = step_in_numpy(fake_step), Scoring()
    for name in order:
        loss = modify("loss", loss, name, gamma=4.0)
    terms = loss.discriminator(step)
    assert terms["r1_penalty"] == pytest.approx(by_hand(4.0))
    assert terms["r2_penalty"] == pytest.approx(by_hand(4.0, FAKE))
    assert [images is REAL for images in step.D.calls] == [False, True]


@pytest.mark.parametrize(("name", "images"), [("r1", REAL), ("r2", FAKE)])
def test_a_schedule_s_gamma_wins(name, images, modify, fake_step):
    step = step_in_numpy(fake_step)
    step.values = {"gamma": 0.5}
    terms = modify("loss", Scoring(), name, gamma=4.0).discriminator(step)
    assert terms[f"{name}_penalty"] == pytest.approx(by_hand(0.5, images))
    zero = Scoring()
    assert modify("loss", zero, name, gamma=0.0) is zero


def test_the_papers_gamma(modify, fake_step, cards):
    assert cards["r1"]["defaults"]["with"]["r1"] == {"gamma": 10.0}
    terms = modify("loss", Scoring(), "r1").discriminator(step_in_numpy(fake_step))
    assert terms["r1_penalty"] == pytest.approx(by_hand(10.0))


def test_derivative_by_the_parameters(modify, fake_step):
    """(γ/2)·E‖ax + b‖² has the derivative γ·E(ax + b)·x by a and γ·E(ax + b) by b."""
    step = step_in_torch(fake_step)
    penalty = modify("loss", Scoring(), "r1", gamma=4.0).discriminator(step)["r1_penalty"]
    by_a, by_b = torch.autograd.grad(penalty, [step.D.a, step.D.b])
    gradients = A * REAL + SLOPE
    assert by_a.item() == pytest.approx(4 * (gradients * REAL).sum() / 3, rel=1e-9)
    np.testing.assert_allclose(by_b.numpy(), 4 * gradients.sum(0) / 3, rtol=1e-9)


def test_the_adversarial_term_still_trains_the_discriminator(modify, fake_step):
    ours, theirs = step_in_torch(fake_step), step_in_torch(fake_step)
    found = modify("loss", Scoring(), "r1").discriminator(ours)["adversarial"]
    plain = Scoring().discriminator(theirs)["adversarial"]
    assert torch.autograd.grad(found, ours.D.a) == torch.autograd.grad(plain, theirs.D.a)


def test_no_second_forward_and_the_same_order(modify, fake_step):
    step = step_in_numpy(fake_step)
    modify("loss", Scoring(), "r1").discriminator(step)
    assert [images is REAL for images in step.D.calls] == [False, True]


def test_batch_norm_moves_as_without_it(modify, fake_step):
    def run(loss):
        torch.manual_seed(0)
        D = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 2), torch.nn.BatchNorm2d(3), torch.nn.Flatten(0))
        real, fake = torch.randn(2, 4, 2, 3, 3)
        loss.discriminator(fake_step(D=D, ops=TorchOps("cpu"), real=real, fake=fake))
        return D[1].state_dict()

    plain, regularised = run(Scoring()), run(modify("loss", Scoring(), "r1"))
    assert all(torch.equal(plain[name], regularised[name]) for name in plain)


def test_a_loss_that_asks_for_all_outputs_gets_a_forward_of_its_own(modify, fake_step):
    class OfOutputs(Scoring):
        def discriminator(self, step):
            return {"adversarial": step.ops.mean(step.D.outputs(step.real)["scores"])}

    step = step_in_numpy(fake_step)
    terms = modify("loss", OfOutputs(), "r1", gamma=4.0).discriminator(step)
    assert terms["r1_penalty"] == pytest.approx(by_hand(4.0))
    assert len(step.D.calls) == 2


def test_a_penalty_of_the_same_name_is_added_to(modify, fake_step):
    class WithItsOwn(Scoring):
        def discriminator(self, step):
            return {**super().discriminator(step), "r1_penalty": 100.0}

    terms = modify("loss", WithItsOwn(), "r1", gamma=4.0).discriminator(step_in_numpy(fake_step))
    assert terms["r1_penalty"] == pytest.approx(100 + by_hand(4.0))


def test_everything_else_is_handed_on(modify, fake_step):
    inner = Scoring()
    loss, step = modify("loss", inner, "r1"), step_in_numpy(fake_step)
    assert isinstance(loss, gz.Loss)
    assert loss.generator(step) == {"adversarial": step, "by": inner}
    assert loss.weight == 3.0
    assert copy.deepcopy(loss).weight == 3.0
    with pytest.raises(AttributeError):
        _ = loss.unknown


def test_the_loss_sees_the_whole_step(modify, fake_step):
    class Curious(Scoring):
        def discriminator(self, step):
            return {"adversarial": (step.real, step.fake, step.labels, step.values, step.ops, step.D.a, step.D.b)}

    step = step_in_numpy(fake_step)
    step.labels, step.values = "labels", {"gamma": 1.0}
    found = modify("loss", Curious(), "r1").discriminator(step)["adversarial"]
    assert all(a is b for a, b in zip(
        found, (REAL, FAKE, "labels", step.values, step.ops, step.D.a, step.D.b), strict=True
    ))  # fmt: skip


def test_zero_leaves_the_loss_alone(modify):
    inner = Scoring()
    assert modify("loss", inner, "r1", gamma=0.0) is inner


def test_a_negative_gamma_is_refused(modify):
    with pytest.raises(gz.UsageError, match=r"with\.r1\.gamma is -1"):
        modify("loss", Scoring(), "r1", gamma=-1.0)
