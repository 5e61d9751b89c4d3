"""Gradient penalties against discriminators whose gradient is known, and against numeric differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ganzoo_core.engines.numpy_ops import NumpyOps
from ganzoo_core.engines.torch.ops import TorchOps

SHAPE = (3, 2, 2, 2)  # N, C, H, W
RANDOM = np.random.default_rng(7)
REAL, FAKE = RANDOM.normal(size=(2, *SHAPE))
SLOPE = RANDOM.normal(size=SHAPE[1:])
EPSILON = RANDOM.uniform(size=(3, 1, 1, 1))
A = 0.7


class FixedNumpyOps(NumpyOps):
    """Draws EPSILON, and remembers the shapes that it was asked for."""

    def __init__(self):
        super().__init__(np.random.default_rng(0))
        self.asked = []

    def uniform(self, shape):
        self.asked.append(tuple(shape))
        return EPSILON


class FixedTorchOps(TorchOps):
    def __init__(self):
        super().__init__("cpu")

    def uniform(self, shape):
        return torch.from_numpy(EPSILON)


class Quadratic:
    """D(x) = a/2·‖x‖² + b·x, whose gradient is a·x + b; in numpy it says so itself."""

    def __init__(self, a, b):
        self.a, self.b = a, b
        self.calls = []

    def __call__(self, x):
        self.calls.append(x)
        per_pixel = 0.5 * self.a * x * x + self.b * x
        return per_pixel.reshape(len(x), -1).sum(1)

    def score_and_gradient(self, x):
        return self(x), self.a * x + self.b


def numpy_step(fake_step, a=A, b=SLOPE, **more):
    return fake_step(D=Quadratic(a, b), ops=FixedNumpyOps(), real=REAL, fake=FAKE, **more)


def torch_step(fake_step, a=A, b=SLOPE, dtype=torch.float64, **more):
    class Differentiated:
        def __init__(self):
            self.a = torch.tensor(a, dtype=dtype, requires_grad=True)
            self.b = torch.tensor(b, dtype=dtype, requires_grad=True)
            self.inner = Quadratic(self.a, self.b)

        def __call__(self, x):
            return self.inner(x)

    real, fake = (torch.tensor(x, dtype=dtype) for x in (REAL, FAKE))
    return fake_step(D=Differentiated(), ops=FixedTorchOps(), real=real, fake=fake, **more)


def mixed(sample):
    epsilon = EPSILON[sample].item()
    return epsilon * REAL[sample] + (1 - epsilon) * FAKE[sample]


def squared_norm(gradient):
    return sum(float(value) ** 2 for value in gradient.ravel())


BY_HAND = {
    "gradient_penalty": lambda: (
        10 * sum((math.sqrt(squared_norm(A * mixed(i) + SLOPE)) - 1) ** 2 for i in range(3)) / 3
    ),
    "r1_penalty": lambda: 1.5 / 2 * sum(squared_norm(A * REAL[i] + SLOPE) for i in range(3)) / 3,
    "r2_penalty": lambda: 1.5 / 2 * sum(squared_norm(A * FAKE[i] + SLOPE) for i in range(3)) / 3,
}


@pytest.mark.parametrize("step_of", [numpy_step, torch_step])
@pytest.mark.parametrize(
    ("name", "options", "term"),
    [
        ("wgan-gp", {}, "gradient_penalty"),
        ("relativistic", {"gamma": 1.5}, "r1_penalty"),
        ("relativistic", {"gamma": 1.5}, "r2_penalty"),
    ],
)
def test_values_by_hand(step_of, name, options, term, make_loss, fake_step):
    terms = make_loss(name, **options).discriminator(step_of(fake_step))
    assert terms[term].item() == pytest.approx(BY_HAND[term](), rel=1e-9)


@pytest.mark.parametrize("name", ["wgan-gp", "relativistic"])
def test_torch_and_numpy_agree_in_float32(name, make_loss, fake_step):
    loss = make_loss(name)
    ours = loss.discriminator(numpy_step(fake_step))
    theirs = loss.discriminator(torch_step(fake_step, dtype=torch.float32))
    assert list(ours) == list(theirs)
    for term, value in theirs.items():
        assert value.item() == pytest.approx(ours[term].item(), rel=2e-6)


def test_wgan_gp_of_a_linear_critic(make_loss, fake_step):
    """D(x) = b·x has the gradient b everywhere: 10(‖b‖-1)², and by b 20(‖b‖-1)·b/‖b‖."""
    step = torch_step(fake_step, a=0.0)
    penalty = make_loss("wgan-gp").discriminator(step)["gradient_penalty"]
    norm = math.sqrt(squared_norm(SLOPE))
    assert penalty.item() == pytest.approx(10 * (norm - 1) ** 2, rel=1e-9)
    (by_slope,) = torch.autograd.grad(penalty, step.D.b)
    np.testing.assert_allclose(by_slope.numpy(), 20 * (norm - 1) * SLOPE / norm, rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wgan_gp_of_a_flat_critic_is_finite(dtype, make_loss, fake_step):
    """Where D's gradient is zero the norm has no derivative; the penalty is 10 and pulls nowhere."""
    step = torch_step(fake_step, a=0.0, b=np.zeros(SHAPE[1:]), dtype=dtype)
    penalty = make_loss("wgan-gp").discriminator(step)["gradient_penalty"]
    assert penalty.item() == pytest.approx(10, rel=1e-5)
    assert all((slope == 0).all() for slope in torch.autograd.grad(penalty, [step.D.a, step.D.b]))


