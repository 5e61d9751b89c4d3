"""Building, drawing, and tensors as arrays."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import ganzoo_core as gz
from ganzoo_core.data import pixels
from ganzoo_core.engines.tensorflow import Engine
from ganzoo_core.engines.tensorflow.data import TrainingImages
from ganzoo_core.engines.tensorflow.networks import EmaNetwork, as_keywords, list_seed_states

SPEC = gz.Spec(height=8, width=8, channels=1, classes=0, latent_dim=4, framework="tensorflow")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(device="cpu", threads=2)


class Subclassed(keras.Model):
    """Nothing is built before the first call; a layer within a layer, batch norm, dropout, a frozen weight."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [Block(16), Block(64)]
        self.drop = layers.Dropout(0.5)
        self.last = layers.Dense(64, activation="tanh")

    def call(self, z: Any, training: bool = False) -> Any:
        for block in self.blocks:
            z = block(z, training=training)
        return tf.reshape(self.last(self.drop(z, training=training)), [-1, 8, 8, 1])


class Block(layers.Layer):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense, self.norm = layers.Dense(width), layers.BatchNormalization()

    def call(self, x: Any, training: bool = False) -> Any:
        return tf.nn.relu(self.norm(self.dense(x), training=training))


def sequential() -> keras.Model:
    return keras.Sequential([layers.Dense(64), layers.BatchNormalization(), layers.Reshape((8, 8, 1))])


def built(engine: Engine, make: Callable[[], Any] = Subclassed, seed: int = 1) -> Any:
    return engine.build(make, spec=SPEC, slot="generator", seed=seed)


@pytest.mark.parametrize("make", [Subclassed, sequential])
def test_weights_come_from_the_seed_and_nothing_else(engine: Engine, make: Any) -> None:
    first = engine.read_weights(built(engine, make))
    random.random(), tf.random.normal([2])
    again, other = engine.read_weights(built(engine, make)), engine.read_weights(built(engine, make, seed=2))
    assert list(first) == list(again)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_building_leaves_the_random_state_and_keras_as_they_were(engine: Engine) -> None:
    random.seed(4)
    python, numpy = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    keras.config.set_image_data_format("channels_first")
    try:
        network = built(engine, lambda: keras.Sequential([layers.Reshape((2, 2, 1)), layers.Conv2D(3, 2)]))
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_image_data_format("channels_last")
    assert network.layers[-1].kernel.shape == (2, 2, 1, 3)
    assert random.getstate() == python
    assert np.array_equal(np.random.get_state()[1], numpy)  # noqa: NPY002


def test_what_is_no_keras_model_is_named(engine: Engine) -> None:
    assert engine.find_network_problem(layers.Dense(1)) == "a Dense; expected a keras.Model"
    assert engine.find_network_problem(sequential()) == ""


def test_tensors_go_by_position_and_come_back(engine: Engine) -> None:
    network = built(engine)
    tensors = engine.read_weights(network)
    assert list(tensors)[:3] == ["000.kernel", "001.bias", "002.gamma"]
    assert len(tensors) == 14
    assert engine.describe_weights(network) == {
        name: (str(value.dtype), value.shape) for name, value in tensors.items()
    }
    other = built(engine, seed=2)
    engine.load_weights(other, tensors)
    z = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    assert np.array_equal(engine.draw(other, z, None, {}), engine.draw(network, z, None, {}))


def test_seeds_are_no_weights(engine: Engine) -> None:
    network = built(engine)
    assert len(list_seed_states(network)) == 1
    assert not any("seed" in name for name in engine.read_weights(network))


def test_parameters_that_learn_are_counted(engine: Engine) -> None:
    """Dense 4·16 + 16 and 16·64 + 64 and 64·64 + 64, and batch norm's scale and shift for 16 and 64."""
    assert engine.count_parameters(built(engine)) == 80 + 1088 + 4160 + 32 + 128


