"""`step.step`, `step.images`, `step.every` and `step.log` in TensorFlow, against loops written by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import ganzoo_core as gz
from ganzoo_core.engines.tensorflow import Engine

from ..plans import change
from ..small_losses import BCE, GAMMA, Counting, DeadPenalty, LazyMean, LazyR1, LoggedRound, SignLog
from . import test_trainer
from .test_trainer import BATCH, descend, equal, networks, noise, play, real_batch, sow

# SGD, since Adam makes steps of any sign of a gradient that is 0 but for rounding, as that of a bias before batch norm.
PLAN = change(test_trainer.PLAN, optimizer="sgd", lr_g=2e-2, lr_d=1e-2)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(device="cpu", threads=2)


def close(first: Any, second: Any) -> None:
    """Weights after a few rounds; a branch of a graph may round otherwise than the graph around it."""
    assert len(first.weights) > 0
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=2e-6, err_msg=a.path)


def by_hand(steps: int, round_: Callable[..., None]) -> tuple[Any, Any]:
    nets = networks()
    optimizers = [keras.optimizers.SGD(rate) for rate in (PLAN.optimizer_g.lr, PLAN.optimizer_d.lr)]
    for optimizer, network in zip(optimizers, nets, strict=True):
        optimizer.build(network.trainable_variables)
    for step in range(steps):
        round_(*nets, *optimizers, step)
    return nets


def r1(D: Any, real: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(real)
        scores = tf.reduce_sum(D(real, training=True))
    return 0.5 * GAMMA * tf.reduce_mean(tf.reduce_sum(tf.square(tape.gradient(scores, real)), [1, 2, 3]))


def d_loss(D: Any, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    scores = D(real, training=True)[:, 0], D(fake, training=True)[:, 0]
    return tf.reduce_mean(tf.nn.softplus(-scores[0])) + tf.reduce_mean(tf.nn.softplus(scores[1]))


@tf.function
def d_update(G: Any, D: Any, opt_d: Any, real: tf.Tensor, z: tf.Tensor, due: bool) -> tf.Tensor:
    fake, penalty = G(z, training=True), tf.zeros([])
    with tf.GradientTape() as tape:
        loss = d_loss(D, real, fake)
        if due:
            penalty = 4 * r1(D, real)
            loss += penalty
    descend(opt_d, tape, loss, D)
    return penalty


@tf.function
def g_update(G: Any, D: Any, opt_g: Any, z: tf.Tensor, factor: float) -> None:
    with tf.GradientTape() as tape:
        fake = G(z, training=True)
        loss = tf.reduce_mean(tf.nn.softplus(-D(fake, training=True)[:, 0])) + factor * tf.reduce_mean(fake)
    descend(opt_g, tape, loss, G)


def test_a_lazy_penalty_is_n_times_the_penalty_in_every_nth_round(engine: Engine) -> None:
    penalties = []

    def round_(G: Any, D: Any, opt_g: Any, opt_d: Any, step: int) -> None:
        for turn in range(2):
            sow((G, D), "discriminator", step, turn)
            real = real_batch((step * 2 + turn) * BATCH)
            due = step % 4 == 0 and turn == 0
            penalties.append(float(d_update(G, D, opt_d, real, noise("z", step, turn), due)))
        sow((G, D), "generator", step)
        g_update(G, D, opt_g, noise("z of the generator", step), 0.0)

    nets = by_hand(6, round_)
    trainer = play(engine, change(PLAN, critic_steps=2), LazyR1(4), 6)
    close(trainer.G, nets[0])
    close(trainer.D, nets[1])
    assert sum(penalty > 0 for penalty in penalties) == 2
    # Over the rounds, not over D's updates.
    assert trainer.pop_means()["discriminator/r1_penalty"] == pytest.approx(sum(penalties) / 6, rel=1e-4)


def test_a_lazy_term_of_the_generator_is_due_with_the_round(engine: Engine) -> None:
    def round_(G: Any, D: Any, opt_g: Any, opt_d: Any, step: int) -> None:
        for turn in range(2):
            sow((G, D), "discriminator", step, turn)
            d_update(G, D, opt_d, real_batch((step * 2 + turn) * BATCH), noise("z", step, turn), False)
        sow((G, D), "generator", step)
        g_update(G, D, opt_g, noise("z of the generator", step), 3.0 if step % 3 == 0 else 0.0)

    nets = by_hand(4, round_)
    trainer = play(engine, change(PLAN, critic_steps=2), LazyMean(3), 4)
    close(trainer.G, nets[0])
    close(trainer.D, nets[1])


@pytest.mark.parametrize("updates", ["alternating", "simultaneous"])
def test_both_updates_in_one_graph_have_lazy_terms(engine: Engine, updates: str) -> None:
    """Against the same term, computed in each round and multiplied by n or by 0."""

    class ByFactor(LazyR1):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            ops = step.ops
            terms = dict(BCE.discriminator(self, step))
            _, gradient = ops.score_and_gradient(step.D, step.real)
            factor = ops.cast(step.step % 3 == 0, "float32") * 3 * 0.5 * GAMMA
            return {**terms, "r1_penalty": factor * ops.mean(ops.sum_per_sample(ops.square(gradient)))}

    plan = change(PLAN, updates=updates)
    without_norm = [networks() for _ in range(2)]  # batch norm and dropout would move in resting rounds too
    nets = [(G, simple_discriminator()) for G, _ in without_norm]
    lazy, always = (
        play(engine, plan, loss, 5, each) for loss, each in zip((LazyR1(3), ByFactor(3)), nets, strict=True)
    )
    close(lazy.G, always.G)
    close(lazy.D, always.D)
    assert lazy.pop_means() == pytest.approx(always.pop_means(), rel=1e-4, abs=1e-6)


def simple_discriminator() -> Any:
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(8, 4, 2, "same"), layers.LeakyReLU(0.2), layers.Flatten(),
         layers.Dense(1)]
    )  # fmt: skip


def test_counts_are_exact(engine: Engine) -> None:
    trainer = engine.create_trainer(*networks(), Counting(), PLAN, np.zeros((8, 8, 8, 1), np.uint8), None)
    trainer.step(2**24 + 1, 2**24 * 8 + 3, {})
    means = trainer.pop_means()
    assert means["discriminator/step"] == (2**24 + 1) % 1000
    assert means["generator/images"] == (2**24 * 8 + 3) % 1000


def test_a_log_is_reported_and_not_minimised(engine: Engine) -> None:
    logged, plain = play(engine, PLAN, SignLog(), 4), play(engine, PLAN, BCE(), 4)
    equal(logged.D, plain.D)
    means = logged.pop_means()
    assert means["discriminator/sign"] == pytest.approx(2 * means["discriminator/accuracy_real"] - 1, abs=1e-6)
    assert {name: value for name, value in means.items() if name != "discriminator/sign"} == plain.pop_means()


@pytest.mark.parametrize("critic_steps", [2])
def test_a_lazy_log_is_the_mean_over_rounds(engine: Engine, critic_steps: int) -> None:
    trainer = play(engine, change(PLAN, critic_steps=critic_steps), LoggedRound(), 4)
    assert trainer.pop_means()["discriminator/three"] == pytest.approx(3)  # 6, 0, 6, 0


def test_a_lazy_penalty_that_cannot_move_d_is_an_error(engine: Engine) -> None:
    """Whenever it is due: the branch is traced in any round."""
    trainer = engine.create_trainer(*networks(), DeadPenalty(4), PLAN, np.zeros((8, 8, 8, 1), np.uint8), None)
    with pytest.raises(gz.PluginError, match="r1_penalty has no gradient in the discriminator"):
        trainer.step(1, 8, {})


def test_a_decision_in_python_is_refused_with_what_does_instead(engine: Engine) -> None:
    class Branching(BCE):
        def generator(self, step: gz.Step) -> Mapping[str, Any]:
            terms = super().generator(step)
            return terms if step.step > 3 else {"adversarial": -terms["adversarial"]}

    with pytest.raises(
        gz.PluginError, match=r"Branching, or .*a tensor as a number of Python.*ops\.where.*step\.every"
    ):
        play(engine, PLAN, Branching(), 1)


@pytest.mark.parametrize(
    ("term", "words"),
    [
        (lambda step: 0.1 * step.step, "mixes types"),
        (lambda step: step.step * step.ops.mean(step.fake), r'mixes .*: write ops\.cast\(step\.step, "float32"\)'),
        (lambda step: step.ops.mean(step.fake) * float(step.images), "a tensor as a number of Python"),
        (lambda step: step.ops.mean(step.fake) / (step.images / 10), "mixes types .*float64"),
    ],
)
def test_whole_numbers_are_not_mixed_with_others(engine: Engine, term: Any, words: str) -> None:
    class Mixing(BCE):
        def generator(self, step: gz.Step) -> Mapping[str, Any]:
            return {**super().generator(step), "mixed": term(step)}

    with pytest.raises(gz.PluginError, match=words):
        play(engine, PLAN, Mixing(), 1)


def test_draws_in_a_branch_are_those_of_the_round(engine: Engine) -> None:
    """The same in a second run, and each round's own."""

    class Noisy(BCE):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            noise = step.every(2, lambda: 0.0 * step.ops.sum(step.z) + step.ops.sum(step.ops.normal((3,))))
            step.log("noise", noise)
            return super().discriminator(step)

    values = []
    for _ in range(2):
        trainer = engine.create_trainer(*networks(), Noisy(), PLAN, np.zeros((8, 8, 8, 1), np.uint8), None)
        for step in range(4):
            trainer.step(step, step * BATCH, {})
            values.append(trainer.pop_means()["discriminator/noise"])
    assert values[:4] == values[4:]
    assert values[1] == values[3] == 0.0
    assert len({*values}) == 3
