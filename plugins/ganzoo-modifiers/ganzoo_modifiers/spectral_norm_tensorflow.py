"""Spectral normalisation of a Keras network, by a wrapping model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras import layers

import ganzoo_core as gz
from ganzoo_modifiers.spectral_norm import ADVICE, refuse_zeros

TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
LAYERS = (layers.Conv1D, layers.Conv2D, layers.Conv3D, *TRANSPOSED, layers.Dense, layers.Embedding)
INITIAL_ITERATIONS = 15  # steps of the power iteration when a weight is first used


def normalise(network: keras.Model, *, slot: str, iterations: int) -> keras.Model:
    """Wrap the network in a model that replaces each kernel and embedding W by W/σ.

    Args:
        network: a native generator or discriminator.
        slot: which of the two, for messages.
        iterations: steps of the power iteration in each training forward, at least 1.

    Raises:
        UsageError: if the network has spectral norm already, no layer to normalise, or one whose weights are all 0.
    """
    for layer in (network, *_iterate_layers(network)):
        if "SpectralNorm" in type(layer).__name__:
            raise gz.UsageError(
                f"this {slot} has spectral normalisation already (in {layer.name}), and a second one "
                f"would normalise what is normalised: {ADVICE[slot]}, or switch the model's own off"
            )
    layers_found = [layer for layer in _iterate_layers(network) if isinstance(layer, LAYERS)]
    if not layers_found:
        raise gz.UsageError(
            f"spectral-norm found no convolution, dense layer or embedding in this {slot}: {ADVICE[slot]}"
        )
    for layer in layers_found:
        if layer.built:
            _check_weight(layer, slot)
    return SpectralNormalised(network, slot=slot, iterations=iterations)


def _check_weight(layer: Any, slot: str) -> None:
    if not tf.reduce_any(_find_weight(layer).value != 0):
        raise refuse_zeros(layer.name, slot)


def _find_weight(layer: Any) -> Any:
    return layer.embeddings if isinstance(layer, layers.Embedding) else layer.kernel


def _iterate_layers(network: Any) -> Iterator[Any]:
    yield from network._flatten_layers(include_self=False)


@dataclass(frozen=True)
class _Weight:
    """A variable, its vectors u [rows] and v [columns], and the axis of its output channels (the rows)."""

    variable: Any
    u: Any
    v: Any
    axis: int

    def to_matrix(self) -> tf.Tensor:
        """The weight as a matrix [output channels, all other axes]."""
        value = tf.convert_to_tensor(self.variable)
        order = [self.axis, *(axis for axis in range(len(value.shape)) if axis != self.axis)]
        return tf.reshape(tf.transpose(value, order), [value.shape[self.axis], -1])

    def iterate(self, steps: int) -> None:
        """Make so many steps of the power iteration, without gradient."""
        matrix, v = tf.stop_gradient(self.to_matrix()), tf.convert_to_tensor(self.v)
        for _ in range(steps):
            u = tf.math.l2_normalize(tf.linalg.matvec(matrix, v), epsilon=1e-24)
            v = tf.math.l2_normalize(tf.linalg.matvec(matrix, u, transpose_a=True), epsilon=1e-24)
        self.u.assign(u)
        self.v.assign(v)

    def normalise(self) -> tf.Tensor:
        """W/σ with σ = uᵀWv; u and v are constants to the gradient."""
        u, v = tf.stop_gradient(self.u.value), tf.stop_gradient(self.v.value)
        return self.variable.value / tf.reduce_sum(u * tf.linalg.matvec(self.to_matrix(), v))


class SpectralNormalised(keras.Model):
    """A network with normalised weights; `grow` is passed on to it.

    Args:
        network: the wrapped network.
        slot: which of the two it is, for messages.
        iterations: steps of the power iteration in each training forward; none in evaluation.
    """

    def __init__(self, network: keras.Model, *, slot: str, iterations: int) -> None:
        super().__init__(name=network.name)
        self.network, self.slot, self.iterations = network, slot, iterations
        self._normalised: dict[int, _Weight] = {}
        if hasattr(network, "grow"):
            self.grow = network.grow
        # Else Keras would forbid adding the vectors u and v, which are created when the network is first called.
        self.built = True

    def call(
        self,
        x: tf.Tensor,  # z [N, latent_dim], or images [N,H,W,C]
        labels: tf.Tensor | None = None,
        training: bool = False,
        resolution: int | None = None,
        **values: tf.Tensor,
    ) -> Any:
        # Keras does not allow numbers and tensors mixed in **kwargs, so `resolution` is a parameter.
        given = {"labels": labels, "resolution": resolution, **values}
        arguments = {name: value for name, value in given.items() if value is not None}
        if not all(id(layer) in self._normalised for layer in self._layers_to_normalise()):
            gz.call_keras_network(
                self.network, x, arguments, training=False
            )  # creates its variables, if they do not exist yet
            for layer in self._layers_to_normalise():
                if id(layer) not in self._normalised:
                    self._normalised[id(layer)] = self._make_weight(layer)
        weights = [self._normalised[id(layer)] for layer in self._layers_to_normalise()]
        if training:
            for weight in weights:
                weight.iterate(self.iterations)
        with keras.StatelessScope([(weight.variable, weight.normalise()) for weight in weights]) as scope:
            self._keep_outer_values(scope)
            outputs = gz.call_keras_network(self.network, x, arguments, training=training)
        for variable in self.network.non_trainable_variables:
            # Updates inside the scope are lost at its end, such as batch norm's means and dropout's seeds: copy them.
            moved = scope.get_current_value(variable)
            if moved is not None:
                variable.assign(moved)
        return outputs

    def _keep_outer_values(self, scope: keras.StatelessScope) -> None:
        """Let the network see, for weights that are not normalised, what an outer scope has in their place.

        Keras' scopes do not nest: the inner one hides, for example, the averages of G's weights while G draws.
        """
        if scope.original_scope is None:
            return
        for variable in self.network.variables:
            value = scope.original_scope.get_current_value(variable)
            if value is not None and scope.get_current_value(variable) is None:
                scope.add_update((variable, value))

    def _layers_to_normalise(self) -> list[Any]:
        return [layer for layer in _iterate_layers(self.network) if isinstance(layer, LAYERS)]

    def _make_weight(self, layer: Any) -> _Weight:
        variable = _find_weight(layer)
        if tf.executing_eagerly():
            _check_weight(layer, self.slot)  # of a layer that was created by the network's first call
        rank = len(variable.shape)
        # Keras has the output channels last, or second to last in a transposed convolution. An embedding's rows are
        # the matrix's rows, as in PyTorch.
        axis = 0 if isinstance(layer, layers.Embedding) else rank - (2 if isinstance(layer, TRANSPOSED) else 1)
        rows = variable.shape[axis]
        columns = tf.TensorShape(variable.shape).num_elements() // rows
        u, v = (
            self.add_weight(shape=(size,), initializer="random_normal", trainable=False, name=f"{layer.name}_{name}")
            for name, size in (("u", rows), ("v", columns))
        )
        weight = _Weight(variable, u, v, axis)
        weight.iterate(INITIAL_ITERATIONS)
        return weight
