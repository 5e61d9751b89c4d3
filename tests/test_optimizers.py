"""Optimizers, clipping and batches in parts in both frameworks, against a loop in numpy that is written out by hand.

Both networks are one linear layer each and the loss is least squares, so that each gradient is a line of numpy. That
loop sees whole batches only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

import ganzoo_core as gz
from ganzoo_core import engines
from ganzoo_core.data.pixels import preprocess
from ganzoo_core.data.stream import Stream
from ganzoo_core.engines import Plan
from ganzoo_core.engines.tensorflow import optimizers
from ganzoo_core.engines.torch import updates
from ganzoo_core.randomness import latents, philox
from ganzoo_core.settings import OptimizerSettings, read_engine_settings

from .plans import change, make_plan

BATCH, LATENT, SIZE, STEPS = 8, 3, 2, 6
PIXELS = SIZE * SIZE
RANDOM = np.random.default_rng(2)
IMAGES = RANDOM.integers(0, 256, (29, SIZE, SIZE, 1), dtype=np.uint8)
START = {
    "G": {"kernel": RANDOM.normal(size=(LATENT, PIXELS)), "bias": RANDOM.normal(size=PIXELS)},
    "D": {"kernel": RANDOM.normal(size=(PIXELS, 1)), "bias": RANDOM.normal(size=1)},
}
PLAN = make_plan(seed=3, batch_size=BATCH, latent_dim=LATENT, lr=0.02, adam_eps=1e-12, momentum=0.5)
FRAMEWORKS = ["torch", "tensorflow"]

Weights = dict[str, dict[str, np.ndarray]]


class LeastSquares:
    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = ops.square(step.D(step.real) - 1), ops.square(step.D(step.fake))
        return {"adversarial": ops.mean(real) + ops.mean(fake)}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.square(step.D(step.fake) - 1))}


def make_networks(framework: str) -> tuple[Any, Any]:
    if framework == "torch":
        G = torch.nn.Sequential(torch.nn.Linear(LATENT, PIXELS), torch.nn.Unflatten(1, (1, SIZE, SIZE)))
        D = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(PIXELS, 1))
        with torch.no_grad():
            for layer, values in ((G[0], START["G"]), (D[1], START["D"])):
                layer.weight.copy_(torch.from_numpy(values["kernel"].T))
                layer.bias.copy_(torch.from_numpy(values["bias"]))
        return G, D
    layers = keras.layers
    G = keras.Sequential([keras.Input((LATENT,)), layers.Dense(PIXELS), layers.Reshape((SIZE, SIZE, 1))])
    D = keras.Sequential([keras.Input((SIZE, SIZE, 1)), layers.Flatten(), layers.Dense(1)])
    for network, values in ((G, START["G"]), (D, START["D"])):
        network.set_weights([values["kernel"], values["bias"]])
    return G, D


def train(
    framework: str, plan: Plan, values: Mapping[str, float] | None = None, *, steps: int = STEPS, loss: Any = None
) -> tuple[Any, Weights]:
    """A trainer after some steps, and its weights, kernels [inputs, outputs]."""
    engine = engines.create_engine(framework, read_engine_settings({"engine.device": "cpu", "engine.threads": 1}))
    trainer = engine.create_trainer(*make_networks(framework), loss or LeastSquares(), plan, IMAGES, None)
    for step in range(steps):
        trainer.step(step, step * plan.images_per_step, values or {})
    return trainer, read_weights(engine, trainer)


def read_weights(engine: Any, trainer: Any) -> Weights:
    found: Weights = {}
    for label, network in (("G", trainer.G), ("D", trainer.D)):
        tensors = engine.read_weights(network)
        kernel, bias = sorted(tensors.values(), key=lambda array: -array.ndim)
        found[label] = {"kernel": kernel.T if engine.framework == "torch" else kernel, "bias": bias}
    return found


class NumpyOptimizer:
    """Formulas of the papers, in double precision: for each tensor its own moments."""

    def __init__(self, settings: OptimizerSettings) -> None:
        self.settings, self.state, self.count = settings, {}, 0
        self.norms: list[float] = []  # of the gradients as they came

    def update(self, weights: dict[str, np.ndarray], gradients: dict[str, np.ndarray], beta2: float | None) -> None:
        own = self.settings
        self.count += 1
        norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
        self.norms.append(norm)
        if own.clip_norm and norm > own.clip_norm:
            gradients = {name: gradient * own.clip_norm / norm for name, gradient in gradients.items()}
        for name, gradient in gradients.items():
            first, second = self.state.get(name, (np.zeros_like(gradient), np.zeros_like(gradient)))
            if own.name == "sgd":
                first = own.momentum * first + gradient
                change = own.lr * first
            else:
                b1, b2 = own.betas[0], own.betas[1] if beta2 is None else beta2
                first, second = b1 * first + (1 - b1) * gradient, b2 * second + (1 - b2) * gradient**2
                unbiased = first / (1 - b1**self.count), second / (1 - b2**self.count)
                change = own.lr * unbiased[0] / (np.sqrt(unbiased[1]) + own.adam_eps)
            self.state[name] = first, second
            if own.name == "adamw":  # algorithm 2 of Loshchilov and Hutter, arXiv:1711.05101, in its usual form
                change = change + own.lr * own.weight_decay * weights[name]
            weights[name] = weights[name] - change


def train_in_numpy(plan: Plan, *, beta2: float | None = None) -> Weights:
    return play_in_numpy(plan, beta2)[0]


def play_in_numpy(plan: Plan, beta2: float | None = None) -> tuple[Weights, dict[str, NumpyOptimizer]]:
    weights = {label: dict(values) for label, values in START.items()}
    g, d = weights["G"], weights["D"]
    by_hand = {"G": NumpyOptimizer(plan.optimizer_g), "D": NumpyOptimizer(plan.optimizer_d)}
    stream = Stream(len(IMAGES), seed=plan.seed, purpose="data")

    def draw(*indices: Any) -> tuple[np.ndarray, np.ndarray]:
        z = latents(philox(plan.seed, *indices), BATCH, LATENT, "normal").astype(np.float64)
        return z, z @ g["kernel"] + g["bias"]

    def compute_d_gradients(real: np.ndarray, fake: np.ndarray) -> dict[str, np.ndarray]:
        kernel, bias = np.zeros((PIXELS, 1)), np.zeros(1)
        for images, target in ((real, 1), (fake, 0)):
            slope = 2 * (images @ d["kernel"] + d["bias"] - target) / BATCH
            kernel, bias = kernel + images.T @ slope, bias + slope.sum(axis=0)
        return {"kernel": kernel, "bias": bias}

    def compute_g_gradients(z: np.ndarray, fake: np.ndarray) -> dict[str, np.ndarray]:
        slope = 2 * (fake @ d["kernel"] + d["bias"] - 1) / BATCH @ d["kernel"].T
        return {"kernel": z.T @ slope, "bias": slope.sum(axis=0)}

    for step in range(STEPS):
        for turn in range(plan.critic_steps):
            position = (step * plan.critic_steps + turn) * BATCH
            real = preprocess(IMAGES[stream.take_indices(position, BATCH)]).reshape(BATCH, -1).astype(np.float64)
            z, fake = draw("z", step, turn)
            gradients = compute_d_gradients(real, fake)
            if plan.updates == "simultaneous":
                by_hand["G"].update(g, compute_g_gradients(z, fake), beta2)
            by_hand["D"].update(d, gradients, beta2)
        if plan.updates == "alternating":
            z, fake = draw("z", step, 0) if plan.critic_steps == 1 else draw("z of the generator", step)
            by_hand["G"].update(g, compute_g_gradients(z, fake), beta2)
    return weights, by_hand


def check_weights(found: Weights, expected: Weights, *, tolerance: float = 1e-5) -> None:
    for label, arrays in expected.items():
        for name, array in arrays.items():
            assert np.abs(array - START[label][name]).max() > 100 * tolerance, f"{label} {name} did not move"
            np.testing.assert_allclose(found[label][name], array, rtol=tolerance, atol=tolerance, err_msg=label + name)


OF_ONE_NETWORK: dict[str, dict[str, Any]] = {
    "optimizer": {"optimizer_d": "sgd", "lr_d": 0.05},
    "betas": {"betas_d": (0.2, 0.9), "betas_g": (0.7, 0.99)},
    "epsilon and momentum": {"optimizer_g": "sgd", "momentum_g": 0.9, "adam_eps_d": 0.5, "betas_d": (0.0, 0.0)},
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("changed", OF_ONE_NETWORK.values(), ids=OF_ONE_NETWORK)
def test_each_network_may_have_an_optimizer_of_its_own(framework: str, changed: dict[str, Any]) -> None:
    plan = change(PLAN, **changed)
    expected = train_in_numpy(plan)
    check_weights(train(framework, plan)[1], expected)
    same = train_in_numpy(PLAN)
    assert not np.allclose(expected["D"]["kernel"], same["D"]["kernel"], rtol=1e-3)


DECAYED: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "strong": {"weight_decay": 2.0, "betas": (0.9, 0.99)},
    "of one network": {"weight_decay_g": 3.0, "weight_decay_d": 0.0},
    "in simultaneous steps": {"weight_decay": 1.0, "updates": "simultaneous"},
    "of several steps of D": {"weight_decay": 1.0, "critic_steps": 2, "optimizer_g": "adam"},
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("changed", DECAYED.values(), ids=DECAYED)
def test_adamw_decays_every_weight_apart_from_its_gradient(framework: str, changed: dict[str, Any]) -> None:
    """Kernels and biases alike, in proportion to the learning rate; an L2 penalty would pass through the moments."""
    plan = change(PLAN, **{"optimizer": "adamw", **changed})
    check_weights(train(framework, plan)[1], train_in_numpy(plan))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_decay_follows_the_schedules_rate(framework: str) -> None:
    plan = change(PLAN, optimizer="adamw", weight_decay=3.0)
    rates = {"lr_g": 0.01, "lr_d": 0.05}
    check_weights(train(framework, plan, rates)[1], train_in_numpy(change(plan, **rates)))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_adamw_without_decay_is_adam(framework: str) -> None:
    """To the bit."""
    states = [train(framework, change(PLAN, **plan))[0].read_state() for plan in (
        {"optimizer": "adam"}, {"optimizer": "adamw", "weight_decay": 0.0}
    )]  # fmt: skip
    assert states[0].keys() == states[1].keys()
    assert all(np.array_equal(array, states[1][name]) for name, array in states[0].items())


CLIPPED: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "clip_norm_d": 10.0, "clip_norm_g": 3.0},
    "adam": {"clip_norm": 12.0},
    "in simultaneous steps": {"optimizer": "sgd", "clip_norm": 7.0, "updates": "simultaneous"},
    "of one network": {"optimizer": "sgd", "clip_norm_d": 4.0, "critic_steps": 2},
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("changed", CLIPPED.values(), ids=CLIPPED)
def test_the_norm_of_each_networks_gradients_is_clipped(framework: str, changed: dict[str, Any]) -> None:
    """Of all tensors together, each network's apart; some steps are above the limit and others are not."""
    plan = change(PLAN, **changed)
    expected, by_hand = play_in_numpy(plan)
    for own in by_hand.values():
        limit = own.settings.clip_norm
        assert 0 < sum(norm > limit for norm in own.norms) < len(own.norms) or not limit
    check_weights(train(framework, plan)[1], expected)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_limit_that_no_gradient_reaches_changes_no_bit(framework: str) -> None:
    states = [train(framework, change(PLAN, clip_norm=limit))[0].read_state() for limit in (0.0, 1e6)]
    assert all(np.array_equal(array, states[1][name]) for name, array in states[0].items())


