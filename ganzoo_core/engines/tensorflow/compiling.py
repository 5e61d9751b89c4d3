"""`engine.compile` in TensorFlow: compile a phase's graph by XLA, and check it against the uncompiled graph first."""

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
    """Return the compiled graph and "" if it agrees with the plain one; else the plain one and the reason.

    Both are run once on the same tensors; then all variables are restored.

    Args:
        trace_compiled: traces the compiled graph.
        plain: the uncompiled graph.
        inputs: for both graphs.
        random_operations: the operations of the graph that draw random numbers.
        variables: all variables that the graph may change.
        compared: those of them whose new values must agree, within the tolerance for gradients.
    """
    if random_operations:
        # XLA uses other random generators for the same operations.
        return plain, f"it draws random numbers ({random_operations[0]}), and XLA would draw others from the same seed"
    originals = [(variable, tf.identity(variable)) for variable in variables]
    compared = list(compared)

    def play(graph: Any) -> ResultsAndGradients:
        try:
            result = graph(inputs).numpy()
            return [result], [variable.numpy() for variable in compared]
        finally:
            for variable, before in originals:
                variable.assign(before)

    expected = play(plain)
    try:
        graph = trace_compiled()
        actual = play(graph)
    except Exception as error:  # XLA may fail in any way on a plugin's operations
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return plain, f"{type(error).__name__}: {lines[0][:200] if lines else 'without words'}"
    why = describe_difference(actual, expected)
    return (plain, why) if why else (graph, "")
