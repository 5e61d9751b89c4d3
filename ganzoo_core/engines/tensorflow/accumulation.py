"""`train.accumulate` in TensorFlow: a batch is computed in parts, and one update has the mean of their gradients.

Each part is one run of a graph, which adds its gradients to variables; another graph updates the weights from these. In
a single graph TensorFlow would compute all parts at once, and need the memory of the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from ganzoo_core.engines.tensorflow.phases import NamedTensors, Phases


class PartPhases(Phases):
    """The phases of a step whose batches are computed in parts.

    `train_discriminator`, `train_generator` and `train_simultaneously` add a part's gradients to sums. Then
    `update_discriminator` and `update_generator` update the weights and set the sums to zero.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._sums = {
            label: [tf.Variable(tf.zeros_like(weight.value)) for weight in network.trainable_variables]
            for label, network in (("G", self.G), ("D", self.D))
        }
        self._is_connected: dict[str, list[bool]] = {}  # whether each weight has a gradient, once traced

    def list_variables(self) -> list[tf.Variable]:
        return [*super().list_variables(), *self._sums["G"], *self._sums["D"]]

    def list_compared_variables(self) -> list[tf.Variable]:
        return [*super().list_compared_variables(), *self._sums["G"], *self._sums["D"]]

    def _update_d(self, gradients: Sequence[Any], wait_for: Sequence[Any], numbers: NamedTensors) -> None:
        self._add("D", gradients)

    def _update_g(self, gradients: Sequence[Any], wait_for: Sequence[Any], numbers: NamedTensors) -> None:
        self._add("G", gradients)

    def _add(self, label: str, gradients: Sequence[Any]) -> None:
        self._is_connected[label] = [gradient is not None for gradient in gradients]
        for total, gradient in zip(self._sums[label], gradients, strict=True):
            if gradient is not None:
                total.assign_add(tf.convert_to_tensor(gradient) / self.plan.accumulate)

    def update_discriminator(self, inputs: NamedTensors, numbers: NamedTensors) -> NamedTensors:
        super()._update_d(self._read_sums("D"), [], numbers)
        return self._clear_sums("D")

    def update_generator(self, inputs: NamedTensors, numbers: NamedTensors) -> NamedTensors:
        super()._update_g(self._read_sums("G"), [], numbers)
        return self._clear_sums("G")

    def _read_sums(self, label: str) -> list[Any]:
        pairs = zip(self._sums[label], self._is_connected[label], strict=True)
        return [total.value() if is_connected else None for total, is_connected in pairs]

    def _clear_sums(self, label: str) -> NamedTensors:
        for total in self._sums[label]:
            total.assign(tf.zeros_like(total))
        return {}


def iterate_parts(inputs: NamedTensors, parts: int, memory: Mapping[str, tf.Variable]) -> Iterator[dict[str, Any]]:
    """Yield the inputs of each part of a phase, each of which finds the loss's memory as it was before the phase.

    At the end the memory is the mean of what the parts left there. A scalar that none has written stays as it was, to
    the bit.
    """
    before = {name: tf.identity(variable) for name, variable in memory.items()}
    changes = {name: tf.zeros_like(variable) for name, variable in memory.items()}
    for number in range(parts):
        yield _take_part(inputs, number, parts)
        for name, variable in memory.items():
            changes[name] += variable - before[name]
            variable.assign(before[name])
    for name, variable in memory.items():
        variable.assign_add(changes[name] / parts)


def _take_part(inputs: NamedTensors, number: int, parts: int) -> dict[str, Any]:
    """The inputs of one part.

    `…_seeds` holds a row for `ops`, which is that of all parts, and then for each part a row for each seed generator of
    the networks.
    """
    part: dict[str, Any] = {}
    for name, value in inputs.items():
        if name.endswith("_seeds"):
            own = (len(value) - 1) // parts
            part[name] = tf.concat([value[:1], value[1 + number * own : 1 + (number + 1) * own]], axis=0)
        elif isinstance(value, Mapping):
            part[name] = {key: _take_rows(rows, number, parts) for key, rows in value.items()}
        else:
            part[name] = _take_rows(value, number, parts)
            part["first_row"] = tf.constant(number * len(part[name]))
    return part


def _take_rows(tensor: tf.Tensor, number: int, parts: int) -> tf.Tensor:
    size = len(tensor) // parts
    return tensor[number * size : (number + 1) * size]
