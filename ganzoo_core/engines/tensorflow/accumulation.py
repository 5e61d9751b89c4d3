"""`train.accumulate` in TensorFlow: a batch is computed in parts, and one update has the mean of their gradients.

Each part is one run of a graph, which adds its gradients to variables; another graph updates the weights from these. In
a single graph TensorFlow would compute all parts at once, and need the memory of the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from ganzoo_core.api import Memory
from ganzoo_core.engines.tensorflow.graph_step import NamedTensors
from ganzoo_core.engines.tensorflow.phases import Phases


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


def iterate_parts(
    inputs: NamedTensors, parts: int, memory: Mapping[str, tf.Variable], declared: Mapping[str, Memory]
) -> Iterator[dict[str, Any]]:
    """Yield the inputs of each part of a phase, and bring together what each leaves in the loss's memory.

    What is averaged across processes is averaged across parts, too: each finds it as it was before the phase, and at
    the end it is the mean of what they left (whole numbers are rounded). An entry that none has written stays as it
    was, to the bit. What is a process's own goes from part to part.
    """
    shared = {name: variable for name, variable in memory.items() if declared[name].across == "mean"}
    before = {name: tf.identity(variable) for name, variable in shared.items()}
    changes = {name: tf.zeros_like(_widen(variable)) for name, variable in shared.items()}
    for number in range(parts):
        yield _take_part(inputs, number, parts)
        for name, variable in shared.items():
            changes[name] += _widen(variable) - _widen(before[name])
            variable.assign(before[name])
    for name, variable in shared.items():
        mean = _widen(before[name]) + changes[name] / parts
        variable.assign(tf.cast(mean if variable.dtype.is_floating else tf.round(mean), variable.dtype))


def _widen(value: Any) -> tf.Tensor:
    """Whole numbers and booleans as floats, in which they have a mean."""
    return tf.convert_to_tensor(value) if value.dtype.is_floating else tf.cast(value, tf.float64)


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
