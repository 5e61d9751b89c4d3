"""`engine.compile` and `engine.precision` in TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import ganzoo_core as gz
from ganzoo_core.engines import Plan, bfloat16
from ganzoo_core.engines.compile_check import relative_error
from ganzoo_core.engines.tensorflow import Engine, compiling

from ..plans import change, make_plan
from ..small_losses import LazyR1, make_everything

BATCH, LATENT, SIZE = 8, 6, 8
IMAGES = np.random.default_rng(5).integers(0, 256, (37, SIZE, SIZE, 1), dtype=np.uint8)
PLAN = make_plan(
    seed=3,
    batch_size=BATCH,
    latent_dim=LATENT,
    optimizer="sgd",
    momentum=0.5,
    lr_g=2e-2,
    lr_d=1e-2,
    decision=0.0,
    probability="sigmoid",
    halflife=100,
)


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


def play(
    plan: Plan, *, compile: bool = False, dropout: float = 0.0, steps: int = 3, loss: Any = None, **given: Any
) -> tuple[Any, list[str]]:
    told: list[str] = []
    engine = Engine(device="cpu", threads=1, compile=compile, **given)
    engine.tell = told.append
    trainer = engine.create_trainer(*networks(dropout), loss or Penalised(), plan, IMAGES, None)
    for step in range(steps):
        trainer.step(step, step * plan.images_per_step, {"lr_g": plan.optimizer_g.lr / (step + 1)})
    return trainer, told


def agree(first: Any, second: Any, rtol: float) -> None:
    kept, other = first.read_state(), second.read_state()
    assert list(kept) == list(other)
    assert relative_error(list(kept.values()), list(other.values())) <= rtol
    assert first.pop_means() == pytest.approx(second.pop_means(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        pytest.param(change(PLAN, updates="simultaneous"), marks=pytest.mark.slow),
        pytest.param(change(PLAN, critic_steps=2), marks=pytest.mark.slow),
    ],
)
def test_the_compiled_step_agrees_with_the_plain_one(plan: Plan) -> None:
    compiled, told = play(plan, compile=True)
    assert told == []
    traced = list(compiled._traced_phases.values())
    assert all(graph.compile_problem == "" for graph in traced)
    agree(compiled, play(plan, compile=False)[0], 1e-4)


def test_lazy_terms_and_memory_are_compiled() -> None:
    """The graph has both sides of each branch, of which one writes memory."""
    compiled, told = play(PLAN, compile=True, steps=4, loss=make_everything((SIZE, SIZE, 1), BATCH))
    assert told == []
    agree(compiled, play(PLAN, steps=4, loss=make_everything((SIZE, SIZE, 1), BATCH))[0], 1e-4)


def test_a_step_that_draws_random_numbers_runs_uncompiled() -> None:
    compiled, told = play(PLAN, compile=True, dropout=0.3)
    assert len(told) == 1
    assert told[0].startswith("engine.compile: the step runs uncompiled (it draws random numbers (StatelessRandomU")
    agree(compiled, play(PLAN, compile=False, dropout=0.3)[0], 0.0)


@pytest.mark.parametrize(
    ("off", "words"), [(1.0, ""), (1.001, "its results differ by 0.0"), (float("nan"), "differ by nan")]
)
def test_a_trial_puts_everything_back_and_uses_what_agrees(off: float, words: str) -> None:
    state = tf.Variable([1.0, 2.0])

    def graph(factor: float) -> Any:
        return lambda given: state.assign(state * given * factor)

    plain, fast = graph(1.0), graph(off)
    given: dict[str, Any] = {"random_operations": (), "variables": [state], "compared": [state]}
    used, why = compiling.compile_and_compare(lambda: fast, plain, tf.constant(3.0), **given)
    assert state.numpy().tolist() == [1.0, 2.0]
    assert used is (plain if words else fast)
    assert words in why
    assert bool(why) == bool(words)


def test_what_cannot_be_compiled_is_told() -> None:
    def fails() -> Any:
        raise tf.errors.InvalidArgumentError(None, None, "Detected unsupported operations\nand which")

    plain = tf.function(lambda given: given).get_concrete_function(tf.constant(3.0))
    used, why = compiling.compile_and_compare(
        fails, plain, tf.constant(3.0), random_operations=(), variables=[], compared=[]
    )
    assert used is plain
    assert why == "InvalidArgumentError: Detected unsupported operations"


needs_bfloat16 = pytest.mark.skipif(
    bool(bfloat16.describe_missing_features(bfloat16.read_cpu_features())),
    reason="this processor would emulate bfloat16",
)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"architecture": "x86_64", "avx2": True}, "neither AVX-512 BF16 nor AMX"),
        ({"architecture": "aarch64", "bf16": False}, "no BF16 extension"),
    ],
)
def test_a_processor_that_would_emulate_bfloat16_is_refused(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr(bfloat16, "read_cpu_features", lambda: known)
    with pytest.raises(gz.UsageError, match=f"{words}.*44 to 499 times slower"):
        play(PLAN, precision="bfloat16", steps=0)
    play(PLAN, steps=0)  # which asks nothing of the processor


def test_bfloat16_is_refused_where_no_graph_is_rewritten_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfloat16, "read_cpu_features", lambda: {"amx_bf16": True})
    with pytest.raises(gz.UsageError, match=r"engine\.compile is on, but XLA .* set one of the two"):
        play(PLAN, precision="bfloat16", compile=True, steps=0)
    engine = Engine(device="cpu", threads=1, precision="bfloat16")
    engine.device_type = "cuda"
    with pytest.raises(gz.UsageError, match=r"on CPUs alone.*pick a model in PyTorch"):
        engine.create_trainer(*networks(0.0), Penalised(), PLAN, IMAGES, None)


def test_bfloat16_without_onednn_is_refused() -> None:
    """As a user would switch it off, in a process of its own: nothing is rewritten then, and nobody says so."""
    code = (
        "from ganzoo_core.engines import bfloat16\n"
        "bfloat16.read_cpu_features = lambda: {'amx_bf16': True}\n"
        "from ganzoo_core.engines.tensorflow import precision\n"
        "precision.check_precision('bfloat16', device_type='cpu', compile=False)\n"
    )
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert "computes in float32 all the same: oneDNN is off; unset TF_ENABLE_ONEDNN_OPTS" in done.stderr


@needs_bfloat16
@pytest.mark.parametrize("plan", [PLAN, change(PLAN, updates="simultaneous"), change(PLAN, critic_steps=2)])
def test_bfloat16_trains_as_float32_does_but_for_its_rounding(plan: Plan) -> None:
    """It keeps 8 bits of a number, so that a sum of rounded ones is off by under a hundredth or so."""
    half, whole = play(plan, precision="bfloat16")[0], play(plan)[0]
    before = play(plan, steps=0)[0]
    for slot in ("G", "D"):
        first, second, start = (getattr(trainer, slot).trainable_weights for trainer in (half, whole, before))
        way = np.concatenate([(b.numpy() - c.numpy()).ravel() for b, c in zip(second, start, strict=True)])
        off = np.concatenate([(a.numpy() - b.numpy()).ravel() for a, b in zip(first, second, strict=True)])
        assert 0 < np.linalg.norm(off) < 0.1 * np.linalg.norm(way)
    assert half.pop_means() == pytest.approx(whole.pop_means(), rel=0.05, abs=0.1)


@needs_bfloat16
def test_a_lazy_penalty_is_due_in_the_same_rounds_in_bfloat16() -> None:
    half, whole = (play(PLAN, precision=precision, steps=2, loss=LazyR1(2))[0] for precision in ("bfloat16", "float32"))
    assert half.pop_means() == pytest.approx(whole.pop_means(), rel=0.05, abs=0.1)
    assert half.pop_means() == {}


@needs_bfloat16
def test_all_that_bfloat16_leaves_behind_is_float32() -> None:
    """Weights, moments and statistics, and what is drawn: the same bytes as without it."""
    trainer, _ = play(PLAN, precision="bfloat16", dropout=0.3)
    assert {array.dtype.name for array in trainer.read_state().values() if array.dtype.kind == "f"} == {"float32"}
    told = np.asarray(list(trainer.pop_means().values()), np.float32)
    assert (told.view(np.uint32) & 0xFFFF).any()  # as no number of 8 bits has
    plain, z = Engine(device="cpu", threads=1), np.random.default_rng(1).standard_normal((5, LATENT), dtype=np.float32)
    for engine in (trainer.engine, plain):
        assert np.array_equal(
            engine.draw(trainer.inference_generator, z, None, {}), plain.draw(trainer.ema, z, None, {})
        )
        assert np.array_equal(
            engine.score_images(trainer.D, IMAGES[:5], None, {}), plain.score_images(trainer.D, IMAGES[:5], None, {})
        )


@needs_bfloat16
def test_the_same_seed_gives_the_same_bytes_in_bfloat16() -> None:
    """Also with a run in float32 between two steps."""
    first, second = (play(PLAN, precision="bfloat16", dropout=0.3, steps=1)[0] for _ in range(2))
    first.step(1, PLAN.images_per_step, {})
    play(PLAN, steps=1)
    second.step(1, PLAN.images_per_step, {})
    one, other = first.read_state(), second.read_state()
    assert all(np.array_equal(one[name], other[name]) for name in one)
