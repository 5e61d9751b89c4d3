"""DiffAugment around discriminators: when it acts, on what, and what of a discriminator it leaves as it was."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch import nn

from ganzoo_core import cli, mix
from ganzoo_core.discovery import catalog
from ganzoo_core.engines.tensorflow.networks import call_keras_network, list_seed_states, name_weights
from ganzoo_core.engines.tensorflow.ops import TensorFlowOps
from ganzoo_core.engines.torch.ops import TorchOps
from ganzoo_core.training import assemble, setup

FRAMEWORKS = ["torch", "tensorflow"]
PIXELS = np.random.default_rng(0).uniform(-1, 1, (6, 8, 8, 3)).astype(np.float32)


class SeenTorch(nn.Module):
    """Keeps what it was given, grows, and gives a mapping."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3, 1)
        self.given = []

    def grow(self, resolution):
        self.grown = resolution

    def forward(self, images, *others, **values):
        self.given.append((images, others, values))
        return {"scores": self.last(images.mean(dim=(2, 3))), "features": images}


class SeenTensorFlow(keras.Model):
    """The same in Keras."""

    def __init__(self):
        super().__init__()
        self.last = keras.layers.Dense(1)
        self.given = []

    def grow(self, resolution):
        self.grown = resolution

    def call(self, images, labels=None, training=False, resolution=None, fade=None):
        values = {name: value for name, value in (("resolution", resolution), ("fade", fade)) if value is not None}
        self.given.append((images, () if labels is None else (labels,), values))
        return {"scores": self.last(tf.reduce_mean(images, axis=[1, 2])), "features": images}


def seeing(framework):
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    network = SeenTorch() if framework == "torch" else SeenTensorFlow()
    network(native(framework))  # Keras' first call makes the variables, with images that are none
    network.given.clear()
    return network


def native(framework, pixels=PIXELS):
    return tf.constant(pixels) if framework == "tensorflow" else torch.from_numpy(pixels).permute(0, 3, 1, 2)


def played(framework, D, *given, training=True, **values):
    """What D says in training or in evaluation."""
    if framework == "tensorflow":
        labels = {"labels": given[1]} if len(given) > 1 else {}
        return call_keras_network(D, given[0], {**labels, **values}, training=training)
    return D.train(training)(*given, **values)


def seed(framework, D, number):
    if framework == "torch":
        torch.manual_seed(number)
    else:
        for state in list_seed_states(D):
            state.assign([number, 7])


