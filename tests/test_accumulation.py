"""`train.accumulate`: a batch that is computed in parts trains as a whole one, in both frameworks."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch import nn
from torch.nn import functional as F

import ganzoo_core as gz
from ganzoo_core import engines
from ganzoo_core.data.stream import Stream
from ganzoo_core.engines import Plan
from ganzoo_core.engines.tensorflow.networks import list_seed_states
from ganzoo_core.randomness import latents, philox
from ganzoo_core.settings import read_engine_settings

from .plans import change, make_plan

BATCH, LATENT, SIZE, PARTS, STEPS = 8, 3, 4, 4, 4
PIXELS, PART = SIZE * SIZE, BATCH // PARTS
RANDOM = np.random.default_rng(4)
IMAGES = RANDOM.integers(0, 256, (29, SIZE, SIZE, 1), dtype=np.uint8)
LABELS = np.arange(29, dtype=np.int64) % 3
SHADES = {"shade": RANDOM.normal(size=(29, 2)).astype(np.float32)}
PLAN = make_plan(seed=3, batch_size=BATCH, latent_dim=LATENT, lr=0.01, decision=0.0)
GIVEN = {"conditional": True, "conditions_g": ("shade",), "conditions_d": ("shade",)}


class TorchNetwork(nn.Module):
    """Two layers, over z or images, and over labels and a condition where they are given."""

    def __init__(self, inputs: int, outputs: int, shape: tuple[int, ...], dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden, self.out, self.shape = nn.Linear(inputs, 10), nn.Linear(10, outputs), shape
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any, labels: Any = None, *, shade: Any = None) -> Any:
        others = [] if labels is None else [labels[:, None].float(), shade]
        hidden = self.dropout(torch.tanh(self.hidden(torch.cat([x.flatten(1), *others], 1))))
        return torch.tanh(self.out(hidden)).reshape(len(x), *self.shape)


class KerasNetwork(keras.Model):
    """The same."""

    def __init__(self, outputs: int, shape: tuple[int, ...], dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden, self.out = keras.layers.Dense(10, "tanh"), keras.layers.Dense(outputs, "tanh")
        self.dropout, self.out_shape = keras.layers.Dropout(dropout), shape

    def call(self, x: Any, labels: Any = None, shade: Any = None, training: bool = False) -> Any:
        others = [] if labels is None else [tf.cast(labels[:, None], tf.float32), shade]
        flat = tf.reshape(x, (-1, int(np.prod(x.shape[1:]))))
        hidden = self.dropout(self.hidden(tf.concat([flat, *others], 1)), training=training)
        return tf.reshape(self.out(hidden), (-1, *self.out_shape))


def make_networks(framework: str, plan: Plan, dropout: float = 0.0) -> tuple[Any, Any]:
    more = 3 if plan.conditional else 0
    if framework == "torch":
        torch.manual_seed(0)
        return (
            TorchNetwork(LATENT + more, PIXELS, (1, SIZE, SIZE), dropout),
            TorchNetwork(PIXELS + more, 1, (), dropout),
        )
    keras.utils.set_random_seed(0)
    G, D = KerasNetwork(PIXELS, (SIZE, SIZE, 1), dropout), KerasNetwork(1, (), dropout)
    given = {"labels": tf.zeros(2, tf.int64), "shade": tf.zeros((2, 2))} if plan.conditional else {}
    G(tf.zeros((2, LATENT)), **given)
    D(tf.zeros((2, SIZE, SIZE, 1)), **given)
    return G, D


class LeastSquares:
    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = ops.square(step.D(step.real) - 1), ops.square(step.D(step.fake))
        return {"adversarial": ops.mean(real) + ops.mean(fake)}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.square(step.D(step.fake) - 1))}


class Penalised(LeastSquares):
    """A gradient penalty between reals and fakes, at places that `ops` draws: a row a sample."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        between = ops.lerp(step.real, step.fake, ops.uniform((step.real.shape[0], 1, 1, 1)))
        gradient = ops.score_and_gradient(step.D, between)[1]
        penalty = ops.mean(ops.square(ops.sqrt(ops.sum_per_sample(ops.square(gradient)) + 1e-6) - 1))
        return {**super().discriminator(step), "gradient_penalty": penalty}


