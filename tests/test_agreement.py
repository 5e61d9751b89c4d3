"""PyTorch and TensorFlow on the same numbers: every loss and penalty, and ten steps of a small convolutional GAN."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from keras import layers
from torch import nn

import ganzoo_core as gz
from ganzoo_core import engines, loss_trial
from ganzoo_core.api import Step
from ganzoo_core.discovery import answers, catalog, loading
from ganzoo_core.engines.loss_step import BoundDiscriminator
from ganzoo_core.engines.tensorflow.ops import TensorFlowOps
from ganzoo_core.engines.torch.ops import TorchOps
from ganzoo_core.settings import read_engine_settings

from .plans import change, make_plan

BATCH, LATENT, SIZE, CLASSES = 8, 6, 8, 3
RANDOM = np.random.default_rng(11)
REAL, FAKE = RANDOM.uniform(-1, 1, (2, BATCH, SIZE, SIZE, 1)).astype(np.float32)
FAKE = FAKE / 4 + np.float32(0.5)  # unlike the reals, or their gradients would cancel to nothing but rounding
LABELS = np.arange(BATCH) % CLASSES
EPSILON = RANDOM.random((BATCH, 1, 1, 1), dtype=np.float32)


class TorchD(nn.Module):
    """Two convolutions with a smooth rectifier, then a score and class logits."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 4, 2, 1), nn.Conv2d(6, 8, 4, 2, 1)
        self.last = nn.Linear(8 * 4, 1 + CLASSES)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        h = nn.functional.softplus(self.second(nn.functional.leaky_relu(self.first(images), 0.2)))
        # Keras flattens with the channels last.
        out = self.last(h.permute(0, 2, 3, 1).flatten(1))
        return {"scores": out[:, 0], "classes": out[:, 1:]}


class KerasD(keras.Model):
    """The same."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layers.Conv2D(6, 4, 2, "same"), layers.Conv2D(8, 4, 2, "same")
        self.last = layers.Dense(1 + CLASSES)

    def call(self, images: tf.Tensor, labels: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        h = tf.nn.softplus(self.second(tf.nn.leaky_relu(self.first(images), 0.2)))
        out = self.last(tf.reshape(h, [images.shape[0], -1]))
        return {"scores": out[:, 0], "classes": out[:, 1:]}


def as_keras(array: np.ndarray) -> np.ndarray:
    """A torch weight in Keras' order: convolutions [out,in,h,w] -> [h,w,in,out], matrices transposed."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def copy_weights(theirs: nn.Module, ours: keras.Model) -> None:
    """torch -> Keras, in the order of the layers; batch norm's buffers have no place among torch's parameters."""
    values = [parameter.detach().numpy() for parameter in theirs.parameters()]
    targets = [weight for weight in ours.weights if weight.trainable]
    for weight, value in zip(targets, values, strict=True):
        weight.assign(as_keras(value))


@pytest.fixture(scope="module")
def judges() -> tuple[TorchD, KerasD]:
    torch.manual_seed(2)
    theirs, ours = TorchD(), KerasD()
    ours(tf.constant(REAL))
    copy_weights(theirs, ours)
    return theirs, ours


def loss_of(name: str, modifier: str | None, framework: str, options: Mapping[str, Any]) -> Any:
    installed = catalog.scan()
    part = installed.find("losses", name)
    modifiers = (installed.find("modifiers", modifier),) if modifier else ()
    own = {
        each.name: {key.removeprefix(f"with.{each.name}."): value for key, value in each.defaults.items()}
        for each in modifiers
    }
    spec = gz.Spec(SIZE, SIZE, 1, CLASSES, LATENT, framework)
    arguments = {"name": name, "spec": spec, "modifiers": own, "wrappers": modifiers}
    return loading.call_hook(
        "loss", part, answers.check_loss, options=loss_trial.override_options(part, options), **arguments
    )


def in_torch(loss: Any, D: TorchD) -> dict[str, tuple[float, list[np.ndarray]]]:
    ops = TorchOps("cpu")
    ops.uniform = lambda shape: torch.from_numpy(EPSILON)
    real, fake = (torch.from_numpy(images.transpose(0, 3, 1, 2).copy()) for images in (REAL, FAKE))
    bound = BoundDiscriminator(lambda x, arguments: D(x), {}, real=real, fake=fake)
    step = Step(bound, lambda z: fake, real, fake, torch.from_numpy(LABELS), None, {}, ops)
    found = {}
    for phase in ("discriminator", "generator"):
        for name, term in getattr(loss, phase)(step).items():
            gradients = torch.autograd.grad(term, list(D.parameters()), retain_graph=True, allow_unused=True)
            found[f"{phase}/{name}"] = (
                term.item(),
                [None if gradient is None else as_keras(gradient.numpy()) for gradient in gradients],
            )
    return found


