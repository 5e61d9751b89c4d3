"""The adversarial step in TensorFlow: what happens around the graphs.

Each phase is traced once for a network and resolution and then runs as one graph: what changes from step to step
(images, z, seeds, learning rates, the schedule's values) enters as tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ganzoo_core.api import Loss, Spec
from ganzoo_core.data.stream import Stream
from ganzoo_core.engines.ema import ema_decay
from ganzoo_core.engines.loss_step import memory_of
from ganzoo_core.engines.plan import Plan
from ganzoo_core.engines.tensorflow import precision
from ganzoo_core.engines.tensorflow.data import Resident
from ganzoo_core.engines.tensorflow.graph import Traced
from ganzoo_core.engines.tensorflow.networks import Averaged
from ganzoo_core.engines.tensorflow.phases import Phases
from ganzoo_core.engines.tensorflow.protocol import TrainingEngine
from ganzoo_core.engines.tensorflow.state import expected_of, restore, state_of
from ganzoo_core.randomness import latents, philox

_PHASES = {"both": "the step", "simultaneous": "the step", "discriminator": "D's step", "generator": "G's step"}


class Trainer:
    """The game of one generator and one discriminator on one set of images.

    `step(step, images, values)` plays one round: `critic_steps` updates of D, then one of G. All that it draws at
    random depends on the seed, the step and the critic's turn alone.
    """

    def __init__(
        self,
        engine: TrainingEngine,
        G: Any,
        D: Any,
        loss: Loss,
        plan: Plan,
        images: np.ndarray,
        labels: np.ndarray | None,
    ) -> None:
        self.engine, self.G, self.D, self.loss, self.plan = engine, G, D, loss, plan
        self.resolution = 0  # that the networks were grown to; 0 before the first step, and for those that do not grow
        self.average = Averaged(G) if plan.ema_halflife is not None else None
        self.data = Resident(images, labels if plan.conditional else None, engine.device)
        self.reals = Stream(len(images), seed=plan.seed, purpose="data")
        self.g_reals = Stream(len(images), seed=plan.seed, purpose="data of the generator")
        self._sums: dict[tuple[str, ...], tuple[tf.Tensor, int]] = {}
        with tf.device(engine.device):
            self.memory = {name: tf.Variable(value, dtype=tf.float32) for name, value in memory_of(loss).items()}
        self._start_optimizers()

    def step(self, step: int, images: int, values: Mapping[str, float]) -> None:
        """One round.

        Args:
            step: how many rounds came before.
            images: real images seen before it.
            values: the schedule's, here.
        """
        plan = self.plan
        if "resolution" in values:
            self.grow(values)
        numbers = {
            **{f"values/{name}": value for name, value in values.items() if name != "resolution"},
            "lr_g": values.get("lr_g", plan.lr_g),
            "lr_d": values.get("lr_d", plan.lr_d),
            "ema_decay": ema_decay(plan, images + plan.step_images, values),
        }
        with tf.device(self.engine.device), precision.applied(self.engine.precision):
            if plan.updates == "simultaneous":
                self._play(self.phases.simultaneous, numbers, self._for_discriminator(step, 0, images))
            elif plan.shares_fake:
                given = {**self._for_discriminator(step, 0, images), **self._for_generator(step, with_z=False)}
                self._play(self.phases.both, numbers, given)
            else:
                for turn in range(plan.critic_steps):
                    position = images + turn * plan.batch_size
                    given = self._for_discriminator(step, turn, position)
                    self._play(self.phases.discriminator, numbers, given)
                self._play(self.phases.generator, numbers, self._for_generator(step, with_z=True))

    def grow(self, values: Mapping[str, float]) -> None:
        """Add what both networks need for this `resolution`; both optimizers start anew, without moments."""
        resolution, plan = int(values["resolution"]), self.plan
        if resolution == self.resolution:
            return
        _, height, width, channels = self.data.images.shape
        spec = Spec(height, width, channels, int(plan.conditional), plan.latent_dim, self.engine.framework)
        for slot, network, takes in (("generator", self.G, plan.takes_g), ("discriminator", self.D, plan.takes_d)):
            taken = {name: values[name] for name in takes if name in values}
            self.engine.grow(network, {**taken, "resolution": resolution}, spec=spec, slot=slot, seed=plan.seed)
        if self.average is not None:
            self.average.extend()
        self.resolution = resolution
        self._start_optimizers()

    def _start_optimizers(self) -> None:
        with tf.device(self.engine.device):
            self.phases = Phases(
                self.G, self.D, self.loss, self.plan, self.data, self.average, self.memory, self.resolution
            )
        self._traced: dict[tuple[str, ...], Traced] = {}

    def _for_discriminator(self, step: int, turn: int, position: int) -> dict[str, tf.Tensor]:
        given = self._reals(self.reals, position, "d_real", "d_labels")
        return {
            **given,
            "d_z": self._latents("z", step, turn),
            "d_seeds": self._seeds("discriminator", step, turn),
        }

    def _for_generator(self, step: int, *, with_z: bool) -> dict[str, tf.Tensor]:
        plan, given = self.plan, {}
        if plan.real_in_generator_step or (plan.conditional and with_z):
            # Fresh reals from a stream of their own, which do not count as seen.
            given = self._reals(self.g_reals, step * plan.batch_size, "g_real", "g_labels")
        if with_z:
            given["g_z"] = self._latents("z of the generator", step)
        return {**given, "g_seeds": self._seeds("generator", step)}

    def _reals(self, stream: Stream, position: int, real: str, labels: str) -> dict[str, tf.Tensor]:
        size = self.plan.batch_size
        taken, classes = self.data.take(stream.indices(position, size), stream.indices(position + size, size))
        return {real: taken} if classes is None else {real: taken, labels: classes}

    def _latents(self, purpose: str, *indices: int) -> tf.Tensor:
        plan = self.plan
        return tf.constant(latents(philox(plan.seed, purpose, *indices), plan.batch_size, plan.latent_dim, plan.latent))

    def _seeds(self, phase: str, *indices: int) -> tf.Tensor:
        """Two numbers for `ops`, and two for each seed generator of the networks."""
        shape = (1 + len(self.phases.seed_states), 2)
        return tf.constant(philox(self.plan.seed, phase, *indices).integers(2**31, size=shape))

    def _play(self, phase: Callable[..., Any], numbers: Mapping[str, float], given: dict[str, tf.Tensor]) -> None:
        """Run one phase's graph, and add up what it tells."""
        given["numbers"] = tf.constant(list(numbers.values()), tf.float32)
        key = (phase.__name__, *numbers)
        if key not in self._traced:
            self._traced[key] = self._trace(phase, tuple(numbers), given)
        names, told = self._traced[key](given)
        before, count = self._sums.get(names, (None, 0))
        # Summed on the device: reading a value each step would make a GPU wait.
        self._sums[names] = (told if before is None else before + told, count + 1)

    def _trace(self, phase: Callable[..., Any], numbers: tuple[str, ...], given: dict[str, tf.Tensor]) -> Traced:
        engine, phases = self.engine, self.phases
        compile = phases.watched() if engine.compile else None
        traced = Traced(phase, numbers, given, phases.variables(), engine.device, compile)
        if traced.uncompiled:
            engine.tell(f"engine.compile: {_PHASES[phase.__name__]} runs uncompiled ({traced.uncompiled})")
        return traced

    def read(self) -> dict[str, float]:
        """The mean of every term since the last call; empties them."""
        means = {}
        for names, (sums, count) in self._sums.items():
            means.update({name: float(value) / count for name, value in zip(names, sums.numpy(), strict=True)})
        self._sums = {}
        return means

    def state(self) -> dict[str, np.ndarray]:
        """All that the next step depends on beside its position, by name."""
        return state_of(self)

    def expected_state(self) -> tuple[dict[str, tuple[str, tuple[int, ...]]], set[str]]:
        """Name -> dtype and shape of what `restore` takes, and the names that may be missing."""
        return expected_of(self)

    def restore(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Put back what `state` gave; the networks were grown to what they were then."""
        restore(self, tensors)

    def follow_weights(self) -> None:
        """After the networks' weights were replaced: the moving average starts from them."""
        if self.average is not None:
            self.average = Averaged(self.G)
            self._start_optimizers()

    def pending(self) -> list[Any]:
        """What `read` would take the means of, as numbers that JSON keeps exactly."""
        return [[list(names), sums.numpy().tolist(), count] for names, (sums, count) in self._sums.items()]

    def restore_pending(self, pending: list[Any]) -> None:
        """Put back what `pending` gave."""
        self._sums = {tuple(names): (tf.constant(sums, tf.float32), count) for names, sums, count in pending}

    @property
    def best_generator(self) -> Any:
        """What samples are drawn from and what is saved: the moving average where there is one."""
        return self.G if self.average is None else self.average
