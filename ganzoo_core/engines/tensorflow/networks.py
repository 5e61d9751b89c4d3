"""Call a `keras.Model`, name its weights, list its seed states, and keep a moving average of its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

Network = Any
_NAME_NUMBER = re.compile(r"_\d+(?=_|$)")


def call_network(network: Network, x: Any, labels: Any, values: Mapping[str, Any], *, training: bool) -> Any:
    """Call a network as the contract of the hooks specifies.

    Args:
        network: a `keras.Model`.
        x: z [N, latent_dim], or images [N,H,W,C].
        labels: int64 [N], or None. A functional model with two inputs gets `[x, labels]`, any other `x, labels`.
        values: keywords, from `as_keywords`.
        training: training or evaluation mode.
    """
    if labels is None:
        return network(x, training=training, **values)
    if has_two_inputs(network):
        return network([x, labels], training=training, **values)
    return network(x, labels, training=training, **values)


def has_two_inputs(network: Network) -> bool:
    """Whether this is a functional model with two inputs."""
    inputs = getattr(network, "inputs", None)
    return isinstance(inputs, list | tuple) and len(inputs) == 2


def as_keywords(values: Mapping[str, Any]) -> dict[str, Any]:
    """The schedule's values as keyword arguments of a network: `resolution` an int, all others float32 tensors."""
    return {
        name: int(value) if name == "resolution" else tf.convert_to_tensor(value, tf.float32)
        for name, value in values.items()
    }


def list_seed_states(network: Network) -> list[Any]:
    """The states of a network's seed generators: its `variables` that are not `weights`."""
    weights = {id(weight) for weight in network.weights}
    return [variable for variable in network.variables if id(variable) not in weights]


def name_weights(network: Network) -> dict[str, Any]:
    """All weights by position and name, such as `004.moving_mean`.

    Keras' paths change with every rebuild, and so do the numbers in generated names, which are removed.
    """
    return {f"{index:03d}.{_NAME_NUMBER.sub('', weight.name)}": weight for index, weight in enumerate(network.weights)}


class EmaNetwork:
    """A network with a moving average of its weights.

    The network is not copied, since subclassed models need not support that: to generate images, the averages replace
    its weights while it is called.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._averages: dict[int, tuple[Any, tf.Variable]] = {}
        self.add_new_weights()

    def add_new_weights(self) -> None:
        """Add weights that the network has gained; their average starts at their current values."""
        for weight in self.network.weights:
            if id(weight) not in self._averages:
                self._averages[id(weight)] = (weight, tf.Variable(weight.value, trainable=False, name=weight.name))

    def get_average(self, weight: Any) -> tf.Variable:
        """The variable that holds a weight's average."""
        return self._averages[id(weight)][1]

    def update(self, decay: Any) -> None:
        """Set average += (1 - decay) * (weight - average); copy non-trainable weights such as batch norm's means."""
        for weight in self.network.weights:
            average = self.get_average(weight)
            if weight.trainable:
                average.assign_add((1 - decay) * (weight.value - average))
            else:
                average.assign(weight.value)

    def use_averages(self) -> keras.StatelessScope:
        """A context in which the network uses the averages as its weights."""
        return keras.StatelessScope([(weight, self.get_average(weight).value()) for weight in self.network.weights])
