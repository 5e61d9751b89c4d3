"""Count a network's parameters and layers while it is built; see `size_limits`."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ganzoo_core.engines.size_limits import BUILD_LOCK, SizeCounter


@contextlib.contextmanager
def watch_construction(counter: SizeCounter, without_memory: bool) -> Iterator[None]:
    """Count the variables and layers that Keras creates in this context.

    Args:
        counter: counts each variable before it is allocated, and raises above its limit.
        without_memory: build in a graph, where variables and results have shapes but no data.
    """
    stack = contextlib.ExitStack()
    stack.enter_context(BUILD_LOCK)
    plain_variable, plain_layer = keras.Variable.__init__, keras.layers.Layer.__init__

    # `tf.variable_creator_scope` does not get the shape of Keras' variables.
    @functools.wraps(plain_variable)
    def counting_variable(variable: Any, initializer: Any, shape: Any = None, *args: Any, **keywords: Any) -> None:
        counter.add_numbers(_count_elements(initializer, shape))
        plain_variable(variable, initializer, shape, *args, **keywords)

    @functools.wraps(plain_layer)
    def counting_layer(layer: Any, *args: Any, **keywords: Any) -> None:
        counter.add_layer()
        plain_layer(layer, *args, **keywords)

    with stack:
        _replace_init(stack, keras.Variable, plain_variable, counting_variable)
        _replace_init(stack, keras.layers.Layer, plain_layer, counting_layer)
        if without_memory:
            stack.enter_context(tf.Graph().as_default())
        yield


def _replace_init(
    stack: contextlib.ExitStack, owner: Any, plain: Callable[..., None], counting: Callable[..., None]
) -> None:
    owner.__init__ = counting
    stack.callback(setattr, owner, "__init__", plain)


def _count_elements(initializer: Any, shape: Any) -> int:
    if shape is None:
        return 0 if callable(initializer) or isinstance(initializer, str) else math.prod(np.shape(initializer))
    sides = (shape,) if isinstance(shape, int) else shape
    return math.prod(int(side) for side in sides if side is not None)  # Keras raises its own error for an unknown side
