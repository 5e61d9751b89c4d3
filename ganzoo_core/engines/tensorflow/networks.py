"""How a `keras.Model` is called, and what it keeps: its weights, its seeds, the moving average of its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

Network = Any
_NAME_NUMBER = re.compile(r"_\d+(?=_|$)")


def call_network(network: Network, x: Any, labels: Any, values: Mapping[str, Any], *, training: bool) -> Any:
    """Call a network as the hooks' contract has it.

    Args:
        network: a `keras.Model`.
        x: z, or images.
        labels: int64 [N], or None. A functional model with two inputs gets `[x, labels]`, any other `x, labels`.
        values: keywords, from `as_keywords`.
        training: the mode.
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
    """The schedule's values as a network takes them: `resolution` an int, all others float32 tensors."""
    return {
        name: int(value) if name == "resolution" else tf.convert_to_tensor(value, tf.float32)
        for name, value in values.items()
    }


def list_seed_states(network: Network) -> list[Any]:
    """The states of a network's seed generators: they are among its `variables`, and no `weights`."""
    weights = {id(weight) for weight in network.weights}
    return [variable for variable in network.variables if id(variable) not in weights]


def name_weights(network: Network) -> dict[str, Any]:
    """All weights by position and name, such as `004.moving_mean`.

    Keras' own paths change with every rebuild, and so do names that a layer made of its own: their numbers go.
    """
    return {f"{place:03d}.{_NAME_NUMBER.sub('', weight.name)}": weight for place, weight in enumerate(network.weights)}


class EmaNetwork:
    """A network with a moving average of its weights, which it is drawn from with.

    The network itself is not copied, which no subclassed model need allow: the averages stand in for its weights
    while it is called.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._averages: dict[int, tuple[Any, tf.Variable]] = {}
        self.add_new_weights()

    def add_new_weights(self) -> None:
        """Take in the weights that were added since; their average starts at what they are."""
        for weight in self.network.weights:
            if id(weight) not in self._averages:
                self._averages[id(weight)] = (weight, tf.Variable(weight.value, trainable=False, name=weight.name))

    def get_average(self, weight: Any) -> tf.Variable:
        """The variable that holds a weight's average."""
        return self._averages[id(weight)][1]

    def update(self, decay: Any) -> None:
        """average + (1 - decay) * (weight - average); what is not trained, such as batch norm's means, is copied."""
        for weight in self.network.weights:
            average = self.get_average(weight)
            if weight.trainable:
                average.assign_add((1 - decay) * (weight.value - average))
            else:
                average.assign(weight.value)

    def use_averages(self) -> keras.StatelessScope:
        """While it is open, the network is called with the averages."""
        return keras.StatelessScope([(weight, self.get_average(weight).value()) for weight in self.network.weights])
