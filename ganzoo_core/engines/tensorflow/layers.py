"""The rows of `ganzoo info MODEL --layers`: each layer with its output and its parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from ganzoo_core.api import Spec
from ganzoo_core.engines.tensorflow.networks import Network

if TYPE_CHECKING:
    from ganzoo_core.engines.tensorflow.engine import Engine


def layer_rows(
    engine: Engine, network: Network, spec: Spec, *, is_generator: bool, values: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Each layer's name, type, output shape (with N the batch) and number of parameters, in order of use.

    Args:
        engine: on whose device the network is.
        network: as `Engine.build` gave it.
        spec: what it was built for.
        is_generator: whether it is given z or images.
        values: the schedule's values that it takes.
    """
    rows: list[dict[str, Any]] = []
    calls: list[int] = []  # for each call under way, how many layers it has called itself
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
        engine._touch(network, spec, "generator" if is_generator else "discriminator", values)
    finally:
        keras.layers.Layer.__call__ = plain_call
    return rows