def in_tensorflow(loss: Any, D: KerasD) -> dict[str, tuple[float, list[np.ndarray]]]:
    ops = TensorFlowOps()
    ops.uniform = lambda shape: tf.constant(EPSILON)
    real, fake = tf.constant(REAL), tf.constant(FAKE)
    bound = BoundDiscriminator(lambda x, arguments: D(x), {}, real=real, fake=fake)
    step = Step(bound, lambda z: fake, real, fake, tf.constant(LABELS), None, {}, ops)
    found = {}
    for phase in ("discriminator", "generator"):
        with tf.GradientTape(persistent=True) as tape:
            terms = getattr(loss, phase)(step)
        for name, term in terms.items():
            gradients = tape.gradient(term, D.trainable_weights)
            found[f"{phase}/{name}"] = (float(term), [None if g is None else g.numpy() for g in gradients])
    return found


PLAIN = sorted(part.name for part in catalog.scan().list_kind("losses") if part.distribution == "ganzoo-losses")
CASES = [(name, None, {}) for name in PLAIN] + [("hinge", "r1", {}), ("wgan-gp", None, {"drift": 0.001})]


@pytest.mark.parametrize(("name", "modifier", "options"), CASES, ids=lambda value: str(value or "-"))
def test_a_loss_has_one_value_and_one_gradient(
    name: str, modifier: str | None, options: dict[str, Any], judges: tuple[TorchD, KerasD]
) -> None:
    theirs = in_torch(loss_of(name, modifier, "torch", options), judges[0])
    ours = in_tensorflow(loss_of(name, modifier, "tensorflow", options), judges[1])
    assert list(ours) == list(theirs)
    for term, (value, gradients) in theirs.items():
        assert ours[term][0] == pytest.approx(value, rel=1e-6, abs=1e-6), term
        for mine, other in zip(ours[term][1], gradients, strict=True):
            # The last bias moves no gradient by the images: one framework says zero and the other none.
            mine, other = (np.float32(0) if gradient is None else gradient for gradient in (mine, other))
            np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6 * max(np.abs(other).max(), 1e-3), err_msg=term)


def test_there_is_a_loss_of_each_kind() -> None:
    assert {"non-saturating", "minimax", "hinge", "wgan-gp", "relativistic", "auxiliary-classifier"} <= set(PLAIN)


