"""Nothing of a phase may still read a weight when the optimizer changes it: TensorFlow orders the reads themselves, and
not what computes with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import tensorflow as tf

from ganzoo_core.engines.tensorflow import Engine

from ..plans import change
from .test_trainer import IMAGES, PLAN, networks

CHANGES = ("AssignVariableOp", "AssignSubVariableOp", "AssignAddVariableOp")
PASSES_ON = ("Identity", "ReadVariableOp")


class Penalised:
    """The non-saturating loss and R1, whose first gradient reads D's weights a second time."""

    def discriminator(self, step: Any) -> Mapping[str, Any]:
        ops = step.ops
        real, gradient = ops.score_and_gradient(step.D, step.real)
        penalty = ops.mean(ops.sum_per_sample(ops.square(gradient)))
        fake = ops.softplus(step.D(step.fake))
        return {"adversarial": ops.mean(ops.softplus(-real)) + ops.mean(fake), "gradient_penalty": penalty}

    def generator(self, step: Any) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.softplus(-step.D(step.fake)))}


def before(operation: Any) -> set[Any]:
    """All that must be over when an operation begins."""
    found, left = set(), [operation]
    while left:
        current = left.pop()
        for earlier in (*(tensor.op for tensor in current.inputs), *current.control_inputs):
            if earlier not in found:
                found.add(earlier)
                left.append(earlier)
    return found


def users(read: Any) -> Iterator[Any]:
    """What computes with the value that was read."""
    for output in read.outputs:
        for user in output.consumers():
            if user.type in PASSES_ON:
                yield from users(user)
            else:
                yield user


def late_users(graph: Any, weights: list[Any]) -> list[str]:
    """What computes with a weight's old value and may come after the change."""
    operations = graph.get_operations()
    handles = {id(captured): inner for captured, inner in graph.captures}
    ends = [*(tensor.op for tensor in graph.outputs), *graph.control_outputs]
    runs = set(ends).union(*map(before, ends))  # what nothing depends on is cut away
    late = []
    for weight in weights:
        handle = handles[id(weight.value.handle)]
        change = next(op for op in operations if op.type in CHANGES and op.inputs[0] is handle)
        over = before(change)
        for read in operations:
            if read.type == "ReadVariableOp" and read.inputs[0] is handle and change not in before(read):
                behind = [user for user in users(read) if user in runs and user is not change and user not in over]
                late += [f"{weight.path}: {user.name}" for user in behind]
    return late


def late(updates: str) -> list[str]:
    G, D = networks()
    trainer = Engine(device="cpu", threads=1).create_trainer(
        G, D, Penalised(), change(PLAN, updates=updates), IMAGES, None
    )
    trainer.step(0, 0, {})
    weights = [*D.trainable_weights, *G.trainable_weights]
    return [name for traced in trainer._traced_phases.values() for name in late_users(traced._graph.graph, weights)]


@pytest.mark.parametrize("updates", ["alternating", "simultaneous"])
def test_no_weight_changes_under_what_computes_with_it(updates: str) -> None:
    assert late(updates) == []


def test_that_is_seen_where_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf, "control_dependencies", lambda waited: contextlib.nullcontext())
    assert any("Conv2DBackpropInput" in name for name in late("simultaneous"))
