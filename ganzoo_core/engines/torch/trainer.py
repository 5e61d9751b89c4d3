"""The adversarial training step in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ganzoo_core.api import Images, Loss, Step
from ganzoo_core.data.conditions import Rows
from ganzoo_core.engines.ema import compute_ema_decay
from ganzoo_core.engines.loss_step import (
    BoundDiscriminator,
    BoundGenerator,
    LossMemory,
    check_terms,
    compute_score_statistics,
    drop_labels,
    make_arguments,
    read_initial_memory,
)
from ganzoo_core.engines.plan import Plan
from ganzoo_core.engines.torch import optimizers
from ganzoo_core.engines.torch.accumulation import Part, add_gradients, iterate_parts
from ganzoo_core.engines.torch.batches import Batches
from ganzoo_core.engines.torch.device import as_scalar
from ganzoo_core.engines.torch.ema import grow_ema, make_ema, update_ema
from ganzoo_core.engines.torch.forward import FakeBatch, Given, as_keywords
from ganzoo_core.engines.torch.protocol import TrainingEngine
from ganzoo_core.engines.torch.state import (
    describe_trainer_state,
    list_buffer_names,
    read_trainer_state,
    restore_trainer_state,
)
from ganzoo_core.engines.torch.statistics import MeanAccumulator
from ganzoo_core.engines.torch.updates import check_penalties, clip_weights, step_optimizer


class Trainer:
    """Train one generator against one discriminator on one set of images; see `engines.protocol.Trainer`.

    Beside what every trainer has:
    - batches that are computed in parts, so that they take less memory, see `accumulation`;
    - several processes, of which each takes its rows of the batch and draws numbers of its own; gradients and the
      loss's memory are averaged before each optimizer step, see `process_group`;
    - forward and backward passes in bfloat16, with float32 weights, losses and optimizers, see `precision`;
    - a compiled step, which is compared with the uncompiled one first, see `compiled`;
    - images in a GPU's memory, in main memory, or read from a file in advance, see `batches` and `data`.

    Raises, beside what every trainer does:
        RankError: in `step`, `pop_means`, `read_pending_sums` and `read_state`, if another process hangs or has ended;
            in `read_state` also if the processes' weights differ.
        AssertionError: in the first step, if a gradient or an optimizer's state has other strides than its parameter,
            which fused optimizers would mix up.
        RuntimeError: in `step`, from PyTorch, if no term depends on the network that it is to train.
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
        self.engine, self.G, self.D, self.loss, self.plan = engine, G.train(), D.train(), loss, plan
        self.group, self.batches = engine.group, Batches(engine, plan, images, labels, conditions)
        self.resolution = 0  # of growing networks; 0 before the first step, and for other networks
        self.ema = make_ema(self.G) if plan.ema is not None else None
        self._start_optimizers()
        self.memory = {
            name: torch.tensor(value, device=engine.device) for name, value in read_initial_memory(loss).items()
        }
        self.statistics = MeanAccumulator(engine.device, self.group)

    def step(self, step: int, images: int, values: Mapping[str, float]) -> None:
        """Train one step, after `step` steps and `images` real images, with the schedule's values."""
        plan = self.plan
        if "resolution" in values:
            self.grow(values)
        optimizers.set_learning_rates(self.g_optimizer, values, "lr_g", plan.optimizer_g.lr)
        optimizers.set_learning_rates(self.d_optimizer, values, "lr_d", plan.optimizer_d.lr)
        if plan.updates == "simultaneous":
            self._train_simultaneously(step, images, values)
        else:
            for turn in range(plan.critic_steps):
                drawn = self._train_discriminator(step, turn, images + turn * plan.batch_size, values)
            self._train_generator(step, values, drawn if plan.reuses_fake else None)
        if self.ema is not None:
            update_ema(self.ema, self.G, compute_ema_decay(plan, images + plan.images_per_step, values))
        self._checked = True

    def grow(self, values: Mapping[str, float]) -> None:
        """Grow both networks to the `resolution` in `values`, and restart both optimizers with empty state."""
        resolution = int(values["resolution"])
        if resolution == self.resolution:
            return
        for slot, network in (("generator", self.G), ("discriminator", self.D)):
            self.engine.grow(network, resolution, slot=slot, seed=self.plan.seed)
            network.train()
        if self.ema is not None:
            self.ema = grow_ema(self.ema, self.G)
        self._start_optimizers()
        self.resolution = resolution

    def _start_optimizers(self) -> None:
        self.g_params = [parameter for parameter in self.G.parameters() if parameter.requires_grad]
        self.d_params = [parameter for parameter in self.D.parameters() if parameter.requires_grad]
        self.g_optimizer = optimizers.make_optimizer(self.g_params, self.plan.optimizer_g)
        self.d_optimizer = optimizers.make_optimizer(self.d_params, self.plan.optimizer_d)
        self._checked = False
        self.generate, self.compute_terms = self.engine.step_functions(self)

    def _train_discriminator(self, step: int, turn: int, position: int, values: Mapping[str, float]) -> list[FakeBatch]:
        """Update D; return the fake images of each part of the batch."""
        plan, batches, drawn = self.plan, self.batches, []
        is_shared = plan.reuses_fake and turn == plan.critic_steps - 1
        if is_shared and plan.redraws_fake:
            self._g_buffers = [buffer.clone() for buffer in self.G.buffers()]
        for part in iterate_parts(batches.parts, self.memory):
            with batches.use_seed(part, "discriminator", step, turn):
                reals = batches.load_reals(part, "data", position, values)
                z = batches.draw_latents(part, "z", step, turn)
                # In the last turn G's phase may backpropagate through these images.
                with torch.set_grad_enabled(is_shared and not plan.redraws_fake):
                    fake = self.generate(z, reals.given, values)
                (terms,), scores = self.compute_terms(
                    ("discriminator",), reals.images, fake.detach(), reals.given, z, values
                )
                if not self._checked:
                    check_penalties(terms, self.d_params)
                add_gradients(terms, self.d_params, plan.accumulate)
            self._record_terms("discriminator", terms)
            self._record_scores(scores)
            drawn.append(FakeBatch(fake, reals.given, z, reals.images))
        self._update("D")
        return drawn

    def _train_generator(self, step: int, values: Mapping[str, float], shared: list[FakeBatch] | None) -> None:
        plan, batches = self.plan, self.batches
        if plan.redraws_fake:
            # What the images drawn again move, such as batch norm's statistics, moves once.
            for buffer, before in zip(self.G.buffers(), self._g_buffers, strict=True):
                buffer.copy_(before)
        for part in iterate_parts(batches.parts, self.memory):
            batch = None if shared is None else self._redraw(shared[part.number], part, step, values)
            with batches.use_seed(part, "generator", step):
                reals = None
                if plan.loads_generator_reals:
                    # Reals from a separate stream; they do not count as images seen.
                    reals = batches.load_reals(part, "data of the generator", step * plan.batch_size, values)
                if batch is None:
                    given = reals.given if reals is not None else {}
                    z = batches.draw_latents(part, "z of the generator", step)
                    batch = FakeBatch(self.generate(z, given, values), given, z)
                seen = None
                if plan.loss.same_real_in_generator_step:
                    seen = batch.real
                elif plan.loss.real_in_generator_step and reals is not None:
                    seen = reals.images
                (terms,), _ = self.compute_terms(("generator",), seen, batch.fake, batch.given, batch.z, values)
                add_gradients(terms, self.g_params, plan.accumulate)
            self._record_terms("generator", terms)
        self._update("G")

    def _redraw(self, batch: FakeBatch, part: Part, step: int, values: Mapping[str, float]) -> FakeBatch:
        """The fake images of D's last phase with G's graph: drawn again, unless the graph was kept."""
        if not self.plan.redraws_fake:
            return batch
        with self.batches.use_seed(part, "discriminator", step, self.plan.critic_steps - 1):
            return replace(batch, fake=self.generate(batch.z, batch.given, values))

    def _train_simultaneously(self, step: int, images: int, values: Mapping[str, float]) -> None:
        """Update both networks from losses at the same weights; D scores each batch once."""
        batches, parts = self.batches, self.plan.accumulate
        for part in iterate_parts(batches.parts, self.memory):
            with batches.use_seed(part, "discriminator", step, 0):
                reals = batches.load_reals(part, "data", images, values)
                z = batches.draw_latents(part, "z", step, 0)
                fake = self.generate(z, reals.given, values)
                (d_terms, g_terms), scores = self.compute_terms(
                    ("discriminator", "generator"), reals.images, fake, reals.given, z, values
                )
                if not self._checked:
                    check_penalties(d_terms, self.d_params)
                add_gradients(d_terms, self.d_params, parts, retain_graph=True)
                add_gradients(g_terms, self.g_params, parts)
            self._record_terms("discriminator", d_terms)
            self._record_terms("generator", g_terms)
            self._record_scores(scores)
        self._update("GD")

    def _compute_terms(
        self, phases: tuple[str, ...], real: Any, fake: Any, given: Given, z: Any, values: Mapping[str, Any]
    ) -> tuple[list[Mapping[str, Any]], dict[str, torch.Tensor]]:
        """The loss terms of each phase, and D's scores; with several phases, D scores each batch once."""
        D, view = self._make_loss_step(real, fake, given, z, values, share=len(phases) > 1)
        terms = [check_terms(getattr(self.loss, phase)(view), self.loss, phase) for phase in phases]
        return terms, D.get_scores()

    def _make_loss_step(
        self, real: Any, fake: Any, given: Given, z: Any, values: Mapping[str, float], *, share: bool = False
    ) -> tuple[BoundDiscriminator, Step]:
        plan = self.plan
        arguments = make_arguments(
            given,
            self._network_kwargs(values, plan.takes_d),
            takes=plan.conditions_d,
            latent=z if plan.latent_in_discriminator else None,
        )
        D = BoundDiscriminator(
            lambda x, arguments: self.engine.forward(self.D, x, arguments), arguments, real=real, fake=fake, share=share
        )
        G = BoundGenerator(
            lambda z, arguments: self.engine.forward(self.G, z, arguments), self._make_g_arguments(given, values)
        )
        memory = LossMemory(lambda name: self.memory[name].clone(), self._write_memory, self.memory)
        labels, conditions, ops = given.get("labels"), drop_labels(given), self.batches.ops
        return D, Step(D, G, real, fake, labels, z, values, ops, memory, conditions=conditions)

    def _write_memory(self, name: str, value: torch.Tensor) -> None:
        self.memory[name].copy_(as_scalar(value, self.engine.device).detach())

    def _generate(self, z: torch.Tensor, given: Given, values: Mapping[str, Any]) -> torch.Tensor:
        result: torch.Tensor = self.engine.forward(self.G, z, self._make_g_arguments(given, values))
        return result

    def _make_g_arguments(self, given: Given, values: Mapping[str, Any]) -> dict[str, Any]:
        plan = self.plan
        return make_arguments(given, self._network_kwargs(values, plan.takes_g), takes=plan.conditions_g)

    def _network_kwargs(self, values: Mapping[str, float], takes: tuple[str, ...]) -> dict[str, Any]:
        return as_keywords({name: values[name] for name in takes if name in values}, self.engine.device)

    def _update(self, networks: str) -> None:
        """Step the optimizers of `G`, `D` or `GD`, with the gradients averaged over the processes.

        The loss's memory is averaged along with them.
        """
        params = [*(self.d_params if "D" in networks else []), *(self.g_params if "G" in networks else [])]
        if self.group is not None:
            gradients = [param.grad for param in params if param.grad is not None]
            self.group.all_reduce_mean([*gradients, *self.memory.values()])
        plan, check = self.plan, not self._checked
        if "D" in networks:
            step_optimizer(self.d_optimizer, self.d_params, clip_norm=plan.optimizer_d.clip_norm, check=check)
            if plan.loss.weight_clip is not None:
                clip_weights(self.d_params, plan.loss.weight_clip)
        if "G" in networks:
            step_optimizer(self.g_optimizer, self.g_params, clip_norm=plan.optimizer_g.clip_norm, check=check)

    def _record_terms(self, network: str, terms: Mapping[str, Any]) -> None:
        for name, term in terms.items():
            self.statistics.add(f"{network}/{name}", term.detach())

    def _record_scores(self, scores: Mapping[str, torch.Tensor]) -> None:
        detached = {name: score.detach() for name, score in scores.items()}
        for name, value in compute_score_statistics(detached, self.plan, self.engine.ops).items():
            self.statistics.add(name, value)

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
        self._checked = False

    def reset_ema(self) -> None:
        """Restart the moving average from G's current weights, after they were replaced."""
        if self.ema is not None:
            self.ema = make_ema(self.G)

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
