"""`step.weights`, `ops.value_and_gradient` and what picks rows, in training with TensorFlow, against loops by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import ganzoo_core as gz
from ganzoo_core.engines.tensorflow import Engine
from ganzoo_core.engines.tensorflow.networks import list_seed_states
from ganzoo_core.engines.tensorflow.ops import TensorFlowOps
from ganzoo_core.randomness import philox

from ..small_losses import BCE, PathLength, Pool, WeightPenalty
from .test_memory import PLAN
from .test_rounds import by_hand, close, d_loss
from .test_trainer import BATCH, SIZE, descend, noise, play, real_batch, sow

POOL = 20


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(device="cpu", threads=2)


@tf.function
def g_update(G: Any, D: Any, opt_g: Any, z: tf.Tensor, mean: tf.Tensor, due: bool) -> tf.Tensor:
    with tf.GradientTape() as tape:
        fake = G(z, training=True)
        loss = tf.reduce_mean(tf.nn.softplus(-D(fake, training=True)[:, 0]))
        if due:
            with tf.GradientTape() as inner:
                inner.watch(z)
                products = tf.reduce_sum(G(z, training=True) * fake)
            lengths = tf.sqrt(tf.reduce_sum(tf.square(inner.gradient(products, z)), 1))
            mean = 0.99 * mean + 0.01 * tf.reduce_mean(lengths)
            loss += 2 * tf.reduce_mean(tf.square(lengths - tf.stop_gradient(mean)))
    descend(opt_g, tape, loss, G)
    return mean


def test_path_lengths_reach_the_generator(engine: Engine) -> None:
    mean = tf.constant(0.0)

    @tf.function
    def d_update(G: Any, D: Any, opt_d: Any, real: tf.Tensor, z: tf.Tensor) -> None:
        fake = G(z, training=True)
        with tf.GradientTape() as tape:
            loss = d_loss(D, real, fake)
        descend(opt_d, tape, loss, D)

    def round_(G: Any, D: Any, opt_g: Any, opt_d: Any, step: int) -> None:
        nonlocal mean
        for turn in range(2):
            sow((G, D), "discriminator", step, turn)
            d_update(G, D, opt_d, real_batch((step * 2 + turn) * BATCH), noise("z", step, turn))
        sow((G, D), "generator", step)
        mean = g_update(G, D, opt_g, noise("z of the generator", step), mean, step % 2 == 0)

    nets = by_hand(3, round_)
    trainer = play(engine, PLAN, PathLength(), 3)
    close(trainer.G, nets[0])
    close(trainer.D, nets[1])
    np.testing.assert_allclose(trainer.memory["length"].numpy(), mean, rtol=1e-4)


@pytest.mark.parametrize("loss", [WeightPenalty(), Pool((SIZE, SIZE, 1), POOL)], ids=["weights", "pool"])
def test_weights_are_penalised_and_past_images_are_drawn(engine: Engine, loss: Any) -> None:
    """Together, since their loops are the same but for a term and for what D sees."""
    pool, weighs = tf.zeros((POOL, SIZE, SIZE, 1)), isinstance(loss, WeightPenalty)

    @tf.function
    def d_update(G: Any, D: Any, opt_d: Any, real: tf.Tensor, z: tf.Tensor, shown: tf.Tensor | None) -> tf.Tensor:
        fake = G(z, training=True)
        with tf.GradientTape() as tape:
            if weighs:
                loss = d_loss(D, real, fake)
                loss += 0.5 * tf.add_n([tf.reduce_sum(tf.square(weight)) for weight in D.trainable_variables])
            else:
                places, chances = shown
                past = tf.gather(self_pool(), tf.cast(places * POOL, tf.int64))
                seen = tf.where(chances[:, None, None, None] < 0.5, past, fake)
                scores = D(seen, training=True)[:, 0]  # before the reals, as the loss asks
                loss = tf.reduce_mean(tf.nn.softplus(-D(real, training=True)[:, 0]))
                loss += tf.reduce_mean(tf.nn.softplus(scores))
        descend(opt_d, tape, loss, D)
        return fake

    kept = tf.Variable(pool)
    self_pool = kept.read_value

    def round_(G: Any, D: Any, opt_g: Any, opt_d: Any, step: int) -> None:
        for turn in range(2):
            sow((G, D), "discriminator", step, turn)
            count = 1 + sum(len(list_seed_states(network)) for network in (G, D))
            seeds = philox(PLAN.seed, "discriminator", step, turn).integers(2**31, size=(count, 2))
            ops = TensorFlowOps(tf.constant(seeds[0], tf.int32))
            draws = ops.uniform((BATCH,)), ops.uniform((BATCH,))
            fake = d_update(G, D, opt_d, real_batch((step * 2 + turn) * BATCH), noise("z", step, turn), draws)
            kept.assign(tf.concat([fake, kept], 0)[:POOL])
        sow((G, D), "generator", step)
        g_update(G, D, opt_g, noise("z of the generator", step), tf.constant(0.0), False)

    nets = by_hand(3, round_)
    trainer = play(engine, PLAN, loss, 3)
    close(trainer.G, nets[0])
    close(trainer.D, nets[1])
    if not weighs:
        np.testing.assert_allclose(trainer.memory["pool"].numpy(), kept.numpy(), rtol=1e-4, atol=1e-5)
        assert "discriminator/accuracy_fake" in trainer.pop_means()


def test_weights_are_those_that_the_network_learns(engine: Engine) -> None:
    found: dict[str, Any] = {}

    class Reading(BCE):
        def generator(self, step: gz.Step) -> Mapping[str, Any]:
            found.update({name: tuple(weight.shape) for name, weight in step.weights("generator").items()})
            return super().generator(step)

    trainer = play(engine, PLAN, Reading(), 1)
    named = engine.read_weights(trainer.G)
    learnable = [weight.trainable for weight in trainer.G.weights]
    expected = {name: array.shape for (name, array), own in zip(named.items(), learnable, strict=True) if own}
    assert found == expected
    assert len(expected) < len(named)  # not batch norm's means
