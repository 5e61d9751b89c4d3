"""What losses and modifiers remember in TensorFlow, against loops written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import ganzoo_core as gz
from ganzoo_core.engines.tensorflow import Engine

from ..plans import change
from ..small_losses import BCE, LazyMemory, PastFakes, RunningMean, WithRunningScale
from .test_rounds import PLAN as ALTERNATING
from .test_rounds import by_hand, close, d_loss
from .test_trainer import BATCH, SIZE, descend, networks, noise, play, real_batch, sow

SHAPE = (SIZE, SIZE, 1)
PLAN = change(ALTERNATING, critic_steps=2)  # so that D's update and G's are graphs of their own, here and in the loops


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(device="cpu", threads=2)


@tf.function
def d_update(G: Any, D: Any, opt_d: Any, real: tf.Tensor, z: tf.Tensor, past: tf.Tensor | None) -> tf.Tensor:
    fake = G(z, training=True)
    with tf.GradientTape() as tape:
        loss = d_loss(D, real, fake)
        if past is not None:
            loss += tf.reduce_mean(tf.nn.softplus(D(past, training=True)[:, 0]))
    descend(opt_d, tape, loss, D)
    return fake


@tf.function
def g_update(G: Any, D: Any, opt_g: Any, z: tf.Tensor, mean: tf.Tensor, weight: tf.Tensor) -> None:
    with tf.GradientTape() as tape:
        fake = G(z, training=True)
        far = tf.reduce_mean(tf.square(tf.reduce_mean(fake, 0) - mean)) * weight
        loss = tf.reduce_mean(tf.nn.softplus(-D(fake, training=True)[:, 0])) + far
    descend(opt_g, tape, loss, G)


def test_a_running_mean_of_pictures_is_kept(engine: Engine) -> None:
    mean, share = tf.fill(SHAPE, 0.25), 0.0

    def round_(G: Any, D: Any, opt_g: Any, opt_d: Any, step: int) -> None:
        nonlocal mean, share
        for turn in range(2):
            sow((G, D), "discriminator", step, turn)
            real = real_batch((step * 2 + turn) * BATCH)
            d_update(G, D, opt_d, real, noise("z", step, turn), None)
            mean, share = 0.9 * mean + 0.1 * tf.reduce_mean(real, 0), 0.9 * share + 0.1
        sow((G, D), "generator", step)
        rounds = tf.constant(2.0 * (step + 1))
        g_update(G, D, opt_g, noise("z of the generator", step), mean / share, rounds)

    nets = by_hand(4, round_)
    trainer = play(engine, PLAN, RunningMean(SHAPE), 4)
    close(trainer.G, nets[0])
    close(trainer.D, nets[1])
    state = trainer.read_state()
    np.testing.assert_allclose(state["loss/mean"], mean, rtol=1e-5, atol=1e-6)
    assert (state["loss/rounds"].dtype, int(state["loss/rounds"])) == (np.int64, 8)


def test_past_fakes_are_kept_for_two_updates(engine: Engine) -> None:
    past = [tf.zeros((BATCH, *SHAPE))] * 2

    def round_(G: Any, D: Any, opt_g: Any, opt_d: Any, step: int) -> None:
        for turn in range(2):
            sow((G, D), "discriminator", step, turn)
            real = real_batch((step * 2 + turn) * BATCH)
            past.append(d_update(G, D, opt_d, real, noise("z", step, turn), past[-2]))
        sow((G, D), "generator", step)
        g_update(G, D, opt_g, noise("z of the generator", step), tf.zeros(SHAPE), tf.constant(0.0))

    nets = by_hand(3, round_)
    trainer = play(engine, PLAN, PastFakes((BATCH, *SHAPE)), 3)
    close(trainer.G, nets[0])
    close(trainer.D, nets[1])
    state = trainer.read_state()
    assert state["loss/last"].shape == (1, BATCH, *SHAPE)  # the first axis is that of the processes
    np.testing.assert_allclose(state["loss/last"][0], past[-1], rtol=1e-4, atol=1e-5)
    shapes, _ = trainer.describe_state()
    assert {name: (array.dtype.name, array.shape) for name, array in state.items()} == shapes
    resumed = engine.create_trainer(*networks(), PastFakes((BATCH, *SHAPE)), PLAN, trainer.data.images, None)
    resumed.restore_state(state)
    assert np.array_equal(resumed.memory["before"].numpy(), state["loss/before"][0])


def test_memory_in_a_lazy_term_is_written_where_it_is_due(engine: Engine) -> None:
    trainer, kept = engine.create_trainer(*networks(), LazyMemory(), PLAN, np.zeros((8, 8, 8, 1), np.uint8), None), []
    for step in range(4):
        trainer.step(step, step * BATCH, {})
        kept.append(float(trainer.memory["score"].numpy()))
    assert kept[0] == kept[1] != kept[2] == kept[3]
    assert kept[0] != 0.5


def test_a_modifier_replaces_d(engine: Engine) -> None:
    class Scaled(WithRunningScale):
        """By hand, since `building.build_loss` merges: see the tests in PyTorch."""

        def __init__(self) -> None:
            super().__init__(BCE())

    trainer = play(engine, PLAN, Scaled(), 2)
    scale = 1.0
    for _ in range(4):
        scale = 0.5 * scale + 0.25
    assert float(trainer.memory["scale"].numpy()) == scale
    assert "discriminator/accuracy_real" in trainer.pop_means()  # of the images, though D saw others


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda step: step.D(step.real), r"memory\['row'\] the shape \[8\]; it was declared with \[3\]"),
        (lambda step: step.D(step.real)[:3], r"memory\['row'\] float32; it was declared as int64"),
        (lambda step: step.step, r"memory\['row'\] the shape \[\]; it was declared with \[3\]"),
    ],
)
def test_another_shape_or_type_is_refused_in_words(engine: Engine, value: Any, words: str) -> None:
    class Writing(BCE):
        memory: Mapping[str, Any] = {"row": np.ones(3, np.int64)}

        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            step.memory["row"] = value(step)
            return super().discriminator(step)

    with pytest.raises(gz.PluginError, match=words):
        play(engine, PLAN, Writing(), 1)


def test_a_decision_on_memory_is_refused_with_what_does_instead(engine: Engine) -> None:
    class Branching(LazyMemory):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            return BCE.discriminator(self, step) if step.memory["score"] > 0 else super().discriminator(step)

    with pytest.raises(gz.PluginError, match=r"Branching, or .*as a number of Python.*step\.memory.*ops\.where"):
        play(engine, PLAN, Branching(), 1)