def test_wgan_gp_draws_one_number_a_sample(make_loss, fake_step):
    step = numpy_step(fake_step)
    make_loss("wgan-gp").discriminator(step)
    assert step.ops.asked == [(3, 1, 1, 1)]


def test_wgan_gp_mixes_in_the_right_direction(make_loss, fake_step):
    step = numpy_step(fake_step)
    make_loss("wgan-gp").discriminator(step)
    real, fake, between = step.D.calls
    assert real is step.real
    assert fake is step.fake
    np.testing.assert_allclose(between, np.stack([mixed(i) for i in range(3)]))


def test_drift(make_loss, fake_step):
    step = numpy_step(fake_step)
    terms = make_loss("wgan-gp", drift=0.001).discriminator(step)
    assert list(terms) == ["adversarial", "gradient_penalty", "drift_penalty"]
    scores = [squared_norm(REAL[i]) * A / 2 + float((SLOPE * REAL[i]).sum()) for i in range(3)]
    assert float(terms["drift_penalty"]) == pytest.approx(0.001 * sum(score**2 for score in scores) / 3)
    assert "drift_penalty" not in make_loss("wgan-gp").discriminator(step)


def test_r1_and_r2_by_the_parameters(make_loss, fake_step):
    """(γ/2)·E‖ax + b‖² has the derivative γ·E(ax + b)·x by a and γ·E(ax + b) by b."""
    step = torch_step(fake_step)
    terms = make_loss("relativistic", gamma=1.5).discriminator(step)
    for term, images in (("r1_penalty", REAL), ("r2_penalty", FAKE)):
        by_a, by_b = torch.autograd.grad(terms[term], [step.D.a, step.D.b], retain_graph=True)
        gradients = A * images + SLOPE
        assert by_a.item() == pytest.approx(1.5 * (gradients * images).sum() / 3, rel=1e-9)
        np.testing.assert_allclose(by_b.numpy(), 1.5 * gradients.sum(0) / 3, rtol=1e-9)


def test_relativistic_takes_one_forward_of_each(make_loss, fake_step):
    step = numpy_step(fake_step)
    make_loss("relativistic").discriminator(step)
    assert [images is step.real for images in step.D.calls] == [True, False]


