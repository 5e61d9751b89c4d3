"""Make Keras' optimizers, and apply gradients with them in a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ganzoo_core.errors import UsageError
from ganzoo_core.settings import OptimizerSettings

RMSPROP_EPS = 1e-8


def make_optimizer(network: Any, settings: OptimizerSettings) -> Any:
    """Return a new optimizer of the type that the settings name, with its variables created.

    Raises:
        UsageError: if the network has no learnable parameters.
    """
    variables, lr = network.trainable_variables, settings.lr
    if not variables:
        raise UsageError("a network has no learnable parameters, so there is nothing to train")
    betas = {"beta_1": settings.betas[0], "beta_2": settings.betas[1]}
    if settings.name == "adam":
        optimizer = keras.optimizers.Adam(lr, **betas, epsilon=settings.adam_eps)
    elif settings.name == "adamw":
        optimizer = keras.optimizers.AdamW(lr, **betas, epsilon=settings.adam_eps, weight_decay=settings.weight_decay)
    elif settings.name == "rmsprop":
        # Keras adds epsilon inside the square root, PyTorch its 1e-8 outside: hence the square.
        optimizer = keras.optimizers.RMSprop(
            lr, rho=settings.rmsprop_decay, momentum=settings.momentum, epsilon=RMSPROP_EPS**2
        )
    else:
        optimizer = keras.optimizers.SGD(lr, momentum=settings.momentum)
    optimizer.build(variables)
    return optimizer


def apply_gradients(
    network: Any,
    optimizer: Any,
    gradients: Sequence[Any],
    wait_for: Sequence[Any],
    *,
    learning_rate: Any,
    beta2: Any = None,
    clip_norm: float = 0.0,
) -> None:
    """Update a network's weights after all gradients and all of `wait_for` are computed.

    TensorFlow would update a weight as soon as its own gradient is computed. Other computations, such as another
    term or the other network's gradient, could then see the new value, depending on thread timing.

    Args:
        network: a `keras.Model`.
        optimizer: made by `make_optimizer`.
        gradients: by each trainable weight, None for unconnected weights.
        wait_for: other tensors.
        learning_rate, beta2: scalars; None for the optimizer's own beta2.
        clip_norm: see `clip_gradients`; 0 for no clipping.
    """
    if clip_norm:
        gradients = clip_gradients(gradients, clip_norm)
    pairs = [pair for pair in zip(gradients, network.trainable_variables, strict=True) if pair[0] is not None]
    optimizer.learning_rate.assign(learning_rate)
    constant = getattr(optimizer, "beta_2", None)
    if constant is not None and beta2 is not None:
        optimizer.beta_2 = beta2
    with tf.control_dependencies([*wait_for, *(gradient for gradient, _ in pairs)]):
        optimizer.apply(*zip(*pairs, strict=True))
    if constant is not None:
        optimizer.beta_2 = constant  # a tensor of this graph is invalid outside of it


def clip_gradients(gradients: Sequence[Any], max_norm: float) -> list[Any]:
    """Multiply all gradients by min(1, max_norm / norm), where norm is that of all of them together.

    A sparse gradient, such as that of an embedding, becomes dense first: its rows may come several times.
    """
    dense = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]
    norm = tf.linalg.global_norm([gradient for gradient in dense if gradient is not None])
    scale = tf.minimum(max_norm / norm, 1.0)  # a norm of 0 gives infinity, so 1
    return [None if gradient is None else gradient * scale for gradient in dense]
