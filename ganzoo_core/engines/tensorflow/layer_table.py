"""The table of `ganzoo info MODEL --layers`: output shape and parameters of each layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def make_layer_rows(
    call_network: Callable[[], None],
) -> list[dict[str, Any]]:
    """Each layer's name, type, output shape (with N the batch) and number of parameters, in order of use.

    Args:
        call_network: calls the network once.
    """
    rows: list[dict[str, Any]] = []
    calls: list[int] = []  # for each running call, the number of layers it has called
    plain_call = keras.layers.Layer.__call__

    def noting_call(layer: Any, *args: Any, **keywords: Any) -> Any:
        if calls:
            calls[-1] += 1
        calls.append(0)
        output = plain_call(layer, *args, **keywords)
        if calls.pop() == 0:
            shape = ["N", *output.shape[1:]] if tf.is_tensor(output) else []
            count = sum(math.prod(weight.shape) for weight in layer.weights)
            rows.append({"layer": layer.name, "type": type(layer).__name__, "output": shape, "parameters": count})
        return output

    keras.layers.Layer.__call__ = noting_call
    try:
        call_network()
    finally:
        keras.layers.Layer.__call__ = plain_call
    return rows