def test_the_schedule_wins_over_gamma(make_loss, fake_step):
    for setting in (0.0, 5.0):
        scheduled = numpy_step(fake_step, values={"gamma": 1.5, "lr_d": 1e-4})
        terms = make_loss("relativistic", gamma=setting).discriminator(scheduled)
        assert float(terms["r1_penalty"]) == pytest.approx(BY_HAND["r1_penalty"]())
        assert float(terms["r2_penalty"]) == pytest.approx(BY_HAND["r2_penalty"]())


def test_r1_alone(make_loss, fake_step):
    """Without R2 the other terms are the same, each image is scored once, and fakes need no gradient."""
    both = make_loss("relativistic", gamma=1.5).discriminator(numpy_step(fake_step))
    step = numpy_step(fake_step)
    alone = make_loss("relativistic", gamma=1.5, r2=False).discriminator(step)
    assert alone == {name: both[name] for name in ("adversarial", "r1_penalty")}
    assert [images is step.real for images in step.D.calls] == [True, False]
    scheduled = numpy_step(fake_step, values={"gamma": 3.0})
    terms = make_loss("relativistic", gamma=0.0, r2=False).discriminator(scheduled)
    assert list(terms) == ["adversarial", "r1_penalty"]
    assert float(terms["r1_penalty"]) == pytest.approx(2 * BY_HAND["r1_penalty"]())


@pytest.mark.parametrize(("name", "option"), [("relativistic", "gamma"), ("wgan-gp", "gp_weight")])
def test_a_weight_of_zero_costs_no_gradients(name, option, make_loss, fake_step, monkeypatch):
    step = numpy_step(fake_step)
    monkeypatch.setattr(Quadratic, "score_and_gradient", lambda self, x: pytest.fail("it asked for a gradient"))
    assert list(make_loss(name, **{option: 0.0}).discriminator(step)) == ["adversarial"]


@pytest.mark.parametrize("name", ["wgan-gp", "relativistic"])
def test_patches_are_summed_over_a_sample_before_the_gradient(name, make_loss, fake_step):
    """The penalty of a D with patches is that of the D which gives their sum."""

    def patches(x):
        return (A / 2 * x**2 + torch.from_numpy(SLOPE) * x).sum(dim=1)

    step = torch_step(fake_step)
    summed = make_loss(name).discriminator(step)
    step.D = patches
    of_patches = make_loss(name).discriminator(step)
    for term in set(summed) - {"adversarial"}:
        assert of_patches[term].item() == pytest.approx(summed[term].item(), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "options"),
    [("wgan-gp", {"drift": 0.1}), ("relativistic", {"gamma": 2.0})],
    ids=["wgan-gp", "relativistic"],
)
def test_second_derivatives_against_differences(name, options, make_loss, fake_step):
    """The sum of all terms by each parameter of a small convolutional D, in float64."""
    torch.manual_seed(3)
    D = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 2), torch.nn.Softplus(), torch.nn.Flatten(), torch.nn.Linear(3, 1), torch.nn.Flatten(0)
    ).double()
    step = torch_step(fake_step)
    step.D = D
    loss = make_loss(name, **options)

    def total():
        return sum(loss.discriminator(step).values())

    parameters = list(D.parameters())
    # The last bias moves no gradient, so a penalty by itself may not reach it: differences say zero there too.
    found = torch.autograd.grad(total(), parameters, allow_unused=True)
    width = 1e-5
    for parameter, gradient in zip(parameters, found, strict=True):
        for index in np.ndindex(*parameter.shape):
            values = []
            for shift in (width, -width):
                with torch.no_grad():
                    parameter[index] += shift
                values.append(total().item())
                with torch.no_grad():
                    parameter[index] -= shift
            expected = (values[0] - values[1]) / (2 * width)
            assert gradient[index].item() == pytest.approx(expected, rel=1e-5, abs=1e-7)
