"""Trace a phase of the training step into one graph, and check the graph before it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from ganzoo_core.engines.tensorflow import compiling
from ganzoo_core.errors import PluginError

# Random operations whose state is outside of the network's variables, so that no checkpoint could hold it.
_STATEFUL_DRAWS = frozenset(
    {
        "Multinomial",
        "ParameterizedTruncatedNormal",
        "RandomGamma",
        "RandomPoisson",
        "RandomPoissonV2",
        "RandomShuffle",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "TruncatedNormal",
    }
)
# Random operations that are functions of a seed.
_SEEDED_DRAWS = frozenset(
    f"Stateless{kind}{version}"
    for kind in ("RandomUniform", "RandomUniformInt", "RandomNormal", "TruncatedNormal", "Multinomial")
    for version in ("", "V2")
) | {"StatelessRandomUniformFullInt", "StatelessRandomUniformFullIntV2", "StatelessShuffle"}


class TracedPhase:
    """A phase of the training step, traced once into a graph.

    Args:
        phase: (tensors by name, scalars by name) -> scalars to report, by name.
        numbers: names of the scalars in the tensor `inputs["numbers"]`, in order.
        inputs: example tensors with the shapes of all later calls.
        variables: all variables that the phase may read or change.
        device: TensorFlow's name of it.
        compared_variables: variables whose new values are compared if XLA compiles the phase; None to not compile.

    Attributes:
        term_names: names of the reported scalars.
        compile_problem: why compiling failed; "" if it succeeded or was not requested.

    Raises:
        PluginError: if the networks or the loss use random state or variables that no checkpoint would hold.
    """

    def __init__(
        self,
        phase: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]],
        numbers: tuple[str, ...],
        inputs: Mapping[str, Any],
        variables: Iterable[Any],
        device: str,
        compared_variables: Iterable[Any] | None = None,
    ) -> None:
        self.term_names: tuple[str, ...] = ()
        self.compile_problem = ""
        variables = list(variables)

        def graph(given: Mapping[str, Any]) -> Any:
            with tf.device(device):
                terms = phase(given, dict(zip(numbers, tf.unstack(given["numbers"]), strict=True)))
                self.term_names = tuple(terms)
                return tf.stack([tf.cast(value, tf.float32) for value in terms.values()]) if terms else tf.zeros(0)

        # No autograph: it would rewrite the plugins' code and hide where their errors are raised.
        self._graph = tf.function(graph, autograph=False).get_concrete_function(inputs)
        _check_variables(self._graph, variables)
        _check_draws(self._graph)
        if compared_variables is not None:
            self._graph, self.compile_problem = compiling.compile_and_compare(
                lambda: tf.function(graph, autograph=False, jit_compile=True).get_concrete_function(inputs),
                self._graph,
                inputs,
                random_operations=[
                    name for name in _list_operations(self._graph.graph.as_graph_def()) if name in _SEEDED_DRAWS
                ],
                variables=variables,
                compared=compared_variables,
            )

    def __call__(self, inputs: Mapping[str, Any]) -> tuple[tuple[str, ...], Any]:
        """Run the phase; return the names of the reported scalars, and a tensor of their values in that order."""
        return self.term_names, self._graph(inputs)


def _check_variables(graph: Any, variables: Iterable[Any]) -> None:
    known = {id(variable) for variable in variables}
    for variable in graph.variables:
        if id(variable) in known:
            continue
        if "seed_generator_state" in variable.name:
            raise PluginError(
                "a network or the loss draws random numbers without a seed, so that no run could be repeated; "
                "give keras.random a keras.random.SeedGenerator that is an attribute of the layer, or use step.ops"
            )
        raise PluginError(
            f"a network or the loss uses the variable {variable.name} {list(variable.shape)}, which Keras does not "
            "list among the network's, so it would be neither trained nor saved; make it with add_weight"
        )


def _check_draws(graph: Any) -> None:
    for operation in _list_operations(graph.graph.as_graph_def()):
        if operation in _STATEFUL_DRAWS:
            raise PluginError(
                f"a network or the loss draws random numbers with TensorFlow's {operation}, so that no run could be "
                "repeated; use keras.random with a keras.random.SeedGenerator, or step.ops"
            )


def _list_operations(graph: Any) -> Iterator[str]:
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        for node in nodes:
            yield node.op
