"""Gradients by one network's trainable weights, in a graph."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from ganzoo_core.errors import PluginError


@contextlib.contextmanager
def record_gradients(network: Any) -> Iterator[tf.GradientTape]:
    """Record the gradients by one network's trainable weights."""
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch([weight.value for weight in network.trainable_variables])
        yield tape


def compute_gradients(tape: tf.GradientTape, terms: Mapping[str, Any], network: Any) -> list[Any]:
    """The gradient of the sum of the terms by each trainable weight of a network, None for unconnected weights.

    Raises:
        PluginError: if no weight has a gradient.
    """
    gradients = differentiate(tape, list(terms.values()), network)
    if all(gradient is None for gradient in gradients):
        raise PluginError(
            f"the loss terms {', '.join(terms)} have no gradient in the network {network.name}, so it would not learn; "
            "they must be computed from its outputs with step.ops"
        )
    return gradients


def differentiate(tape: tf.GradientTape, scalars: Sequence[Any], network: Any) -> list[Any]:
    """The gradient of the sum of scalars by each trainable weight of a network, None for unconnected weights.

    Raises:
        PluginError: if TensorFlow lacks a second derivative.
    """
    try:
        return tape.gradient(scalars, [weight.value for weight in network.trainable_variables])
    except LookupError as error:
        raise PluginError(
            f"the loss differentiates {network.name} twice, and TensorFlow has no second derivative for one of its "
            f"operations ({error}); pick a loss without a gradient penalty, or another network"
        ) from None