class TorchG(nn.Module):
    """A projection, and one level with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(LATENT, 4 * 4 * 8, bias=False)
        self.norm = nn.BatchNorm2d(8, eps=1e-3, momentum=0.01)
        self.up = nn.ConvTranspose2d(8, 1, 4, 2, 1)

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        z = z if labels is None else z + labels[:, None]
        h = self.project(z).reshape(-1, 4, 4, 8).permute(0, 3, 1, 2)
        return torch.tanh(self.up(nn.functional.leaky_relu(self.norm(h), 0.2)))


class KerasG(keras.Model):
    """The same. Keras' momentum of 0.99 keeps what torch's of 0.01 takes in."""

    def __init__(self) -> None:
        super().__init__()
        self.project = layers.Dense(4 * 4 * 8, use_bias=False)
        self.norm = layers.BatchNormalization(momentum=0.99, epsilon=1e-3)
        self.up = layers.Conv2DTranspose(1, 4, 2, "same")

    def call(self, z: tf.Tensor, labels: tf.Tensor | None = None, training: bool = False) -> tf.Tensor:
        z = z if labels is None else z + tf.cast(labels[:, None], tf.float32)
        h = tf.reshape(self.project(z), [-1, 4, 4, 8])
        return tf.tanh(self.up(tf.nn.leaky_relu(self.norm(h, training=training), 0.2)))


PLAN = make_plan(
    seed=3,
    batch_size=BATCH,
    latent_dim=LATENT,
    optimizer="sgd",
    adam_eps=1e-12,
    momentum=0.9,
    lr_g=0.05,
    lr_d=0.05,
    decision=0.0,
    probability="sigmoid",
    halflife=40,
)
IMAGES = RANDOM.integers(0, 256, (37, SIZE, SIZE, 1), dtype=np.uint8)
KINDS = np.arange(len(IMAGES)) % CLASSES


def play(framework: str, plan: engines.Plan, loss: str, steps: int = 10) -> SimpleNamespace:
    """From the same weights, with the images and z that the seed gives in any framework."""
    engine = engines.create_engine(framework, read_engine_settings({"engine.device": "cpu", "engine.threads": 2}))
    torch.manual_seed(4)
    G, D = TorchG(), TorchD()
    if framework == "tensorflow":
        pair = KerasG(), KerasD()
        pair[0](tf.zeros((1, LATENT)))
        pair[1](tf.zeros((1, SIZE, SIZE, 1)))
        for theirs, ours in zip((G, D), pair, strict=True):
            copy_weights(theirs, ours)
        G, D = pair
    else:
        G, D = (network.to(memory_format=engine.memory_format) for network in (G, D))
    trainer = engine.create_trainer(G, D, loss_of(loss, None, framework, {}), plan, IMAGES, KINDS)
    lines = []
    for step in range(steps):
        trainer.step(step, step * plan.images_per_step, {})
        lines.append(trainer.pop_means())
    found = {}
    for label, network in (("G", G), ("D", D), ("EMA", trainer.inference_generator)):
        if framework == "torch":
            values = {name: as_keras(value) for name, value in engine.read_weights(network).items()}
            values = {name: value for name, value in values.items() if "num_batches" not in name}
        else:
            values = engine.read_weights(network)
        found.update({f"{label} {name}": value for name, value in values.items()})
    return SimpleNamespace(lines=lines, weights=found)


@pytest.mark.parametrize("updates", ["alternating", "simultaneous"])
@pytest.mark.parametrize(
    ("optimizer", "rate", "share"), [("sgd", 0.05, 2e-6), ("adam", 2e-3, 5e-5), ("rmsprop", 1e-4, 1e-2)]
)
def test_ten_steps_are_the_same(optimizer: str, rate: float, share: float, updates: str) -> None:
    """Weights agree up to a share of the largest.

    Gradient descent differs by float32's rounding (6e-8) in sums of some hundred terms. Adam also by the correction of
    its moments, which Keras takes in float32: 1 - 0.999 has five digits there. RMSProp by epsilon, which PyTorch adds
    after the root and Keras before: gradients of 1e-7 move by tenths of a rate more or less. Batch norm's variance
    differs by design: PyTorch's is N / (N - 1) of Keras', with N = 8·16 here, and takes in 1 % of it in each step.
    """
    plan = change(PLAN, optimizer=optimizer, updates=updates, lr_g=rate, lr_d=rate)
    theirs, ours = (play(framework, plan, "non-saturating") for framework in ("torch", "tensorflow"))
    for line, other in zip(ours.lines, theirs.lines, strict=True):
        assert line == pytest.approx(other, rel=1e-4, abs=1e-5)
    assert len(ours.weights) == len(theirs.weights)
    for (name, mine), value in zip(ours.weights.items(), theirs.weights.values(), strict=True):
        allowed = 10 * 0.01 / 127 if "variance" in name else share
        assert np.abs(mine - value).max() <= allowed * np.abs(value).max(), name
    start = play("tensorflow", change(plan, lr_g=1e-12, lr_d=1e-12), "non-saturating").weights
    for network in ("G", "D"):  # And they did move.
        assert any(
            np.abs(value - start[name]).max() > 10 * share * np.abs(value).max()
            for name, value in ours.weights.items()
            if name.startswith(network) and "kernel" in name
        )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "wgan-gp" else pytest.mark.slow)  # it has second derivatives too
        for name in PLAIN
    ],
)
def test_two_hundred_steps_of_each_loss_stay_together(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every term of every step within 0.2 % or 2e-4, and every weight at the end within 0.2 % of its tensor's largest.

    Two roundings of 6e-8 part a little more with each step, since each works on the other's result: the game is no
    contraction. Gradient descent without momentum at a rate of 0.01 parts slowly, and over 200 steps the weights move
    by far more than is allowed here: a loss that was wrong in one framework would show. What `ops` draws differs by
    framework, so a fixed batch of numbers stands in for it.
    """
    for ops, tensor in ((TorchOps, torch.from_numpy), (TensorFlowOps, tf.constant)):
        monkeypatch.setattr(ops, "uniform", lambda self, shape, tensor=tensor: tensor(EPSILON))
    special = {
        "wasserstein": {"weight_clip": 0.05},
        "relativistic": {"real_in_generator_step": True},
        "auxiliary-classifier": {"conditional": True},
    }
    plan = change(PLAN, momentum=0.0, lr_g=0.01, lr_d=0.01, **special.get(name, {}))
    theirs, ours = (play(framework, plan, name, steps=200) for framework in ("torch", "tensorflow"))
    for step, (line, other) in enumerate(zip(ours.lines, theirs.lines, strict=True)):
        losses = {term for term in other if "accuracy" not in term}  # a score near the decision may fall either way
        assert {term: line[term] for term in losses} == pytest.approx(
            {term: other[term] for term in losses}, rel=2e-3, abs=2e-4
        ), step
    start = play("tensorflow", change(plan, lr_g=1e-12, lr_d=1e-12), name, steps=1).weights
    moved = []
    for (label, mine), value in zip(ours.weights.items(), theirs.weights.values(), strict=True):
        if "variance" not in label:  # see above
            assert np.abs(mine - value).max() <= 2e-3 * np.abs(value).max(), label
            moved.append(np.abs(mine - start[label]).max() / np.abs(value).max())
    assert max(moved) > 0.05
