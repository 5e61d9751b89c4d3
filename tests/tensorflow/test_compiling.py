"""`engine.compile` and `engine.precision` in TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import ganzoo_core as gz
from ganzoo_core.engines import Plan
from ganzoo_core.engines.comparing import apart
from ganzoo_core.engines.tensorflow import Engine, compiling

BATCH, LATENT, SIZE = 8, 6, 8
IMAGES = np.random.default_rng(5).integers(0, 256, (37, SIZE, SIZE, 1), dtype=np.uint8)
PLAN = Plan(
    seed=3, batch_size=BATCH, latent="normal", latent_dim=LATENT, conditional=False, takes_g=(), takes_d=(),
    critic_steps=1, updates="alternating", optimizer="sgd", betas=(0.5, 0.999), adam_eps=1e-8, momentum=0.5,
    rmsprop_decay=0.99, lr_g=2e-2, lr_d=1e-2, ema_halflife=100, clip=None, decision=0.0, probability="sigmoid",
    real_in_generator_step=False,
)  # fmt: skip


def networks(dropout: float) -> tuple[keras.Model, keras.Model]:
    keras.utils.set_random_seed(0)
    G = keras.Sequential(
        [
            keras.Input((LATENT,)), layers.Dense(64), layers.Reshape((2, 2, 16)), layers.BatchNormalization(),
            layers.ReLU(), layers.Conv2DTranspose(8, 4, 2, "same"), layers.ReLU(),
            layers.Conv2DTranspose(1, 4, 2, "same", activation="tanh"),
        ]
    )  # fmt: skip
    D = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 1)), layers.Conv2D(8, 4, 2, "same"), layers.LeakyReLU(0.2), layers.Flatten(),
            *([layers.Dropout(dropout)] if dropout else []), layers.Dense(1),
        ]
    )  # fmt: skip
    return G, D


class Penalised:
    """R1, which differentiates D twice, and a memory."""

    memory: Mapping[str, float] = {"mean": 0.0}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, gradient = ops.score_and_gradient(step.D, step.real)
        step.memory["mean"] = 0.5 * step.memory["mean"] + 0.5 * ops.mean(real)
        penalty = ops.mean(ops.sum_per_sample(ops.square(gradient)))
        return {"adversarial": ops.mean(step.D(step.fake)) - ops.mean(real), "r1_penalty": penalty}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.softplus(-step.D(step.fake)))}


def play(plan: Plan, *, compile: bool, dropout: float = 0.0, steps: int = 3) -> tuple[Any, list[str]]:
    told: list[str] = []
    engine = Engine(device="cpu", threads=1, compile=compile)
    engine.tell = told.append
    trainer = engine.trainer(*networks(dropout), Penalised(), plan, IMAGES, None)
    for step in range(steps):
        trainer.step(step, step * plan.step_images, {"lr_g": plan.lr_g / (step + 1)})
    return trainer, told


def agree(first: Any, second: Any, rtol: float) -> None:
    kept, other = first.state(), second.state()
    assert list(kept) == list(other)
    assert apart(list(kept.values()), list(other.values())) <= rtol
    assert first.read() == pytest.approx(second.read(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        pytest.param(replace(PLAN, updates="simultaneous"), marks=pytest.mark.slow),
        pytest.param(replace(PLAN, critic_steps=2), marks=pytest.mark.slow),
    ],
)
def test_the_compiled_step_agrees_with_the_plain_one(plan: Plan) -> None:
    compiled, told = play(plan, compile=True)
    assert told == []
    traced = list(compiled._traced.values())
    assert all(graph.uncompiled == "" for graph in traced)
    agree(compiled, play(plan, compile=False)[0], 1e-4)


def test_a_step_that_draws_random_numbers_runs_uncompiled() -> None:
    compiled, told = play(PLAN, compile=True, dropout=0.3)
    assert len(told) == 1
    assert told[0].startswith("engine.compile: the step runs uncompiled (it draws random numbers (StatelessRandomU")
    agree(compiled, play(PLAN, compile=False, dropout=0.3)[0], 0.0)


@pytest.mark.parametrize(("off", "words"), [(1.0, ""), (1.001, "it differs by 0.0"), (float("nan"), "differs by nan")])
def test_a_trial_puts_everything_back_and_uses_what_agrees(off: float, words: str) -> None:
    state = tf.Variable([1.0, 2.0])

    def graph(factor: float) -> Any:
        return lambda given: state.assign(state * given * factor)

    plain, fast = graph(1.0), graph(off)
    given: dict[str, Any] = {"draws": (), "variables": [state], "watched": [state], "rtol": 1e-4}
    used, why = compiling.tried(lambda: fast, plain, tf.constant(3.0), **given)
    assert state.numpy().tolist() == [1.0, 2.0]
    assert used is (plain if words else fast)
    assert words in why
    assert bool(why) == bool(words)


def test_what_cannot_be_compiled_is_told() -> None:
    def fails() -> Any:
        raise tf.errors.InvalidArgumentError(None, None, "Detected unsupported operations\nand which")

    plain = tf.function(lambda given: given).get_concrete_function(tf.constant(3.0))
    used, why = compiling.tried(fails, plain, tf.constant(3.0), draws=(), variables=[], watched=[], rtol=1e-4)
    assert used is plain
    assert why == "InvalidArgumentError: Detected unsupported operations"


def test_another_precision_is_refused() -> None:
    engine = Engine(device="cpu", threads=1, precision="bfloat16")
    with pytest.raises(gz.UsageError, match="is bfloat16, and TensorFlow mixes no types"):
        engine.trainer(*networks(0.0), Penalised(), PLAN, IMAGES, None)