def numpy(images):
    return images.detach().numpy() if isinstance(images, torch.Tensor) else images.numpy()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_it_acts_in_training_and_not_in_evaluation(framework, modify):
    plain = seeing(framework)
    D = modify("build_discriminator", plain, "diffaugment", framework)
    x = native(framework)
    played(framework, D, x, training=False)
    assert plain.given[-1][0] is x
    played(framework, D, x)
    changed = numpy(plain.given[-1][0])
    assert changed.shape == numpy(x).shape
    assert all(np.abs(a - b).max() > 0.01 for a, b in zip(changed, numpy(x), strict=True))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_draws_are_new_in_each_call_and_the_seed_s(framework, modify):
    """Each call and each image has its own; the same seed gives the same, call after call."""
    plain = seeing(framework)
    D = modify("build_discriminator", plain, "diffaugment", framework)
    x = native(framework, np.broadcast_to(PIXELS[:1], PIXELS.shape).copy())
    for _ in range(2):
        seed(framework, D, 5)
        played(framework, D, x)
        played(framework, D, x)
    first, second, *again = [numpy(images) for images, _, _ in plain.given]
    assert np.array_equal(first, again[0])
    assert np.array_equal(second, again[1])
    every = [*first, *second]
    assert all(not np.allclose(a, b) for place, a in enumerate(every) for b in every[:place])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_labels_values_and_mappings_pass_through(framework, modify):
    plain = seeing(framework)
    D = modify("build_discriminator", plain, "diffaugment", framework)
    labels = tf.range(6) if framework == "tensorflow" else torch.arange(6)
    fade = tf.constant(0.25) if framework == "tensorflow" else torch.tensor(0.25)
    told = played(framework, D, native(framework), labels, resolution=8, fade=fade)
    images, others, values = plain.given[-1]
    assert set(told) == {"scores", "features"}
    assert np.array_equal(numpy(told["features"]), numpy(images))
    assert np.array_equal(numpy(others[0]), np.arange(6))
    assert values["resolution"] == 8
    assert float(values["fade"]) == 0.25
    D.grow(16)
    assert plain.grown == 16


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_chance_of_a_transform(framework, modify):
    """0 changes nothing and 1 everything; between, so many of 300 images, within five deviations. A value wins."""
    many = np.repeat(PIXELS, 50, axis=0)
    cases = [(0.0, None, 0.0), (1.0, None, 1.0), (0.3, None, 0.3), (1.0, 0.3, 0.3), (0.0, 1.0, 1.0)]
    for setting, value, expected in cases:
        settings = {"augment": setting, "policy": ["color"]}
        D = modify("build_discriminator", seeing(framework), "diffaugment", framework, **settings)
        seed(framework, D, 3)
        scalar = tf.constant if framework == "tensorflow" else torch.tensor
        played(framework, D, native(framework, many), **({} if value is None else {"augment": scalar(value)}))
        plain = D if framework == "torch" else D.network
        seen, _, values = plain.given[-1]
        assert values == {}
        changed = (numpy(seen) != numpy(native(framework, many))).reshape(300, -1).any(axis=1).mean()
        assert abs(changed - expected) <= 5 * (expected * (1 - expected) / 300) ** 0.5


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_chance_of_1_draws_what_it_drew_before_there_was_one(framework, modify):
    """Seven numbers an image and no more: what runs train does not change."""
    D = modify("build_discriminator", seeing(framework), "diffaugment", framework)
    seed(framework, D, 5)
    played(framework, D, native(framework))
    played(framework, D, native(framework))
    seen = [numpy(images) for images, _, _ in (D if framework == "torch" else D.network).given]
    if framework == "torch":
        from ganzoo_modifiers.diffaugment_torch import augment

        torch.manual_seed(5)
        draws = [torch.rand(6, 7) for _ in seen]
    else:
        from ganzoo_modifiers.diffaugment_tensorflow import augment

        seeds = keras.random.SeedGenerator(0)
        seeds.state.assign([5, 7])
        draws = [keras.random.uniform((6, 7), seed=seeds) for _ in seen]
    policy = ("color", "translation", "cutout")
    for images, drawn in zip(seen, draws, strict=True):
        np.testing.assert_array_equal(images, numpy(augment(native(framework), drawn, policy=policy)))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_names_of_the_weights_stay(framework, modify):
    plain, other = seeing(framework), seeing(framework)
    D = modify("build_discriminator", other, "diffaugment", framework)
    if framework == "torch":
        assert D is other
        assert list(D.state_dict()) == list(plain.state_dict())
        return
    assert list(name_weights(D)) == list(name_weights(plain))
    assert len(list_seed_states(D)) == 1
    assert not hasattr(modify("build_discriminator", keras.Sequential([]), "diffaugment", framework), "grow")


def test_a_functional_network_of_two_inputs(modify):
    image, label = keras.Input((8, 8, 3)), keras.Input((), dtype="int64")
    joined = keras.layers.Concatenate()([keras.layers.Flatten()(image), keras.layers.Embedding(6, 2)(label)])
    plain = keras.Model([image, label], keras.layers.Dense(1)(joined))
    D = modify("build_discriminator", plain, "diffaugment", "tensorflow")
    labels = {"labels": tf.range(6, dtype=tf.int64)}
    assert call_keras_network(D, native("tensorflow"), labels, training=True).shape == (6, 1)
    assert np.array_equal(
        call_keras_network(D, native("tensorflow"), labels, training=False),
        call_keras_network(plain, native("tensorflow"), labels, training=False),
    )


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_penalties_of_the_images_before(framework, modify):
    """D(x) = Σ tanh(x)²: ∇D leads back through the transforms, and its square has a gradient in D's weight."""
    if framework == "torch":
        D = modify("build_discriminator", nn.Sequential(nn.Flatten(), nn.Linear(192, 2), nn.Tanh()), "diffaugment")
        scores, gradient = TorchOps("cpu").score_and_gradient(lambda x: D(x).sum(dim=1), native("torch"))
        gradient.square().sum().backward()
        by_weight = D[1].weight.grad.numpy()
    else:
        layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "tanh")]
        D = modify("build_discriminator", keras.Sequential(layers), "diffaugment", "tensorflow")
        with tf.GradientTape() as tape:
            scores, gradient = TensorFlowOps().score_and_gradient(
                lambda x: tf.reduce_sum(D(x, training=True), axis=1), native("tensorflow")
            )
            total = tf.reduce_sum(tf.square(gradient))
        by_weight = tape.gradient(total, D.trainable_variables[0]).numpy()
    assert scores.shape == (6,)
    assert gradient.shape == native(framework).shape
    assert np.abs(numpy(gradient)).max() > 0
    assert np.isfinite(by_weight).all()
    assert np.abs(by_weight).max() > 0


