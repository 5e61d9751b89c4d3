"""Call a `keras.Model`, name its weights, list its seed states, and keep a moving average of its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ganzoo_core.api import Spec
from ganzoo_core.engines.network_call import NetworkCall
from ganzoo_core.errors import PluginError

Network = Any
_NAME_NUMBER = re.compile(r"_\d+(?=_|$)")


def call_keras_network(network: Network, x: Any, arguments: Mapping[str, Any], *, training: bool) -> Any:
    """Call a network as the contract of the hooks specifies.

    Args:
        network: a `keras.Model`.
        x: z [N, latent_dim], or images [N,H,W,C].
        arguments: `labels` int64 [N], conditions, `latent` and schedule values (from `as_keywords`), by name. A
            functional model gets those that its inputs are named after as inputs, `x` in the one that is left, and the
            labels second if it has two inputs of other names. Any other model gets the labels second, and all others
            as keywords.
        training: training or evaluation mode.
    """
    named = dict(arguments)
    inputs = list_inputs(network)
    if len(inputs) > 1:
        names = [tensor.name for tensor in inputs]
        borne = {name: named.pop(name) for name in names if name in named}
        own = [name for name in names if name not in borne]
        if len(own) == 1:
            by_name = {**borne, own[0]: x}
            by_structure = isinstance(getattr(network, "_inputs_struct", None), Mapping)
            given = by_name if by_structure else [by_name[name] for name in names]
            return network(given, training=training, **named)
        if len(own) == 2 and "labels" in named:
            return network([x, named.pop("labels")], training=training, **named)
        raise PluginError(
            f"the network {network.name} has the inputs {', '.join(names)}, and is called with z or images and "
            f"{', '.join(arguments) or 'nothing else'}; name its inputs after these"
        )
    labels = (named.pop("labels"),) if "labels" in named else ()
    return network(x, *labels, training=training, **named)


def list_inputs(network: Network) -> list[Any]:
    """The inputs of a functional model; empty for any other."""
    inputs = getattr(network, "inputs", None)
    return list(inputs) if isinstance(inputs, list | tuple) else []


def find_call_problem(network: Network, call: NetworkCall) -> str:
    """Why a network cannot be called so, in words; "" if it can.

    Keras passes a keyword over in silence where a functional or sequential model has no input of that name: the network
    would learn without it.
    """
    inputs = list_inputs(network)
    if not inputs and not isinstance(network, keras.Sequential):
        return call.find_problem(network.call)
    names = [tensor.name for tensor in inputs]
    for name in call.keywords:
        if name not in names:
            has = f"has the inputs {', '.join(names)}" if len(names) > 1 else "has one input"
            return (
                f'that is to take the keyword {name}, and {has}; add keras.Input(…, name="{name}"), or write it as a '
                f"subclass of keras.Model whose call takes {name}"
            )
    return ""


def make_zero_arguments(spec: Spec, count: int) -> dict[str, Any]:
    """Labels and conditions of zeros, for a network that was built for `spec`."""
    arguments = {"labels": tf.zeros(count, tf.int64)} if spec.classes else {}
    for name, shape in spec.conditions.items():
        arguments[name] = tf.zeros((count, *shape), tf.float32 if shape else tf.int64)
    return arguments


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


def assign_seeds(network: Network, generator: np.random.Generator) -> None:
    """Seed a network's own random numbers, such as dropout's, from a generator."""
    for state in list_seed_states(network):
        state.assign(generator.integers(2**31, size=tuple(state.shape)))


def name_weights(network: Network) -> dict[str, Any]:
    """All weights by position and name, such as `004.moving_mean`; of an `EmaNetwork` the averages.

    Keras' paths change with every rebuild, and so do the numbers in generated names, which are removed.
    """
    if isinstance(network, EmaNetwork):
        return {name: network.get_average(weight) for name, weight in name_weights(network.network).items()}
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