class Pairs(LeastSquares):
    """Each real against the fake of its row, in both phases; G's has reals of its own."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.softplus(step.D(step.fake) - step.D(step.real)))}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.softplus(step.D(step.real) - step.D(step.fake)))}


class Centred(LeastSquares):
    """Around a moving average of the scores, with noise; `unused` is read and never written."""

    memory: Mapping[str, float] = {"centre": 0.25, "unused": 0.3}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops, centre = step.ops, step.memory["centre"] + step.memory["unused"]
        real, fake = step.D(step.real), step.D(step.fake)
        step.memory["centre"] = 0.9 * step.memory["centre"] + 0.1 * ops.mean(real)
        noise = ops.normal((real.shape[0],))
        return {"adversarial": ops.mean(ops.square(real - centre + noise)) + ops.mean(ops.square(fake - centre))}


class Timed(LeastSquares):
    """A penalty in every second round, a count, and what each process keeps for itself."""

    memory: Mapping[str, Any] = {"rounds": np.zeros(2, np.int64), "calls": gz.Memory(0.0, across="rank")}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops

        def penalty() -> Any:
            return ops.mean(ops.square(ops.score_and_gradient(step.D, step.real)[1]))

        step.memory["rounds"] = step.memory["rounds"] + 1
        step.memory["calls"] = step.memory["calls"] + 1
        step.log("images", step.images)
        return {**super().discriminator(step), "r1_penalty": step.every(2, penalty)}


class Paired(LeastSquares):
    """The distance between fakes and the reals whose labels and conditions they were drawn from."""

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        other = step.ops.mean(step.G(step.z, shade=-step.conditions["shade"]))
        return {**super().generator(step), "distance": ops.mean(ops.abs(step.real - step.fake)), "other": other}


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "penalty": (Penalised(), {"critic_steps": 2, "optimizer": "adamw", "weight_decay": 1.0, "halflife": 20}),
    "pairs": (Pairs(), {"real_in_generator_step": True, "clip_norm": 0.1, "decision": "pair"}),
    "memory": (Centred(), {"updates": "simultaneous", "halflife": 20}),
    "time": (Timed(), {"critic_steps": 2, "lr": 0.05}),
    "labels and conditions": (LeastSquares(), {**GIVEN, "critic_steps": 2, "optimizer": "sgd", "lr": 0.1}),
    "the same pair": (
        Paired(), {**GIVEN, "real_in_generator_step": True, "same_real_in_generator_step": True, "weight_clip": 0.2}
    ),
}  # fmt: skip


@pytest.fixture(params=["torch", "tensorflow"])
def framework(request: pytest.FixtureRequest) -> str:
    return request.param


def make_trainer(framework: str, plan: Plan, loss: Any, nets: Any = None, dropout: float = 0.0) -> Any:
    engine = engines.create_engine(framework, read_engine_settings({"engine.device": "cpu", "engine.threads": 1}))
    G, D = nets or make_networks(framework, plan, dropout)
    labels = LABELS if plan.conditional else None
    return engine.create_trainer(G, D, loss, plan, IMAGES, labels, SHADES if plan.conditions else None)


def train(trainer: Any, first: int = 0, last: int = STEPS) -> Any:
    for step in range(first, last):
        trainer.step(step, step * trainer.plan.images_per_step, {})
    return trainer


@pytest.mark.parametrize(("loss", "changed"), CASES.values(), ids=CASES)
def test_parts_train_as_the_whole_batch(framework: str, loss: Any, changed: dict[str, Any]) -> None:
    plan = change(PLAN, **changed)
    parts, whole = (train(make_trainer(framework, change(plan, accumulate=count), loss)) for count in (PARTS, 1))
    start = make_trainer(framework, plan, loss).read_state()
    found, expected = parts.read_state(), whole.read_state()
    if "loss/calls" in expected:  # what is a process's own goes from part to part
        assert found.pop("loss/calls") == PARTS * expected.pop("loss/calls") == PARTS * STEPS * plan.critic_steps
        assert expected["loss/rounds"].tolist() == [STEPS * plan.critic_steps] * 2
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5, err_msg=name)
    moved = [np.abs(array - start[name]).max() for name, array in expected.items() if name.startswith(("G/", "D/"))]
    assert min(moved) > 1e-3
    terms, others = parts.pop_means(), whole.pop_means()
    # A part is separated whenever the whole batch is, and more often.
    assert terms.pop("discriminator/separated") >= others.pop("discriminator/separated")
    assert terms == pytest.approx(others, rel=1e-5, abs=1e-6)
    if "loss/unused" in found:
        assert found["loss/unused"] == np.float32(0.3)


def test_memory_and_statistics_are_means_over_the_parts(framework: str) -> None:
    """What each part writes is told by the whole batch only where it is linear; the square of a mean is not."""

    class Squared(LeastSquares):
        memory: Mapping[str, float] = {"square": 0.5}

        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            ops, mean = step.ops, step.ops.mean(step.real)
            former = step.memory["square"]
            step.memory["square"] = ops.square(mean)
            within = step.memory["square"] - ops.square(mean)  # a part sees what it has written itself
            told = {"former": former, "within": within, "square": ops.square(mean)}
            return {**super().discriminator(step), **{name: ops.stop_gradient(term) for name, term in told.items()}}

    trainer = train(make_trainer(framework, change(PLAN, accumulate=PARTS), Squared()), last=1)
    order = Stream(len(IMAGES), seed=PLAN.seed, purpose="data").take_indices(0, BATCH)
    reals = IMAGES[order].astype(np.float64) / 127.5 - 1
    squares = [reals[row : row + PART].mean() ** 2 for row in range(0, BATCH, PART)]
    assert trainer.read_state()["loss/square"] == pytest.approx(np.mean(squares), rel=1e-5)
    means = trainer.pop_means()
    assert means["discriminator/square"] == pytest.approx(np.mean(squares), rel=1e-5)
    assert means["discriminator/former"] == 0.5
    assert means["discriminator/within"] == 0.0


def test_separated_is_the_share_of_parts_in_which_d_separates(framework: str) -> None:
    """D is a fixed sum of pixels here, and G draws what lies within the reals."""

    class Still(LeastSquares):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            return {"adversarial": 0.0 * super().discriminator(step)["adversarial"]}

    plan = change(PLAN, accumulate=PARTS, optimizer="sgd")
    trainer = make_trainer(framework, plan, Still())
    z = latents(philox(PLAN.seed, "z", 0, 0), BATCH, LATENT, "normal")
    order = Stream(len(IMAGES), seed=PLAN.seed, purpose="data").take_indices(0, BATCH)
    fakes = compute(framework, trainer.G, z)
    reals = IMAGES[order].astype(np.float32) / np.float32(127.5) - 1
    reals = reals.transpose(0, 3, 1, 2) if framework == "torch" else reals
    scores = [compute(framework, trainer.D, images) for images in (reals, fakes)]
    rows = [slice(row, row + PART) for row in range(0, BATCH, PART)]
    expected = np.mean([scores[0][part].min() > scores[1][part].max() for part in rows])
    train(trainer, last=1)
    assert trainer.pop_means()["discriminator/separated"] == expected


def compute(framework: str, network: Any, x: np.ndarray) -> np.ndarray:
    if framework == "torch":
        with torch.no_grad():
            return network(torch.from_numpy(x)).numpy()
    return network(tf.constant(x), training=True).numpy()


@pytest.mark.parametrize("updates", ["alternating", "simultaneous"])
def test_resumed_is_the_same_to_the_bit(framework: str, updates: str) -> None:
    """With dropout, whose masks differ from part to part, a memory, an average and AdamW."""
    plan = change(PLAN, accumulate=PARTS, updates=updates, halflife=20, optimizer="adamw", clip_norm=0.1)
    loss = Centred()
    straight = train(make_trainer(framework, plan, loss, dropout=0.3))
    half = train(make_trainer(framework, plan, loss, dropout=0.3), last=2)
    resumed = make_trainer(framework, plan, loss, dropout=0.3)
    resumed.restore_state(half.read_state())
    resumed.restore_pending_sums(half.read_pending_sums())
    train(resumed, first=2)
    expected = straight.read_state()
    assert all(array.tobytes() == expected[name].tobytes() for name, array in resumed.read_state().items())
    assert resumed.pop_means() == straight.pop_means()


@pytest.mark.parametrize("changed", [{}, {"updates": "simultaneous"}, {"critic_steps": 2}])
def test_no_network_sees_more_than_a_part(framework: str, changed: dict[str, Any]) -> None:
    """And D's phase keeps no graph of G, which would lie in memory until G's."""
    seen: list[tuple[int, int]] = []

    class Watching(LeastSquares):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            seen.append((step.real.shape[0], step.fake.shape[0]))
            return super().discriminator(step)

        def generator(self, step: gz.Step) -> Mapping[str, Any]:
            seen.append((step.z.shape[0], step.fake.shape[0]))
            return super().generator(step)

    plan = change(PLAN, accumulate=PARTS, **changed)
    trainer = make_trainer(framework, plan, Watching())
    calls: list[tuple[int, bool]] = []
    if framework == "torch":
        trainer.G.register_forward_hook(lambda module, given, out: calls.append((len(out), out.requires_grad)))
    train(trainer, last=1)
    assert set(seen) == {(PART, PART)}
    if framework == "torch" and plan.updates == "alternating":
        d_calls = PARTS * plan.critic_steps
        assert calls == [(PART, False)] * d_calls + [(PART, True)] * PARTS


def test_torch_steps_equal_a_loop_written_by_hand() -> None:
    """To the bit, with batch norm and dropout in both networks. Here G's graphs are kept from D's phase to G's.

    So batch norm sees each part once, and the images of G's phase are those of D's.
    """
    torch.manual_seed(1)
    shapes = [nn.Linear(LATENT, 2 * PIXELS), nn.Unflatten(1, (2, SIZE, SIZE)), nn.BatchNorm2d(2), nn.ReLU()]
    G = nn.Sequential(*shapes, nn.Dropout(0.3), nn.Conv2d(2, 1, 3, 1, 1))
    D = nn.Sequential(
        nn.Conv2d(1, 4, 3, 1, 1), nn.BatchNorm2d(4), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(4 * PIXELS, 1),
    )  # fmt: skip
    plan = change(PLAN, accumulate=PARTS)
    trainer = make_trainer("torch", plan, LeastSquares(), nets=(copied(G), copied(D)))
    engine = trainer.engine
    G, D = copied(G), copied(D)
    optimizers = [
        torch.optim.Adam(net.parameters(), lr=0.01, betas=(0.5, 0.999), eps=1e-8, fused=True) for net in (G, D)
    ]
    order = Stream(len(IMAGES), seed=PLAN.seed, purpose="data")
    for step in range(STEPS):
        z = torch.from_numpy(latents(philox(PLAN.seed, "z", step, 0), BATCH, LATENT, "normal"))
        real = torch.from_numpy(IMAGES[order.take_indices(step * BATCH, BATCH)]).permute(0, 3, 1, 2) / 127.5 - 1
        real = real.contiguous(memory_format=torch.channels_last)
        fakes = []
        for part in range(PARTS):
            rows = slice(part * PART, (part + 1) * PART)
            with engine.use_seed(PLAN.seed, "discriminator", step, 0, part):
                fakes.append(G(z[rows]))
                loss = F.mse_loss(D(real[rows]), torch.ones(PART, 1)) + (D(fakes[-1].detach()) ** 2).mean()
                (loss / PARTS).backward()
        optimizers[1].step()
        optimizers[1].zero_grad()
        for part, fake in enumerate(fakes):
            with engine.use_seed(PLAN.seed, "generator", step, part):
                (((D(fake) - 1) ** 2).mean() / PARTS).backward()
        optimizers[0].step()
        for optimizer in optimizers:
            optimizer.zero_grad()
        trainer.step(step, step * BATCH, {})
    for ours, theirs in ((trainer.G, G), (trainer.D, D)):
        for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(a, b), f"{name}: {(a - b).abs().max()}"


def copied(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).to(memory_format=torch.channels_last).train()


def test_keras_steps_equal_a_loop_written_by_hand() -> None:
    """With batch norm and dropout in both networks; G's tapes are kept from D's phase to G's."""

    def make() -> tuple[Any, Any]:
        keras.utils.set_random_seed(0)
        layers = keras.layers
        G = keras.Sequential([
            keras.Input((LATENT,)), layers.Dense(2 * PIXELS), layers.BatchNormalization(), layers.ReLU(),
            layers.Dropout(0.3), layers.Dense(PIXELS), layers.Reshape((SIZE, SIZE, 1)),
        ])  # fmt: skip
        D = keras.Sequential([
            keras.Input((SIZE, SIZE, 1)), layers.Flatten(), layers.Dense(8), layers.BatchNormalization(),
            layers.LeakyReLU(0.2), layers.Dropout(0.3), layers.Dense(1),
        ])  # fmt: skip
        return G, D

    def seed(phase: str, step: int, turn: tuple[int, ...], part: int) -> None:
        """Of the rows after the first, which is that of `ops`, each part takes its own."""
        rows = philox(PLAN.seed, phase, step, *turn).integers(2**31, size=(1 + PARTS * len(states), 2))
        for index, state in enumerate(states):
            state.assign(rows[1 + part * len(states) + index])

    trainer = train(make_trainer("tensorflow", change(PLAN, accumulate=PARTS, optimizer="sgd"), LeastSquares(), make()))
    G, D = make()
    states = [*list_seed_states(G), *list_seed_states(D)]
    assert len(states) == 2
    order = Stream(len(IMAGES), seed=PLAN.seed, purpose="data")
    for step in range(STEPS):
        z = latents(philox(PLAN.seed, "z", step, 0), BATCH, LATENT, "normal")
        real = IMAGES[order.take_indices(step * BATCH, BATCH)].astype(np.float32) / np.float32(127.5) - 1
        tapes, fakes, d_gradients, g_gradients = [], [], [], []
        for part in range(PARTS):
            rows = slice(part * PART, (part + 1) * PART)
            seed("discriminator", step, (0,), part)
            with tf.GradientTape(persistent=True) as g_tape:
                fakes.append(G(z[rows], training=True))
                with g_tape.stop_recording(), tf.GradientTape() as d_tape:
                    scores = D(real[rows], training=True), D(tf.stop_gradient(fakes[-1]), training=True)
                    loss = tf.reduce_mean((scores[0] - 1) ** 2) + tf.reduce_mean(scores[1] ** 2)
                d_gradients.append(d_tape.gradient(loss, D.trainable_variables))
            tapes.append(g_tape)
        descend(D, d_gradients)
        for part in range(PARTS):
            seed("generator", step, (), part)
            with tf.GradientTape() as tape:
                tape.watch(fakes[part])
                loss = tf.reduce_mean((D(fakes[part], training=True) - 1) ** 2)
            slope = tape.gradient(loss, fakes[part])
            g_gradients.append(tapes[part].gradient(fakes[part], G.trainable_variables, output_gradients=slope))
        descend(G, g_gradients)
    for ours, theirs in ((trainer.G, G), (trainer.D, D)):
        for a, b in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-6, err_msg=b.path)


def descend(network: Any, gradients: list[list[Any]]) -> None:
    for weight, *of_parts in zip(network.trainable_variables, *gradients, strict=True):
        weight.assign_sub(0.01 * sum(of_parts) / PARTS)
