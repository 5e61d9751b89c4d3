"""The contract's TensorFlow code: tiny networks, and functions that call and inspect networks."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ganzoo_core.api import Spec
from ganzoo_core.data.pixels import preprocess
from ganzoo_core.engines.loss_step import as_outputs
from ganzoo_core.engines.tensorflow.networks import as_keywords, call_keras_network


class Generator(keras.Model):
    """z [N,8] (, labels [N], source [N,8,8,1]) -> images [N,8,8,1] in [-1, 1]."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.conditional, self.conditions = spec.classes > 0, tuple(spec.conditions)
        self.embedding = keras.layers.Embedding(spec.classes, 8) if spec.classes else None
        self.first = keras.layers.Dense(32, activation="relu")  # [N,32]
        self.second = keras.layers.Dense(spec.height * spec.width * spec.channels, activation="tanh")  # [N,64]
        self.unflatten = keras.layers.Reshape((spec.height, spec.width, spec.channels))
        self.mix = keras.layers.Conv2D(spec.channels, 3, padding="same") if spec.conditions else None

    def call(self, z: Any, labels: Any = None, training: bool = False, source: Any = None) -> Any:
        if self.embedding is not None:
            z = z + self.embedding(labels)
        out = self.unflatten(self.second(self.first(z)))
        return out if self.mix is None else tf.tanh(out + self.mix(source))


class Discriminator(keras.Model):
    """Images [N,8,8,1] (, labels [N], source [N,8,8,1]) -> scores [N], with `classes` and `features` if requested."""

    def __init__(self, spec: Spec, *, features: Collection[str]) -> None:
        super().__init__()
        self.conditional, self.conditions = spec.classes > 0, tuple(spec.conditions)
        self.has = dict.fromkeys(features, True)
        self.convolution = keras.layers.Conv2D(8, 3, 2, padding="same")  # [N,4,4,8]
        self.activation = keras.layers.LeakyReLU(0.2)
        self.flatten = keras.layers.Flatten()  # [N,128]
        self.score = keras.layers.Dense(1)
        self.classes = keras.layers.Dense(spec.classes) if spec.classes else None

    def call(self, images: Any, labels: Any = None, training: bool = False, source: Any = None) -> Any:
        seen = images if source is None else tf.concat([images, source], axis=3)
        hidden = self.flatten(self.activation(self.convolution(seen)))
        scores = self.score(hidden)[:, 0]
        if not self.has:
            return scores
        return {"scores": scores, "features": hidden, **({"classes": self.classes(hidden)} if self.classes else {})}


def make_networks(spec: Spec, features: Collection[str]) -> tuple[Generator, Discriminator]:
    """G and D, with the same weights each time: Keras' initialisers are seeded from Python's `random`."""
    state = random.getstate()
    random.seed(0)
    try:
        return Generator(spec), Discriminator(spec, features=features)
    finally:
        random.setstate(state)


def draw_images(G: Any, z: np.ndarray, given: Mapping[str, np.ndarray], values: Mapping[str, float]) -> np.ndarray:
    """Call G in evaluation mode, with labels and conditions: float [N,H,W,C], in G's own dtype."""
    images: np.ndarray = call_keras_network(G, tf.constant(z), _to_arguments(given, values), training=False).numpy()
    return images


def call_discriminator(
    D: Any, pixels: np.ndarray, given: Mapping[str, np.ndarray], values: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Call D in evaluation mode; return its outputs by name."""
    out = call_keras_network(D, tf.constant(pixels), _to_arguments(given, values), training=False)
    named = out if isinstance(out, Mapping) else {"scores": out}
    return {name: tensor.numpy() for name, tensor in named.items()}


def differentiate(
    D: Any, pixels: np.ndarray, given: Mapping[str, np.ndarray], values: Mapping[str, float]
) -> np.ndarray:
    """The gradient of the sum of D's scores in evaluation mode with respect to the images, as float32."""
    x = tf.constant(pixels)
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = call_keras_network(D, x, _to_arguments(given, values), training=False)
        scores = tf.reduce_sum(as_outputs(out)["scores"])
    gradient: np.ndarray = tf.convert_to_tensor(tape.gradient(scores, x)).numpy()
    return gradient


@contextlib.contextmanager
def change_weight(network: Any, key: int, change: Callable[[np.ndarray], np.ndarray]) -> Iterator[None]:
    """Change a weight, named by its key in `list_learnable`; put it back at the end."""
    weight = next(weight for weight in network.trainable_weights if id(weight) == key)
    old = weight.numpy()
    weight.assign(change(old))
    try:
        yield
    finally:
        weight.assign(old)


def _to_arguments(given: Mapping[str, np.ndarray], values: Mapping[str, float]) -> dict[str, Any]:
    tensors = {name: tf.constant(preprocess(rows) if rows.dtype == np.uint8 else rows) for name, rows in given.items()}
    return {**tensors, **as_keywords(values)}


def list_learnable(network: Any) -> dict[int, tuple[str, np.ndarray]]:
    """Every learnable weight: `id` -> path and value."""
    return {id(weight): (weight.path, weight.numpy()) for weight in network.trainable_weights}


def has_batchnorm(network: Any) -> bool:
    """Whether the network has a batch norm layer."""
    return any(isinstance(layer, keras.layers.BatchNormalization) for layer in network._flatten_layers())


def read_global_state() -> dict[str, Any]:
    """Global state that a plugin must not change, by name."""
    return {
        "keras' floatx": keras.config.floatx(),
        "keras' image data format": keras.config.image_data_format(),
        "keras' dtype policy": keras.config.dtype_policy().name,
        "keras' epsilon": keras.config.epsilon(),
        "whether TensorFlow runs functions eagerly": tf.config.functions_run_eagerly(),
    }


def to_tensor(array: np.ndarray) -> Any:
    """Convert an array to a tensor."""
    return tf.constant(array)