def test_drawing_is_in_evaluation_mode_in_chunks_that_do_not_matter(engine: Engine) -> None:
    network = built(engine)
    z = np.random.default_rng(0).normal(size=(130, 4)).astype(np.float32)
    drawn = engine.draw(network, z, None, {})
    assert (drawn.shape, drawn.dtype) == ((130, 8, 8, 1), np.uint8)
    direct = pixels.deprocess(network(z[:64], training=False).numpy())
    assert np.array_equal(drawn[:64], direct)
    assert np.array_equal(engine.draw(network, z[128:], None, {}), drawn[128:])


def test_an_average_stands_in_for_the_weights(engine: Engine) -> None:
    network = built(engine)
    z = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    first, average = engine.read_weights(network), EmaNetwork(network)
    drawn = engine.draw(network, z, None, {})
    for weight in network.weights:
        weight.assign(weight.value * 2 + 1)
    average.update(0.75)
    for (name, value), weight in zip(engine.read_weights(average).items(), network.weights, strict=True):
        new = 2 * first[name] + 1
        wanted = 0.75 * first[name] + 0.25 * new if weight.trainable else new
        np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-6)
    copy = built(engine)
    engine.load_weights(copy, engine.read_weights(average))
    averaged = engine.draw(average, z, None, {})
    assert np.array_equal(averaged, engine.draw(copy, z, None, {}))
    assert not np.array_equal(averaged, drawn)
    for weight, value in zip(network.weights, first.values(), strict=True):
        np.testing.assert_allclose(weight.numpy(), 2 * value + 1, rtol=1e-6)


def test_layers_in_the_order_of_their_use(engine: Engine) -> None:
    rows = engine.list_layers(built(engine), SPEC, is_generator=True, values={})
    assert [(row["type"], row["output"], row["parameters"]) for row in rows] == [
        ("Dense", ["N", 16], 80),
        ("BatchNormalization", ["N", 16], 64),
        ("Dense", ["N", 64], 1088),
        ("BatchNormalization", ["N", 64], 256),
        ("Dropout", ["N", 64], 0),
        ("Dense", ["N", 64], 4160),
    ]
    assert keras.layers.Layer.__call__.__name__ != "noting_call"


def test_values_reach_a_network_as_numbers_and_tensors() -> None:
    found = as_keywords({"resolution": 8.0, "fade": 0.25})
    assert found["resolution"] == 8
    assert isinstance(found["resolution"], int)
    assert found["fade"].dtype == tf.float32
    assert float(found["fade"]) == 0.25


@pytest.mark.parametrize("device", ["/CPU:0", "/GPU:0"])
def test_each_grey_value_is_scaled_as_anywhere(device: str) -> None:
    """In a graph too, where a division would round otherwise. Without a GPU its images lie in the CPU's memory."""
    images = np.arange(256, dtype=np.uint8).reshape(16, 4, 4, 1)
    data = TrainingImages(images, np.arange(16), device)
    order = np.array([3, 15, 0])
    taken, given = data.gather_encoded(order)
    assert given["labels"].numpy().tolist() == [3, 15, 0]
    assert np.array_equal(tf.function(data.decode)(taken), pixels.preprocess(images[order]))


def test_a_loss_is_tried_on_tensors() -> None:
    """Hinge by hand: relu(1 - 2) + relu(1 + 0.5) and relu(1 + 3) + relu(1 - 1), each halved."""
    found = gz.loss("hinge").on(tf.constant([2.0, -3.0]), tf.constant([0.5, -1.0]))
    assert found["discriminator"]["adversarial"] == pytest.approx((0 + 4) / 2 + (1.5 + 0) / 2)
    assert found["generator"]["adversarial"] == pytest.approx(0.25)


def test_a_penalty_is_tried_on_tensors_with_a_network() -> None:
    """D(x) = 3·x has the gradient 3 everywhere, and (3 - 1)² is 4."""
    terms = gz.loss("wgan-gp", gp_weight=1.0).on(
        tf.constant([[1.0], [2.0]]), tf.constant([[0.0], [4.0]]), discriminator=lambda x: 3.0 * x[:, 0]
    )
    assert terms["discriminator"]["gradient_penalty"] == pytest.approx(4.0, rel=1e-5)
