"""The adversarial training step in TensorFlow: the code inside the graphs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from ganzoo_core.api import Loss, Step
from ganzoo_core.engines.loss_step import (
    BoundDiscriminator,
    BoundGenerator,
    LossMemory,
    check_terms,
    compute_score_statistics,
    drop_labels,
    make_arguments,
    make_penalty_error,
)
from ganzoo_core.engines.plan import Plan
from ganzoo_core.engines.tensorflow.data import TrainingImages, to_resolution
from ganzoo_core.engines.tensorflow.gradients import compute_gradients, differentiate, record_gradients
from ganzoo_core.engines.tensorflow.networks import EmaNetwork, call_keras_network, list_seed_states
from ganzoo_core.engines.tensorflow.ops import BatchShare, TensorFlowOps
from ganzoo_core.engines.tensorflow.optimizers import apply_gradients, make_optimizer

NamedTensors = Mapping[str, Any]  # tensors by name


class Phases:
    """The phases of the training step, as functions to trace.

    A phase takes `inputs`, tensors by name: `d_…` for D's phase, `g_…` for G's. `…_given` holds labels and conditions
    by name; `first_row` is that of a part of a batch. It takes `numbers`, scalars by name: `lr_g`, `lr_d`, `ema_decay`,
    and the schedule's values as `values/NAME`. It returns the scalars to report.

    Args:
        G, D: the networks, with all variables created.
        loss, plan, data: see `Trainer`.
        ema: the moving average of G's weights, or None.
        memory: the loss's scalars by name.
        resolution: of growing networks, else 0.

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
        resolution: int,
    ) -> None:
        self.G, self.D, self.loss, self.plan, self.data = G, D, loss, plan, data
        self.ema, self.memory, self.resolution = ema, memory, resolution
        self.g_optimizer = make_optimizer(G, plan.optimizer_g)
        self.d_optimizer = make_optimizer(D, plan.optimizer_d)
        self.seed_states = [*list_seed_states(G), *list_seed_states(D)]

    def list_variables(self) -> list[tf.Variable]:
        """All variables that a phase may read or change."""
        averages = [] if self.ema is None else [self.ema.get_average(weight) for weight in self.G.weights]
        own = [*self.G.variables, *self.D.variables, *self.g_optimizer.variables, *self.d_optimizer.variables]
        return [*(variable.value for variable in own), *averages, *self.memory.values()]

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
                fake = self._generate(z, given, numbers)
                with tape.stop_recording():
                    d_report = self._update_discriminator(inputs, fake, numbers, ops)
            terms = self._compute_generator_terms(inputs, fake, given, z, numbers)
        return {**d_report, **self._step_generator(compute_gradients(tape, terms, self.G), terms, numbers)}

    def train_discriminator(self, inputs: NamedTensors, numbers: NamedTensors) -> NamedTensors:
        with self._use_seeds(inputs, "d") as ops:
            fake = self._generate(inputs["d_z"], inputs["d_given"], numbers)
            return self._update_discriminator(inputs, fake, numbers, ops)

    def train_generator(self, inputs: NamedTensors, numbers: NamedTensors) -> NamedTensors:
        """Update G on fake images from `g_z`, or on those of D's phase, drawn again."""
        with record_gradients(self.G) as tape:
            if "g_z" in inputs:
                terms = self._compute_generator_terms(inputs, None, inputs.get("g_given", {}), inputs["g_z"], numbers)
            else:
                z, given = inputs["d_z"], inputs["d_given"]
                with self._use_seeds(inputs, "d"):
                    fake = self._generate(z, given, numbers)
                terms = self._compute_generator_terms(inputs, fake, given, z, numbers)
        return self._step_generator(compute_gradients(tape, terms, self.G), terms, numbers)

    def train_simultaneously(self, inputs: NamedTensors, numbers: NamedTensors) -> NamedTensors:
        """Update both networks from losses at the same weights; D scores each batch once."""
        z, given, real = inputs["d_z"], inputs["d_given"], self._decode_reals(inputs["d_real"], numbers)
        with (
            self._use_seeds(inputs, "d") as ops,
            record_gradients(self.G) as g_tape,
            record_gradients(self.D) as d_tape,
        ):
            fake = self._generate(z, given, numbers)
            D, view = self._make_loss_step(real, fake, given, z, numbers, ops, share=True)
            d_terms = check_terms(self.loss.discriminator(view), self.loss, "discriminator")
            g_terms = check_terms(self.loss.generator(view), self.loss, "generator")
        gradients = compute_gradients(g_tape, g_terms, self.G)
        # G's gradient must use D's weights from before D's update.
        first = [*g_terms.values(), *(gradient for gradient in gradients if gradient is not None)]
        d_report = self._step_discriminator(d_tape, d_terms, D.get_scores(), numbers, wait_for=first)
        return {**d_report, **self._step_generator(gradients, g_terms, numbers)}

    def _update_discriminator(
        self, inputs: NamedTensors, fake: Any, numbers: NamedTensors, ops: TensorFlowOps
    ) -> NamedTensors:
        real = self._decode_reals(inputs["d_real"], numbers)
        with record_gradients(self.D) as tape:
            D, view = self._make_loss_step(real, tf.stop_gradient(fake), inputs["d_given"], inputs["d_z"], numbers, ops)
            terms = check_terms(self.loss.discriminator(view), self.loss, "discriminator")
        return self._step_discriminator(tape, terms, D.get_scores(), numbers)

    def _step_discriminator(
        self,
        tape: Any,
        terms: NamedTensors,
        scores: NamedTensors,
        numbers: NamedTensors,
        *,
        wait_for: Sequence[Any] = (),
    ) -> NamedTensors:
        for name, term in terms.items():
            if name.endswith("penalty") and not any(
                gradient is not None for gradient in differentiate(tape, [term], self.D)
            ):
                raise make_penalty_error(name)
        self._update_d(compute_gradients(tape, terms, self.D), [*terms.values(), *wait_for], numbers)
        report = {f"discriminator/{name}": term for name, term in terms.items()}
        return {**report, **compute_score_statistics(scores, self.plan, TensorFlowOps())}

    def _compute_generator_terms(
        self, inputs: NamedTensors, fake: Any, given: NamedTensors, z: Any, numbers: NamedTensors
    ) -> NamedTensors:
        with self._use_seeds(inputs, "g") as ops:
            if fake is None:
                fake = self._generate(z, given, numbers)
            seen = None
            if self.plan.loss.same_real_in_generator_step:
                seen = self._decode_reals(inputs["d_real"], numbers)
            elif self.plan.loss.real_in_generator_step:
                seen = self._decode_reals(inputs["g_real"], numbers)
            _, view = self._make_loss_step(seen, fake, given, z, numbers, ops)
            return check_terms(self.loss.generator(view), self.loss, "generator")

    def _step_generator(self, gradients: Sequence[Any], terms: NamedTensors, numbers: NamedTensors) -> NamedTensors:
        self._update_g(gradients, list(terms.values()), numbers)
        return {f"generator/{name}": term for name, term in terms.items()}

    def _update_d(self, gradients: Sequence[Any], wait_for: Sequence[Any], numbers: NamedTensors) -> None:
        apply_gradients(
            self.D,
            self.d_optimizer,
            gradients,
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
            gradients,
            wait_for,
            learning_rate=numbers["lr_g"],
            beta2=numbers.get("values/beta2"),
            clip_norm=self.plan.optimizer_g.clip_norm,
        )
        if self.ema is not None:
            self.ema.update(numbers["ema_decay"])

    def _make_loss_step(
        self,
        real: Any,
        fake: Any,
        given: NamedTensors,
        z: Any,
        numbers: NamedTensors,
        ops: TensorFlowOps,
        *,
        share: bool = False,
    ) -> tuple[BoundDiscriminator, Step]:
        plan, values = self.plan, self._schedule_values(numbers)
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
        memory = LossMemory(lambda name: self.memory[name].value(), self._write_memory, self.memory)
        labels, conditions = given.get("labels"), drop_labels(given)
        return D, Step(D, G, real, fake, labels, z, values, ops, memory, conditions=conditions)

    def _write_memory(self, name: str, value: Any) -> None:
        self.memory[name].assign(tf.stop_gradient(value))

    def _generate(self, z: Any, given: NamedTensors, numbers: NamedTensors) -> Any:
        return call_keras_network(self.G, z, self._make_g_arguments(given, numbers), training=True)

    def _make_g_arguments(self, given: NamedTensors, numbers: NamedTensors) -> dict[str, Any]:
        plan = self.plan
        return make_arguments(given, self._network_kwargs(numbers, plan.takes_g), takes=plan.conditions_g)

    def _decode_reals(self, encoded: Any, numbers: NamedTensors) -> Any:
        return to_resolution(self.data.decode(encoded), self._schedule_values(numbers))

    def _schedule_values(self, numbers: NamedTensors) -> dict[str, Any]:
        """The schedule's values: `resolution` an int, all others tensors."""
        values = {
            name.removeprefix("values/"): number for name, number in numbers.items() if name.startswith("values/")
        }
        return {**values, "resolution": self.resolution} if self.resolution else values

    def _network_kwargs(self, numbers: NamedTensors, takes: Sequence[str]) -> dict[str, Any]:
        values = self._schedule_values(numbers)
        return {name: values[name] for name in takes if name in values}

    @contextlib.contextmanager
    def _use_seeds(self, inputs: NamedTensors, phase: str) -> Iterator[TensorFlowOps]:
        """Seed `ops` and the networks' seed generators; restore the generators' states on exit."""
        seeds, plan, share = inputs[f"{phase}_seeds"], self.plan, None
        if plan.accumulate > 1:
            share = BatchShare(plan.batch_size, plan.batch_size // plan.accumulate, inputs["first_row"])
        before = [tf.identity(state.value) for state in self.seed_states]
        for state, seed in zip(self.seed_states, tf.unstack(seeds)[1:], strict=True):
            state.assign(seed)
        yield TensorFlowOps(tf.cast(seeds[0], tf.int32), share=share)
        for state, seed in zip(self.seed_states, before, strict=True):
            state.assign(seed)