def test_gradients_of_zero_and_none_are_clipped_to_themselves() -> None:
    """And what is not a number stays so, which ends the run as a divergence."""
    weights = [torch.nn.Parameter(torch.ones(shape)) for shape in ((2, 3), (4,), (1,))]
    arrays = [np.array([[3.0, 0, 0], [0, 0, 0]], np.float32), np.array([0, 4.0, 0, 0], np.float32)]
    cases = ((1, 1.0, 0.2), (1, 10.0, 1.0), (0, 1.0, 1.0), (np.nan, 1.0, np.nan))
    for factor, limit, scale in cases:
        given = [array * np.float32(factor) for array in arrays]
        expected = [array * np.float32(scale) for array in given]
        for weight, array in zip(weights, given, strict=False):
            weight.grad = torch.from_numpy(array.copy())
        updates.clip_gradients(weights, limit)
        keras_found = optimizers.clip_gradients([*map(tf.constant, given), None], limit)
        assert weights[2].grad is None
        assert keras_found[2] is None
        for weight, found, array in zip(weights, keras_found, expected, strict=False):
            np.testing.assert_allclose(weight.grad.numpy(), array, rtol=1e-6)
            np.testing.assert_allclose(found.numpy(), array, rtol=1e-6)


def test_a_sparse_gradient_counts_each_row_once() -> None:
    """An embedding's gradient names the row of a class as often as the batch has it; 3 and 4 in one row are 7."""
    sparse = tf.IndexedSlices(tf.constant([[3.0], [4.0]]), tf.constant([1, 1]), tf.constant([2, 1]))
    (found,) = optimizers.clip_gradients([sparse], 3.5)
    np.testing.assert_allclose(found.numpy(), [[0.0], [3.5]], rtol=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_state_of_two_kinds_of_optimizers_is_restored(framework: str) -> None:
    plan = change(PLAN, optimizer_g="adamw", optimizer_d="sgd", momentum_d=0.9)
    whole, half = train(framework, plan)[0], train(framework, plan, steps=3)[0]
    resumed = train(framework, plan, steps=0)[0]
    state = half.read_state()
    tensors, optional = resumed.describe_state()
    assert tensors.keys() - optional <= state.keys() <= tensors.keys()
    resumed.restore_state(state)
    for step in range(3, STEPS):
        resumed.step(step, step * plan.images_per_step, {})
    expected = whole.read_state()
    assert all(np.array_equal(array, expected[name]) for name, array in resumed.read_state().items())


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_schedules_beta2_is_that_of_both_networks(framework: str) -> None:
    plan = change(PLAN, betas_d=(0.2, 0.9))
    check_weights(train(framework, plan, {"beta2": 0.8})[1], train_in_numpy(plan, beta2=0.8))
