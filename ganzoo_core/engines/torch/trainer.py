"""The adversarial training step in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ganzoo_core.api import Images, Loss, Memory
from ganzoo_core.data.conditions import Rows
from ganzoo_core.engines.ema import compute_ema_decay
from ganzoo_core.engines.loss_memory import read_initial_memory
from ganzoo_core.engines.loss_services import PhaseTerms, Round
from ganzoo_core.engines.loss_step import compute_score_statistics
from ganzoo_core.engines.plan import Plan
from ganzoo_core.engines.torch import optimizers
from ganzoo_core.engines.torch.accumulation import Part, add_gradients, iterate_parts
from ganzoo_core.engines.torch.batches import Batches
from ganzoo_core.engines.torch.ema import grow_ema, make_ema, update_ema
from ganzoo_core.engines.torch.forward import FakeBatch
from ganzoo_core.engines.torch.penalties import PenaltyCheck
from ganzoo_core.engines.torch.protocol import TrainingEngine
from ganzoo_core.engines.torch.state import (
    describe_trainer_state,
    list_buffer_names,
    read_trainer_state,
    restore_trainer_state,
)
from ganzoo_core.engines.torch.statistics import MeanAccumulator
from ganzoo_core.engines.torch.updates import clip_weights, step_optimizer


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
        self.ops = self.batches.ops
        self.resolution = 0  # of growing networks; 0 before the first step, and for other networks
        self.ema = make_ema(self.G) if plan.ema is not None else None
        self.declared_memory: Mapping[str, Memory] = read_initial_memory(loss)
        self.memory = {
            name: torch.tensor(each.initial, device=engine.device) for name, each in self.declared_memory.items()
        }
        self._start_optimizers()
        self.statistics = MeanAccumulator(engine.device, self.group)

    def step(self, step: int, images: int, values: Mapping[str, float]) -> None:
        """Train one step, after `step` steps and `images` real images, with the schedule's values."""
        plan = self.plan
        if "resolution" in values:
            self.grow(values)
        optimizers.set_learning_rates(self.g_optimizer, values, "lr_g", plan.optimizer_g.lr)
        optimizers.set_learning_rates(self.d_optimizer, values, "lr_d", plan.optimizer_d.lr)
        here = Round(step, images)
        if plan.updates == "simultaneous":
            self._train_simultaneously(here, values)
        else:
            for turn in range(plan.critic_steps):
                drawn = self._train_discriminator(replace(here, is_first=turn == 0), turn, values)
            self._train_generator(here, values, drawn if plan.reuses_fake else None)
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
        self._start_checks()
        self.generate, self.compute_terms = self.engine.step_functions(self)

    def _start_checks(self) -> None:
        self._checked, self.penalties = False, PenaltyCheck()

    def _train_discriminator(self, here: Round, turn: int, values: Mapping[str, float]) -> list[FakeBatch]:
        """Update D; return the fake images of each part of the batch."""
        plan, batches, drawn = self.plan, self.batches, []
        is_shared = plan.reuses_fake and turn == plan.critic_steps - 1
        if is_shared and plan.redraws_fake:
            self._g_buffers = [buffer.clone() for buffer in self.G.buffers()]
        for part in iterate_parts(batches.parts, self.memory, self.declared_memory):
            with batches.use_seed(part, "discriminator", here.step, turn):
                reals = batches.load_reals(part, "data", here.images + turn * plan.batch_size, values)
                z = batches.draw_latents(part, "z", here.step, turn)
                # In the last turn G's phase may backpropagate through these images.
                with torch.set_grad_enabled(is_shared and not plan.redraws_fake):
                    fake = self.generate(z, reals.given, values)
                (terms,), scores = self.compute_terms(
                    ("discriminator",), reals.images, fake.detach(), reals.given, z, values, here
                )
                self.penalties.check(terms, self.d_params, here)
                self._add_gradients(terms, "D", here)
            self._record_terms("discriminator", terms, turns=plan.critic_steps)
            self._record_scores(scores)
            drawn.append(FakeBatch(fake, reals.given, z, reals.images))
        self._update("D")
        return drawn

    def _train_generator(self, here: Round, values: Mapping[str, float], shared: list[FakeBatch] | None) -> None:
        plan, batches = self.plan, self.batches
        if plan.redraws_fake:
            # What the images drawn again move, such as batch norm's statistics, moves once.
            for buffer, before in zip(self.G.buffers(), self._g_buffers, strict=True):
                buffer.copy_(before)
        for part in iterate_parts(batches.parts, self.memory, self.declared_memory):
            batch = None if shared is None else self._redraw(shared[part.number], part, here, values)
            with batches.use_seed(part, "generator", here.step):
                reals = None
                if plan.loads_generator_reals:
                    # Reals from a separate stream; they do not count as images seen.
                    reals = batches.load_reals(part, "data of the generator", here.step * plan.batch_size, values)
                if batch is None:
                    given = reals.given if reals is not None else {}
                    z = batches.draw_latents(part, "z of the generator", here.step)
                    batch = FakeBatch(self.generate(z, given, values), given, z)
                seen = None
                if plan.loss.same_real_in_generator_step:
                    seen = batch.real
                elif plan.loss.real_in_generator_step and reals is not None:
                    seen = reals.images
                (terms,), _ = self.compute_terms(("generator",), seen, batch.fake, batch.given, batch.z, values, here)
                self._add_gradients(terms, "G", here)
            self._record_terms("generator", terms)
        self._update("G")

    def _redraw(self, batch: FakeBatch, part: Part, here: Round, values: Mapping[str, float]) -> FakeBatch:
        """The fake images of D's last phase with G's graph: drawn again, unless the graph was kept."""
        if not self.plan.redraws_fake:
            return batch
        with self.batches.use_seed(part, "discriminator", here.step, self.plan.critic_steps - 1):
            return replace(batch, fake=self.generate(batch.z, batch.given, values))

    def _train_simultaneously(self, here: Round, values: Mapping[str, float]) -> None:
        """Update both networks from losses at the same weights; D scores each batch once."""
        batches = self.batches
        for part in iterate_parts(batches.parts, self.memory, self.declared_memory):
            with batches.use_seed(part, "discriminator", here.step, 0):
                reals = batches.load_reals(part, "data", here.images, values)
                z = batches.draw_latents(part, "z", here.step, 0)
                fake = self.generate(z, reals.given, values)
                (d_terms, g_terms), scores = self.compute_terms(
                    ("discriminator", "generator"), reals.images, fake, reals.given, z, values, here
                )
                self.penalties.check(d_terms, self.d_params, here)
                self._add_gradients(d_terms, "D", here, retain_graph=True)
                self._add_gradients(g_terms, "G", here)
            self._record_terms("discriminator", d_terms)
            self._record_terms("generator", g_terms)
            self._record_scores(scores)
        self._update("GD")

    def _add_gradients(self, terms: PhaseTerms, network: str, here: Round, *, retain_graph: bool = False) -> None:
        params, optimizer = (self.g_params, self.g_optimizer) if network == "G" else (self.d_params, self.d_optimizer)
        add_gradients(terms, params, optimizer, here, parts=self.plan.accumulate, retain_graph=retain_graph)

    def _update(self, networks: str) -> None:
        """Step the optimizers of `G`, `D` or `GD`, with the gradients averaged over the processes.

        The loss's memory is averaged along with them, but what each process keeps for itself.
        """
        params = [*(self.d_params if "D" in networks else []), *(self.g_params if "G" in networks else [])]
        if self.group is not None:
            gradients = [param.grad for param in params if param.grad is not None]
            shared = [self.memory[name] for name, each in self.declared_memory.items() if each.across == "mean"]
            self.group.all_reduce_mean([*gradients, *shared])
        plan, check = self.plan, not self._checked
        if "D" in networks:
            step_optimizer(self.d_optimizer, self.d_params, clip_norm=plan.optimizer_d.clip_norm, check=check)
            if plan.loss.weight_clip is not None:
                clip_weights(self.d_params, plan.loss.weight_clip)
        if "G" in networks:
            step_optimizer(self.g_optimizer, self.g_params, clip_norm=plan.optimizer_g.clip_norm, check=check)

    def _record_terms(self, network: str, terms: PhaseTerms, *, turns: int = 1) -> None:
        for name, term in terms.make_report(turns=turns).items():
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
        self._start_checks()

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
