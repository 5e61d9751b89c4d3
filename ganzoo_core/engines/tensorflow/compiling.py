"""`engine.compile` in TensorFlow: a phase's graph compiled by XLA, and tried against itself uncompiled first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

from ganzoo_core.engines.compile_check import ResultsAndGradients, describe_difference


def compile_and_compare(
    trace_compiled: Callable[[], Any],
    plain: Any,
    inputs: Any,
    *,
    random_operations: Sequence[str],
    variables: Iterable[Any],
    compared: Iterable[Any],
) -> tuple[Any, str]:
    """A compiled graph where it does what the plain one does, else the plain one and why, in words.

    Both are run once on the same tensors; all variables are put back.

    Args:
        trace_compiled: traces the compiled graph.
        plain: the graph uncompiled.
        inputs: what both are called with.
        random_operations: the operations of the graph that draw random numbers.
        variables: all that the graph may change.
        compared: those of them that must come out alike, as near as gradients do.
    """
    if random_operations:
        # XLA has other generators behind the same operations.
        return plain, f"it draws random numbers ({random_operations[0]}), and XLA would draw others from the same seed"
    kept = [(variable, tf.identity(variable)) for variable in variables]
    compared = list(compared)

    def play(graph: Any) -> ResultsAndGradients:
        try:
            told = graph(inputs).numpy()
            return [told], [variable.numpy() for variable in compared]
        finally:
            for variable, before in kept:
                variable.assign(before)

    expected = play(plain)
    try:
        graph = trace_compiled()
        found = play(graph)
    except Exception as error:  # whatever XLA cannot do with a plugin's operations
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return plain, f"{type(error).__name__}: {lines[0][:200] if lines else 'without words'}"
    why = describe_difference(found, expected)
    return (plain, why) if why else (graph, "")
