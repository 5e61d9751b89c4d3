"""What is computed in a phase, inside its graph: fake images, and the loss's terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from ganzoo_core.api import Loss, Memory, Step
from ganzoo_core.engines.loss_memory import LossMemory, describe_memory, name_loss
from ganzoo_core.engines.loss_services import LossServices, PhaseTerms, Round, call_loss
from ganzoo_core.engines.loss_step import BoundDiscriminator, BoundGenerator, drop_labels, make_arguments
from ganzoo_core.engines.plan import Plan
from ganzoo_core.engines.tensorflow.networks import call_keras_network, name_weights
from ganzoo_core.engines.tensorflow.ops import TensorFlowOps
from ganzoo_core.errors import PluginError

NamedTensors = Mapping[str, Any]  # tensors by name


class GraphServices(LossServices):
    """Chooses in the graph whether a term is due, by a branch of which only one side runs."""

    def __init__(
        self,
        D: BoundDiscriminator,
        ops: TensorFlowOps,
        here: Round,
        read_weights: Callable[[str], NamedTensors],
    ) -> None:
        super().__init__(D, ops, read_weights)
        self._here = here

    def choose(self, n: int, term: Callable[[], Any]) -> Any:
        is_due = tf.logical_and(self._here.is_first, tf.equal(self._here.step % n, 0))
        return tf.cond(is_due, lambda: n * term(), lambda: tf.zeros([]))


class GraphStep:
    """Calls the networks and the loss.

    Args:
        G, D: the networks, with all variables created.
        loss, plan: see `Trainer`.
        memory: what the loss keeps, by name.
        declared_memory: what it declared of that.
        resolution: of growing networks, else 0.
    """

    def __init__(
        self,
        G: Any,
        D: Any,
        loss: Loss,
        plan: Plan,
        memory: Mapping[str, tf.Variable],
        declared_memory: Mapping[str, Memory],
        resolution: int,
    ) -> None:
        self.G, self.D, self.loss, self.plan = G, D, loss, plan
        self.memory, self.resolution = memory, resolution
        self._declared_memory = describe_memory(declared_memory)

    def generate(self, z: Any, given: NamedTensors, numbers: NamedTensors) -> Any:
        """Generate images [N,H,W,C]."""
        return call_keras_network(self.G, z, self._make_g_arguments(given, numbers), training=True)

    def compute_terms(
        self,
        phases: Sequence[str],
        real: Any,
        fake: Any,
        given: NamedTensors,
        z: Any,
        numbers: NamedTensors,
        here: Round,
        ops: TensorFlowOps,
    ) -> tuple[list[PhaseTerms], NamedTensors]:
        """The loss terms of each phase, and D's scores; with several phases, D scores each batch once."""
        D, services, view = self._make_loss_step(real, fake, given, z, numbers, here, ops=ops, share=len(phases) > 1)
        terms = [self._call_loss(phase, view, services) for phase in phases]
        return terms, D.get_scores()

    def _call_loss(self, phase: str, view: Step, services: LossServices) -> PhaseTerms:
        try:
            return call_loss(self.loss, phase, view, services)
        except (TypeError, ValueError, AttributeError) as error:
            problem = _explain_tracing(error)
            if not problem:
                raise
            raise PluginError(f"the loss {name_loss(self.loss)}, or a network that it calls, {problem}") from error

    def _make_loss_step(
        self,
        real: Any,
        fake: Any,
        given: NamedTensors,
        z: Any,
        numbers: NamedTensors,
        here: Round,
        *,
        ops: TensorFlowOps,
        share: bool,
    ) -> tuple[BoundDiscriminator, LossServices, Step]:
        plan, values = self.plan, self.select_values(numbers)
        arguments = make_arguments(
            given,
            self._network_kwargs(numbers, plan.takes_d),
            takes=plan.conditions_d,
            latent=z if plan.latent_in_discriminator else None,
        )
        D = BoundDiscriminator(
            lambda x, arguments: call_keras_network(self.D, x, arguments, training=True),
            arguments,
            real=real,
            fake=fake,
            share=share,
        )
        G = BoundGenerator(
            lambda z, arguments: call_keras_network(self.G, z, arguments, training=True),
            self._make_g_arguments(given, numbers),
        )
        memory = LossMemory(lambda name: self.memory[name].value(), self._write_memory, self._declared_memory)
        services = GraphServices(D, ops, here, self._read_weights)
        step = Step(
            D,
            G,
            real,
            fake,
            given.get("labels"),
            z,
            values,
            ops,
            memory,
            conditions=drop_labels(given),
            step=here.step,
            images=here.images,
            services=services,
        )
        return D, services, step

    def _read_weights(self, network: str) -> dict[str, Any]:
        named = name_weights(self.G if network == "generator" else self.D)
        return {name: tf.convert_to_tensor(weight.value) for name, weight in named.items() if weight.trainable}

    def _write_memory(self, name: str, value: Any) -> None:
        memory = self.memory[name]
        memory.assign(tf.stop_gradient(tf.cast(value, memory.dtype)))

    def _make_g_arguments(self, given: NamedTensors, numbers: NamedTensors) -> dict[str, Any]:
        plan = self.plan
        return make_arguments(given, self._network_kwargs(numbers, plan.takes_g), takes=plan.conditions_g)

    def _network_kwargs(self, numbers: NamedTensors, takes: Sequence[str]) -> dict[str, Any]:
        values = self.select_values(numbers)
        return {name: values[name] for name in takes if name in values}

    def select_values(self, numbers: NamedTensors) -> dict[str, Any]:
        """The schedule's values: `resolution` an int, all others tensors."""
        values = {
            name.removeprefix("values/"): number for name, number in numbers.items() if name.startswith("values/")
        }
        return {**values, "resolution": self.resolution} if self.resolution else values


def _explain_tracing(error: Exception) -> str:
    """What code does that works on numbers and not in a graph; "" for any other error."""
    text = str(error)
    if isinstance(error, tf.errors.OperatorNotAllowedInGraphError) or "SymbolicTensor" in text:
        return (
            "uses a tensor as a number of Python, such as by `if` on step.memory, step.step, a score or a value of the "
            "schedule; TensorFlow does not know its value while it traces the step. Choose between two values with "
            "ops.where, and use step.every for what is due in some rounds only"
        )
    if isinstance(error, TypeError) and ("int64" in text or "float64" in text):
        return (
            f"mixes types ({text.splitlines()[0]}); in TensorFlow step.step, step.images and labels are int64, and "
            'their quotients float64: write ops.cast(step.step, "float32")'
        )
    return ""
