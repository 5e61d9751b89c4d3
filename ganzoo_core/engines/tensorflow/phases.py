"""The adversarial training step in TensorFlow: the code inside the graphs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from ganzoo_core.api import Loss, Memory
from ganzoo_core.engines.loss_services import PhaseTerms, Round
from ganzoo_core.engines.loss_step import compute_score_statistics, make_penalty_error
from ganzoo_core.engines.plan import Plan
from ganzoo_core.engines.tensorflow.data import TrainingImages, to_resolution
from ganzoo_core.engines.tensorflow.gradients import compute_gradients, differentiate, record_gradients
from ganzoo_core.engines.tensorflow.graph_step import GraphStep, NamedTensors
from ganzoo_core.engines.tensorflow.networks import EmaNetwork, list_seed_states
from ganzoo_core.engines.tensorflow.ops import BatchShare, TensorFlowOps
from ganzoo_core.engines.tensorflow.optimizers import apply_gradients, make_optimizer
from ganzoo_core.engines.tensorflow.process_group import TensorFlowProcessGroup


class Phases:
    """The phases of the training step, as functions to trace.

    A phase takes `inputs`, tensors by name: `d_…` for D's phase, `g_…` for G's. `…_given` holds labels and conditions
    by name; `counts` int64 [3] rounds and images before this round, and the index of D's update in it; `first_row` is
    that of a part of a batch. It takes `numbers`, scalars by name: `lr_g`, `lr_d`, `ema_decay`, and the schedule's
    values as `values/NAME`. It returns the scalars to report.

    Args:
        G, D: the networks, with all variables created.
        loss, plan, data: see `Trainer`.
        ema: the moving average of G's weights, or None.
        memory: what the loss keeps, by name.
        declared_memory: what it declared of that.
        resolution: of growing networks, else 0.
        group: the processes that train together, or None.

    Raises:
        UsageError: if a network has no learnable parameters.
    """

    def __init__(
        self,
        G: Any,
        D: Any,
        loss: Loss,
        plan: Plan,
        data: TrainingImages,
        ema: EmaNetwork | None,
        memory: Mapping[str, tf.Variable],
        declared_memory: Mapping[str, Memory],
        resolution: int,
        group: TensorFlowProcessGroup | None = None,
    ) -> None:
        self.G, self.D, self.plan, self.data, self.ema, self.memory = G, D, plan, data, ema, memory
        self.group = group
        self.rows = slice(0, plan.batch_size) if group is None else group.select_rows(plan.batch_size)
        self._shared_memory = [memory[name] for name, each in declared_memory.items() if each.across == "mean"]
        self.networks = GraphStep(G, D, loss, plan, memory, declared_memory, resolution)
        self.g_optimizer = make_optimizer(G, plan.optimizer_g)
        self.d_optimizer = make_optimizer(D, plan.optimizer_d)
        self.seed_states = [*list_seed_states(G), *list_seed_states(D)]

    def list_variables(self) -> list[tf.Variable]:
        """All variables that a phase may read or change."""
        averages = [] if self.ema is None else [self.ema.get_average(weight) for weight in self.G.weights]
        own = [*self.G.variables, *self.D.variables, *self.g_optimizer.variables, *self.d_optimizer.variables]
        group = () if self.group is None else self.group.variables
        return [*(variable.value for variable in own), *averages, *self.memory.values(), *group]

    def list_compared_variables(self) -> list[tf.Variable]:
        """The variables to compare between a compiled and an uncompiled phase.

        Trained weights are included with SGD only, whose steps are proportional to the gradients. With other
        optimizers, a gradient that is zero except for rounding gives a step of arbitrary sign.
        """
        networks = ((self.G, self.plan.optimizer_g), (self.D, self.plan.optimizer_d))
        compared_weights = [
            weight
            for network, settings in networks
            for weight in (network.weights if settings.name == "sgd" else network.non_trainable_weights)
        ]
        moments = [*self.g_optimizer.variables, *self.d_optimizer.variables]
        return [*(variable.value for variable in (*compared_weights, *moments)), *self.memory.values()]

    def train_alternately(self, inputs: NamedTensors, numbers: NamedTensors) -> NamedTensors:
        """Update D, then G against the new D with the same fake images."""
        z, given = inputs["d_z"], inputs["d_given"]
        with record_gradients(self.G) as tape:
            with self._use_seeds(inputs, "d") as ops:
                fake = self.networks.generate(z, given, numbers)
                with tape.stop_recording():
                    d_report = self._update_discriminator(inputs, fake, numbers, ops)
            terms = self._compute_generator_terms(inputs, fake, given, z, numbers)
        return {**d_report, **self._step_generator(compute_gradients(tape, terms.terms, self.G), terms, numbers)}

    def train_discriminator(self, inputs: NamedTensors, numbers: NamedTensors) -> NamedTensors:
        with self._use_seeds(inputs, "d") as ops:
            fake = self.networks.generate(inputs["d_z"], inputs["d_given"], numbers)
            return self._update_discriminator(inputs, fake, numbers, ops)

    def train_generator(self, inputs: NamedTensors, numbers: NamedTensors) -> NamedTensors:
        """Update G on fake images from `g_z`, or on those of D's phase, drawn again."""
        with record_gradients(self.G) as tape:
            if "g_z" in inputs:
                terms = self._compute_generator_terms(inputs, None, inputs.get("g_given", {}), inputs["g_z"], numbers)
            else:
                z, given = inputs["d_z"], inputs["d_given"]
                with self._use_seeds(inputs, "d"):
                    fake = self.networks.generate(z, given, numbers)
                terms = self._compute_generator_terms(inputs, fake, given, z, numbers)
        return self._step_generator(compute_gradients(tape, terms.terms, self.G), terms, numbers)

    def train_simultaneously(self, inputs: NamedTensors, numbers: NamedTensors) -> NamedTensors:
        """Update both networks from losses at the same weights; D scores each batch once."""
        z, given, real = inputs["d_z"], inputs["d_given"], self._decode_reals(inputs["d_real"], numbers)
        with (
            self._use_seeds(inputs, "d") as ops,
            record_gradients(self.G) as g_tape,
            record_gradients(self.D) as d_tape,
        ):
            fake = self.networks.generate(z, given, numbers)
            (d_terms, g_terms), scores = self.networks.compute_terms(
                ("discriminator", "generator"), real, fake, given, z, numbers, _read_round(inputs, first_turn=True), ops
            )
        gradients = compute_gradients(g_tape, g_terms.terms, self.G)
        # G's gradient must use D's weights from before D's update.
        first = [*_list_results(g_terms), *(gradient for gradient in gradients if gradient is not None)]
        d_report = self._step_discriminator(d_tape, d_terms, scores, numbers, wait_for=first)
        return {**d_report, **self._step_generator(gradients, g_terms, numbers)}

    def _update_discriminator(
        self, inputs: NamedTensors, fake: Any, numbers: NamedTensors, ops: TensorFlowOps
    ) -> NamedTensors:
        real = self._decode_reals(inputs["d_real"], numbers)
        with record_gradients(self.D) as tape:
            fake, here = tf.stop_gradient(fake), _read_round(inputs)
            (terms,), scores = self.networks.compute_terms(
                ("discriminator",), real, fake, inputs["d_given"], inputs["d_z"], numbers, here, ops
            )
        return self._step_discriminator(tape, terms, scores, numbers)

    def _step_discriminator(
        self,
        tape: Any,
        terms: PhaseTerms,
        scores: NamedTensors,
        numbers: NamedTensors,
        *,
        wait_for: Sequence[Any] = (),
    ) -> NamedTensors:
        for name, term in terms.terms.items():
            if name.endswith("penalty") and not any(
                gradient is not None for gradient in differentiate(tape, [term], self.D)
            ):
                raise make_penalty_error(name)
        gradients = compute_gradients(tape, terms.terms, self.D)
        self._update_d(gradients, [*_list_results(terms), *wait_for], numbers)
        reported = terms.make_report(turns=self.plan.critic_steps)
        report = {f"discriminator/{name}": term for name, term in reported.items()}
        return {**report, **compute_score_statistics(scores, self.plan, TensorFlowOps())}

    def _compute_generator_terms(
        self, inputs: NamedTensors, fake: Any, given: NamedTensors, z: Any, numbers: NamedTensors
    ) -> PhaseTerms:
        with self._use_seeds(inputs, "g") as ops:
            if fake is None:
                fake = self.networks.generate(z, given, numbers)
            seen = None
            if self.plan.loss.same_real_in_generator_step:
                seen = self._decode_reals(inputs["d_real"], numbers)
            elif self.plan.loss.real_in_generator_step:
                seen = self._decode_reals(inputs["g_real"], numbers)
            (terms,), _ = self.networks.compute_terms(
                ("generator",), seen, fake, given, z, numbers, _read_round(inputs, first_turn=True), ops
            )
            return terms

    def _step_generator(self, gradients: Sequence[Any], terms: PhaseTerms, numbers: NamedTensors) -> NamedTensors:
        self._update_g(gradients, _list_results(terms), numbers)
        return {f"generator/{name}": term for name, term in terms.make_report(turns=1).items()}

    def _average_over_ranks(self, gradients: Sequence[Any]) -> list[Any]:
        """The gradients of all processes' rows; what the loss keeps is averaged along with them.

        What each process keeps for itself stays.
        """
        if self.group is None:
            return list(gradients)
        own = [tf.convert_to_tensor(gradient) for gradient in gradients if gradient is not None]
        means = iter(self.group.average([*own, *(variable.value() for variable in self._shared_memory)]))
        averaged = [None if gradient is None else next(means) for gradient in gradients]
        for variable, mean in zip(self._shared_memory, means, strict=True):
            variable.assign(mean)
        return averaged

    def _update_d(self, gradients: Sequence[Any], wait_for: Sequence[Any], numbers: NamedTensors) -> None:
        apply_gradients(
            self.D,
            self.d_optimizer,
            self._average_over_ranks(gradients),
            wait_for,
            learning_rate=numbers["lr_d"],
            beta2=numbers.get("values/beta2"),
            clip_norm=self.plan.optimizer_d.clip_norm,
        )
        clip = self.plan.loss.weight_clip
        if clip is not None:
            for weight in self.D.trainable_variables:
                weight.assign(tf.clip_by_value(weight.value, -clip, clip))

    def _update_g(self, gradients: Sequence[Any], wait_for: Sequence[Any], numbers: NamedTensors) -> None:
        apply_gradients(
            self.G,
            self.g_optimizer,
            self._average_over_ranks(gradients),
            wait_for,
            learning_rate=numbers["lr_g"],
            beta2=numbers.get("values/beta2"),
            clip_norm=self.plan.optimizer_g.clip_norm,
        )
        if self.ema is not None:
            self.ema.update(numbers["ema_decay"])

    def _decode_reals(self, encoded: Any, numbers: NamedTensors) -> Any:
        return to_resolution(self.data.decode(encoded), self.networks.select_values(numbers))

    @contextlib.contextmanager
    def _use_seeds(self, inputs: NamedTensors, phase: str) -> Iterator[TensorFlowOps]:
        """Seed `ops` and the networks' seed generators; restore the generators' states on exit."""
        seeds, whole, share = inputs[f"{phase}_seeds"], self.plan.batch_size, None
        size = (self.rows.stop - self.rows.start) // self.plan.accumulate
        if size < whole:
            share = BatchShare(whole, size, self.rows.start + inputs.get("first_row", 0))
        before = [tf.identity(state.value) for state in self.seed_states]
        for state, seed in zip(self.seed_states, tf.unstack(seeds)[1:], strict=True):
            state.assign(seed)
        yield TensorFlowOps(tf.cast(seeds[0], tf.int32), share=share)
        for state, seed in zip(self.seed_states, before, strict=True):
            state.assign(seed)


def _read_round(inputs: NamedTensors, *, first_turn: bool = False) -> Round:
    """The place in the run, in tensors; `first_turn` for phases that are always the first of their kind in a round."""
    step, images, turn = tf.unstack(inputs["counts"])
    return Round(step, images, is_first=tf.constant(True) if first_turn else tf.equal(turn, 0))


def _list_results(terms: PhaseTerms) -> list[Any]:
    """The scalars of a phase that are minimised or reported."""
    return [*terms.terms.values(), *terms.logged.values()]
