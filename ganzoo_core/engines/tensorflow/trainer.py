"""The adversarial training step in TensorFlow: the code around the graphs.

Each phase is traced once per resolution and then runs as one graph. Everything that changes from step to step (images,
z, seeds, learning rates, the schedule's values) is passed as tensors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from ganzoo_core.api import Images, Loss, Memory, Spec
from ganzoo_core.data.conditions import Rows, describe_shapes
from ganzoo_core.data.stream import Stream
from ganzoo_core.engines.ema import compute_ema_decay
from ganzoo_core.engines.loss_memory import read_initial_memory
from ganzoo_core.engines.plan import Plan
from ganzoo_core.engines.tensorflow import precision
from ganzoo_core.engines.tensorflow.accumulation import PartPhases, iterate_parts
from ganzoo_core.engines.tensorflow.data import TrainingImages
from ganzoo_core.engines.tensorflow.graph import TracedPhase
from ganzoo_core.engines.tensorflow.networks import EmaNetwork
from ganzoo_core.engines.tensorflow.phases import Phases
from ganzoo_core.engines.tensorflow.protocol import TrainingEngine
from ganzoo_core.engines.tensorflow.state import (
    describe_trainer_state,
    list_buffer_names,
    read_trainer_state,
    restore_trainer_state,
)
from ganzoo_core.engines.tensorflow.statistics import MeanAccumulator
from ganzoo_core.randomness import latents, philox

_PHASE_LABELS = {
    "train_alternately": "the step",
    "train_simultaneously": "the step",
    "train_discriminator": "D's step",
    "train_generator": "G's step",
    "update_discriminator": "D's update",
    "update_generator": "G's update",
}


class Trainer:
    """Train one generator against one discriminator on one set of images; see `engines.protocol.Trainer`.

    Beside what every trainer has:
    - each phase of a step as one graph, with its own random numbers for Keras' seed generators, see `phases`;
    - batches that are computed in parts, so that they take less memory, see `accumulation`;
    - several processes, of which each takes its rows of the batch and draws numbers of its own; gradients and the
      loss's memory are averaged before each optimizer step, see `process_group`;
    - convolutions and matrix products in bfloat16, with float32 weights, losses and optimizers, see `precision`;
    - graphs compiled by XLA, compared with the uncompiled ones first, see `compiling`;
    - images on the device, in main memory, or read from a file in advance, see `data`.

    Raises, beside what every trainer does:
        RankError: in `step`, `pop_means`, `read_pending_sums` and `read_state`, if another process hangs or has ended;
            in `read_state` also if the processes' weights differ.
        PluginError: when a phase is traced (in the first step, after growing, and when the schedule names other
            values), if no term has a gradient in the network; if TensorFlow has no second derivative that a penalty
            needs; or if a network or the loss has variables or random state that could not be resumed.
    """

    def __init__(
        self,
        engine: TrainingEngine,
        G: Any,
        D: Any,
        loss: Loss,
        plan: Plan,
        images: Images,
        labels: np.ndarray | None,
        conditions: Mapping[str, Rows] | None = None,
    ) -> None:
        self.engine, self.group, self.G, self.D, self.loss, self.plan = engine, engine.group, G, D, loss, plan
        self.resolution = 0  # of growing networks; 0 before the first step, and for other networks
        self.ema = EmaNetwork(G) if plan.ema is not None else None
        taken = {name: (conditions or {})[name] for name in plan.conditions}
        self.data = TrainingImages(images, labels if plan.conditional else None, engine.device, taken)
        self.reals = Stream(len(images), seed=plan.seed, purpose="data")
        self.g_reals = Stream(len(images), seed=plan.seed, purpose="data of the generator")
        self.statistics = MeanAccumulator(engine.group)
        self.declared_memory: Mapping[str, Memory] = read_initial_memory(loss)
        with tf.device(engine.device):
            self.memory = {name: tf.Variable(each.initial) for name, each in self.declared_memory.items()}
        self._start_optimizers()

    def step(self, step: int, images: int, values: Mapping[str, float]) -> None:
        """Train one step, after `step` steps and `images` real images, with the schedule's values."""
        plan = self.plan
        if "resolution" in values:
            self.grow(values)
        numbers = {
            **{f"values/{name}": value for name, value in values.items() if name != "resolution"},
            "lr_g": values.get("lr_g", plan.optimizer_g.lr),
            "lr_d": values.get("lr_d", plan.optimizer_d.lr),
            "ema_decay": compute_ema_decay(plan, images + plan.images_per_step, values),
        }
        counts = [step, images]
        watch = contextlib.nullcontext() if self.group is None else self.group.watch_step()
        with tf.device(self.engine.device), precision.use_precision(self.engine.precision), watch:
            if plan.accumulate > 1:
                self._train_in_parts(step, images, values, numbers)
            elif plan.updates == "simultaneous":
                inputs = self._make_discriminator_inputs(step, 0, images, values)
                self._run_phase(self.phases.train_simultaneously, numbers, inputs, [*counts, 0])
            else:
                for turn in range(plan.critic_steps):
                    inputs = self._make_discriminator_inputs(step, turn, images + turn * plan.batch_size, values)
                    if plan.reuses_fake and turn == plan.critic_steps - 1:
                        inputs |= self._make_generator_inputs(step, values, with_z=False)
                        self._run_phase(self.phases.train_alternately, numbers, inputs, [*counts, turn])
                    else:
                        self._run_phase(self.phases.train_discriminator, numbers, inputs, [*counts, turn])
                if not plan.reuses_fake:
                    inputs = self._make_generator_inputs(step, values, with_z=True)
                    self._run_phase(self.phases.train_generator, numbers, inputs, [*counts, 0])

    def _train_in_parts(
        self, step: int, images: int, values: Mapping[str, float], numbers: Mapping[str, float]
    ) -> None:
        """As `step`, with a graph for each part of a batch and another for each update."""
        plan, phases, counts = self.plan, self.phases, [step, images, 0]
        assert isinstance(phases, PartPhases)
        if plan.updates == "simultaneous":
            inputs = self._make_discriminator_inputs(step, 0, images, values)
            self._run_parts(phases.train_simultaneously, numbers, inputs, counts)
            self._run_phase(phases.update_discriminator, numbers, {}, counts)
            self._run_phase(phases.update_generator, numbers, {}, counts)
            return
        for turn in range(plan.critic_steps):
            g_state = [tf.identity(weight.value) for weight in self.G.non_trainable_weights]
            inputs = self._make_discriminator_inputs(step, turn, images + turn * plan.batch_size, values)
            self._run_parts(phases.train_discriminator, numbers, inputs, [step, images, turn])
            self._run_phase(phases.update_discriminator, numbers, {}, [step, images, turn])
        g_inputs = self._make_generator_inputs(step, values, with_z=not plan.reuses_fake)
        if plan.redraws_fake:
            g_inputs = {**inputs, **g_inputs}
            # What the images drawn again move, such as batch norm's statistics, moves once.
            for weight, before in zip(self.G.non_trainable_weights, g_state, strict=True):
                weight.assign(before)
        self._run_parts(phases.train_generator, numbers, g_inputs, counts)
        self._run_phase(phases.update_generator, numbers, {}, counts)

    def _run_parts(
        self, phase: Callable[..., Any], numbers: Mapping[str, float], inputs: dict[str, Any], counts: list[int]
    ) -> None:
        for part in iterate_parts(inputs, self.plan.accumulate, self.memory, self.declared_memory):
            self._run_phase(phase, numbers, part, counts)

    def grow(self, values: Mapping[str, float]) -> None:
        """Grow both networks to the `resolution` in `values`, and restart both optimizers with empty state."""
        resolution, plan = int(values["resolution"]), self.plan
        if resolution == self.resolution:
            return
        _, height, width, channels = self.data.images.shape
        spec = Spec(height, width, channels, int(plan.conditional), plan.latent_dim, self.engine.framework)
        shapes = describe_shapes(self.data.conditions)
        latent = {"latent": (plan.latent_dim,)} if plan.latent_in_discriminator else {}
        for slot, network, takes, conditions in (
            ("generator", self.G, plan.takes_g, {name: shapes[name] for name in plan.conditions_g}),
            ("discriminator", self.D, plan.takes_d, {**{name: shapes[name] for name in plan.conditions_d}, **latent}),
        ):
            if "resolution" in takes:
                spec = replace(spec, conditions=conditions)
                network_values = {name: values[name] for name in takes if name in values}
                self.engine.grow(network, network_values, spec=spec, slot=slot, seed=plan.seed)
        if self.ema is not None:
            self.ema.add_new_weights()
        self.resolution = resolution
        self._start_optimizers()

    def _start_optimizers(self) -> None:
        with tf.device(self.engine.device):
            make_phases = PartPhases if self.plan.accumulate > 1 else Phases
            self.phases = make_phases(
                self.G,
                self.D,
                self.loss,
                self.plan,
                self.data,
                self.ema,
                self.memory,
                self.declared_memory,
                self.resolution,
                self.group,
            )
        self._traced_phases: dict[tuple[str, ...], TracedPhase] = {}

    def _make_discriminator_inputs(
        self, step: int, turn: int, position: int, values: Mapping[str, float]
    ) -> dict[str, Any]:
        return {
            **self.load_reals(self.reals, position, "d", values),
            "d_z": self._draw_latents("z", step, turn),
            "d_seeds": self._draw_seeds("discriminator", step, turn),
        }

    def _make_generator_inputs(self, step: int, values: Mapping[str, float], *, with_z: bool) -> dict[str, Any]:
        plan, inputs = self.plan, {}
        if plan.loads_generator_reals:
            # Reals from a separate stream; they do not count as images seen.
            inputs = self.load_reals(self.g_reals, step * plan.batch_size, "g", values)
        if with_z:
            inputs["g_z"] = self._draw_latents("z of the generator", step)
        return {**inputs, "g_seeds": self._draw_seeds("generator", step)}

    def load_reals(self, stream: Stream, position: int, prefix: str, values: Mapping[str, float]) -> dict[str, Any]:
        """A batch of a stream, still encoded, and what belongs to it, named for the phase that `prefix` begins."""
        size, rows = self.plan.batch_size, self.phases.rows
        now, following = (stream.take_indices(start, size)[rows] for start in (position, position + size))
        encoded, given = self.data.gather_encoded(now, following, values)
        return {f"{prefix}_real": encoded, f"{prefix}_given": given}

    def _draw_latents(self, purpose: str, *indices: int) -> tf.Tensor:
        plan, rows = self.plan, self.phases.rows
        z = latents(philox(plan.seed, purpose, *indices), rows.stop, plan.latent_dim, plan.latent)
        return tf.constant(z[rows])

    def _draw_seeds(self, phase: str, *indices: int) -> tf.Tensor:
        """Seeds [1 + parts · seed generators, 2]: a row for `ops`, and for each part one for each seed generator.

        That for `ops` is the same in all ranks, and the others are each rank's own.
        """
        shape = (1 + self.plan.accumulate * len(self.phases.seed_states), 2)
        seeds = philox(self.plan.seed, phase, *indices).integers(2**31, size=shape)
        if self.group is not None:
            purpose = f"{phase} of rank {self.group.rank.number}"
            seeds[1:] = philox(self.plan.seed, purpose, *indices).integers(2**31, size=seeds[1:].shape)
        return tf.constant(seeds)

    def _run_phase(
        self, phase: Callable[..., Any], numbers: Mapping[str, float], inputs: dict[str, Any], counts: list[int]
    ) -> None:
        """Run one phase's graph, and add its report to the sums."""
        inputs["numbers"] = tf.constant(list(numbers.values()), tf.float32)
        inputs["counts"] = tf.constant(counts, tf.int64)  # float32 cannot count beyond 16,777,216
        key = (phase.__name__, *numbers)
        if key not in self._traced_phases:
            self._traced_phases[key] = self._trace_phase(phase, tuple(numbers), inputs)
        names, terms = self._traced_phases[key](inputs)
        if names:
            self.statistics.add(names, terms)

    def _trace_phase(self, phase: Callable[..., Any], numbers: tuple[str, ...], inputs: dict[str, Any]) -> TracedPhase:
        engine, phases = self.engine, self.phases
        compile = phases.list_compared_variables() if engine.compile else None
        traced = TracedPhase(phase, numbers, inputs, phases.list_variables(), engine.device, compile)
        if traced.compile_problem:
            engine.tell(f"engine.compile: {_PHASE_LABELS[phase.__name__]} runs uncompiled ({traced.compile_problem})")
        return traced

    def pop_means(self) -> dict[str, float]:
        """Return the mean of every term since the last call, and reset them."""
        return self.statistics.pop_means()

    def read_state(self) -> dict[str, np.ndarray]:
        """The full training state except the position in the run, by name.

        Raises:
            RankError: if weights differ between the processes of distributed training.
        """
        state = read_trainer_state(self)
        if self.group is not None:
            buffer_names = list_buffer_names(self)
            self.group.check_same_tensors({name: state[name] for name in state if name not in buffer_names})
        return state

    def describe_state(self) -> tuple[dict[str, tuple[str, tuple[int, ...]]], set[str]]:
        """Name -> dtype and shape of the tensors for `restore_state`, and the names that may be missing."""
        return describe_trainer_state(self)

    def restore_state(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Restore the result of `read_state`; the networks must be grown to the same resolution."""
        restore_trainer_state(self, tensors)

    def reset_ema(self) -> None:
        """Restart the moving average from G's current weights, after they were replaced."""
        if self.ema is not None:
            self.ema = EmaNetwork(self.G)
            self._start_optimizers()

    def read_pending_sums(self) -> list[Any]:
        """The sums and counts behind `pop_means`, as numbers that JSON represents exactly."""
        return self.statistics.read_pending_sums()

    def restore_pending_sums(self, pending: list[Any]) -> None:
        """Restore the result of `read_pending_sums`."""
        self.statistics.restore_pending_sums(pending)

    @property
    def inference_generator(self) -> Any:
        """The generator to sample from and to save: the moving average if there is one, else G."""
        return self.G if self.ema is None else self.ema