def assembled(folder, model, **assigned) -> Any:
    """A small run, ready to step."""
    small = {
        "generator.width": 4, "discriminator.width": 4, "model.latent_dim": 4, "data.size": 16,
        "train.batch_size": 4, "engine.device": "cpu", "engine.threads": 1, "use.with": "diffaugment",
    }  # fmt: skip
    request = mix.Request(picks={"model": model, "data": "digits"}, assigned={**small, **assigned})
    return assemble.open_run(
        setup.build(setup.load(mix.resolve(catalog.scan(), request), None), quiet=True), out=folder
    )


def stepped(run, steps):
    seen = run.trainer.plan.images_per_step
    for step in steps:
        run.trainer.step(step, step * seen, run.schedule(step * seen))
    return run.trainer.read_state()


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("dcgan-torch", {}),
        ("cgan-torch", {"use.with": "diffaugment,spectral-norm"}),
        ("dcgan-tf", {"use.with": "spectral-norm,diffaugment,r1"}),
        pytest.param(
            "progan-tf",
            {"use.with": "diffaugment,r1", "data.size": 8, "schedule.start_resolution": 8},
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.filterwarnings("default")
def test_training_goes_on_from_a_checkpoint_to_the_bit(tmp_path, model, settings):
    straight = stepped(assembled(tmp_path / "straight", model, **settings), range(3))
    first = assembled(tmp_path / "first", model, **settings)
    half = stepped(first, range(1))
    second = assembled(tmp_path / "second", model, **settings)
    if "resolution" in second.schedule(0):
        second.trainer.grow(second.schedule(0))
    second.trainer.restore_state(half)
    rest = stepped(second, range(1, 3))
    assert straight.keys() == rest.keys()
    assert all(np.array_equal(straight[name], rest[name]) for name in straight)
    assert any(not np.array_equal(half[name], rest[name]) for name in rest)


@pytest.mark.filterwarnings("default")
def test_another_policy_is_another_training(tmp_path):
    plain = stepped(assembled(tmp_path / "a", "dcgan-torch", **{"use.with": ""}), range(2))
    cutout = stepped(assembled(tmp_path / "b", "dcgan-torch", **{"with.diffaugment.policy": "cutout"}), range(2))
    assert plain.keys() == cutout.keys()
    assert any(not np.array_equal(plain[name], cutout[name]) for name in plain if name.startswith("D/"))


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("model", ["dcgan-torch", pytest.param("dcgan-tf", marks=pytest.mark.slow)])
def test_a_schedule_moves_the_chance(tmp_path, model):
    """From 0 to 0 trains what no augmentation trains; from 0 to 1 something else."""
    none = stepped(assembled(tmp_path / "none", model, **{"with.diffaugment.augment": 0.0}), range(2))
    moving = {"use.schedule": "cosine", "train.length": "2steps", "schedule.final": 1.0}
    moved = assembled(tmp_path / "moved", model, **moving, **{"schedule.augment_ends": [0.0, 1.0]})
    assert "augment" in moved.trainer.plan.takes_d
    first = stepped(assembled(tmp_path / "first", model, **{"with.diffaugment.augment": 0.0}), range(1))
    begun = stepped(moved, range(1))
    assert all(np.array_equal(first[name], begun[name]) for name in first)
    after = stepped(moved, range(1, 2))
    assert any(not np.array_equal(none[name], after[name]) for name in none)


@pytest.mark.filterwarnings("default")
def test_the_order_among_ours_changes_nothing(tmp_path):
    states = [
        stepped(assembled(tmp_path / str(place), "dcgan-torch", **{"use.with": order}), range(2))
        for place, order in enumerate(("diffaugment,spectral-norm,r1", "r1,spectral-norm,diffaugment"))
    ]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("model", ["dcgan-torch", pytest.param("dcgan-tf", marks=pytest.mark.slow)])
def test_a_run_by_command(tmp_path, model, monkeypatch, capsys):
    words = f"run {model} --with diffaugment --steps 3 --batch-size 4 --device cpu --json --quiet --out run".split()
    small = ["--set", "engine.threads=1", "--set", "generator.width=4", "--set", "discriminator.width=4"]
    monkeypatch.chdir(tmp_path)
    assert cli.main([*words, *small]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "done"
    assert np.isfinite(told["last"]["discriminator/adversarial"])
    config = (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8")
    assert "with.diffaugment.policy" in config
