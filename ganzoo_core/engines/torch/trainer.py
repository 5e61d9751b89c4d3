"""The adversarial training step in PyTorch."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ganzoo_core.api import Images, Loss, Memory
from ganzoo_core.data.conditions import Rows
from ganzoo_core.data.stream import Stream
from ganzoo_core.engines.ema import compute_ema_decay
from ganzoo_core.engines.loss_memory import read_initial_memory
from ganzoo_core.engines.loss_services import PhaseTerms, Round
from ganzoo_core.engines.loss_step import compute_score_statistics, sum_terms
from ganzoo_core.engines.plan import Plan
from ganzoo_core.engines.torch import optimizers
from ganzoo_core.engines.torch.data import TrainingImages, to_resolution
from ganzoo_core.engines.torch.device import to_device
from ganzoo_core.engines.torch.forward import FakeBatch, RealBatch
from ganzoo_core.engines.torch.ops import BatchShare, TorchOps
from ganzoo_core.engines.torch.penalties import PenaltyCheck, fill_resting_gradients
from ganzoo_core.engines.torch.protocol import TrainingEngine
from ganzoo_core.engines.torch.state import (
    describe_trainer_state,
    list_buffer_names,
    read_trainer_state,
    restore_trainer_state,
)
from ganzoo_core.engines.torch.statistics import MeanAccumulator
from ganzoo_core.randomness import latents, philox, seed_for


class Trainer:
    """Train one generator against one discriminator on one set of images; see `engines.protocol.Trainer`.

    Beside what every trainer has:
    - several processes, of which each takes its rows of the batch and draws numbers of its own; gradients and the
      loss's memory are averaged before each optimizer step, see `process_group`;
    - forward and backward passes in bfloat16, with float32 weights, losses and optimizers, see `precision`;
    - a compiled step, which is compared with the uncompiled one first, see `compiled`;
    - images in a GPU's memory, in main memory, or read from a file in advance, see `data`.

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
        self.group, self.ops, self.rows = engine.group, engine.ops, slice(None)
        if self.group is not None:
            self.rows = self.group.select_rows(plan.batch_size)
            share = BatchShare(plan.batch_size, self.rows, torch.Generator(engine.device))
            self.ops = TorchOps(engine.device, share=share)
        self.resolution = 0  # of growing networks; 0 before the first step, and for other networks
        self.ema = self._make_ema() if plan.ema is not None else None
        self.declared_memory: Mapping[str, Memory] = read_initial_memory(loss)
        self.memory = {
            name: torch.tensor(each.initial, device=engine.device) for name, each in self.declared_memory.items()
        }
        self._start_optimizers()
        taken = {name: (conditions or {})[name] for name in plan.conditions}
        self.data = TrainingImages(images, labels if plan.conditional else None, engine, taken)
        self.reals = Stream(len(images), seed=plan.seed, purpose="data")
        self.g_reals = Stream(len(images), seed=plan.seed, purpose="data of the generator")
        self.statistics = MeanAccumulator(engine.device, self.group)

    @contextlib.contextmanager
    def _use_seed(self, purpose: str, *indices: int) -> Iterator[None]:
        """Seed PyTorch's random generators by (seed, purpose, indices), and by the rank in distributed training."""
        if self.group is not None:
            assert self.ops.share is not None
            self.ops.share.rng.manual_seed(seed_for(self.plan.seed, purpose, *indices))
            purpose = f"{purpose} of rank {self.group.rank.number}"
        with self.engine.use_seed(self.plan.seed, purpose, *indices):
            yield

    def step(self, step: int, images: int, values: Mapping[str, float]) -> None:
        """Train one step, after `step` steps and `images` real images, with the schedule's values."""
        plan = self.plan
        if "resolution" in values:
            self.grow(values)
        optimizers.set_learning_rates(self.g_optimizer, values, "lr_g", plan.optimizer.lr_g)
        optimizers.set_learning_rates(self.d_optimizer, values, "lr_d", plan.optimizer.lr_d)
        here = Round(step, images)
        if plan.updates == "simultaneous":
            self._train_simultaneously(here, values)
        else:
            for turn in range(plan.critic_steps):
                phase = self._train_discriminator(replace(here, is_first=turn == 0), turn, values)
            self._train_generator(here, values, phase if plan.reuses_fake else None)
        if self.ema is not None:
            self._update_ema(images + plan.images_per_step, values)
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
            former, self.ema = self.ema.state_dict(), self._make_ema()
            for name, tensor in self.ema.state_dict().items():
                if name in former:
                    tensor.copy_(former[name])
        self._start_optimizers()
        self.resolution = resolution

    def _start_optimizers(self) -> None:
        self.g_params = [parameter for parameter in self.G.parameters() if parameter.requires_grad]
        self.d_params = [parameter for parameter in self.D.parameters() if parameter.requires_grad]
        settings = self.plan.optimizer
        self.g_optimizer = optimizers.make_optimizer(self.g_params, settings, lr=settings.lr_g)
        self.d_optimizer = optimizers.make_optimizer(self.d_params, settings, lr=settings.lr_d)
        self._start_checks()
        self.generate, self.compute_terms = self.engine.step_functions(self)

    def _start_checks(self) -> None:
        self._checked, self.penalties = False, PenaltyCheck()

    def _make_ema(self) -> torch.nn.Module:
        return copy.deepcopy(self.G).eval().requires_grad_(False)

    def _train_discriminator(self, here: Round, turn: int, values: Mapping[str, float]) -> FakeBatch:
        plan = self.plan
        with self._use_seed("discriminator", here.step, turn):
            reals = self._load_reals(self.reals, here.images + turn * plan.batch_size, values)
            z = self._draw_latents("z", here.step, turn)
            # In the last turn G's phase may backpropagate through these images.
            with torch.set_grad_enabled(plan.reuses_fake and turn == plan.critic_steps - 1):
                fake = self.generate(z, reals.given, values)
            (terms,), scores = self.compute_terms(
                ("discriminator",), reals.images, fake.detach(), reals.given, z, values, here
            )
            self.penalties.check(terms, self.d_params, here)
            self._backward_and_step(terms, self.d_params, self.d_optimizer, here)
            self._clip_weights()
            self._record_terms("discriminator", terms, turns=plan.critic_steps)
            self._record_scores(scores)
        return FakeBatch(fake, reals.given, z, reals.images)

    def _train_generator(self, here: Round, values: Mapping[str, float], shared: FakeBatch | None) -> None:
        plan, step = self.plan, here.step
        with self._use_seed("generator", step):
            reals = None
            if plan.loads_generator_reals:
                # Reals from a separate stream; they do not count as images seen.
                reals = self._load_reals(self.g_reals, step * plan.batch_size, values)
            if shared is None:
                z, given = self._draw_latents("z of the generator", step), reals.given if reals is not None else {}
                shared = FakeBatch(self.generate(z, given, values), given, z)
            seen = None
            if plan.loss.same_real_in_generator_step:
                seen = shared.real
            elif plan.loss.real_in_generator_step and reals is not None:
                seen = reals.images
            (terms,), _ = self.compute_terms(("generator",), seen, shared.fake, shared.given, shared.z, values, here)
            self._backward_and_step(terms, self.g_params, self.g_optimizer, here)
            self._record_terms("generator", terms)

    def _train_simultaneously(self, here: Round, values: Mapping[str, float]) -> None:
        """Update both networks from losses at the same weights; D scores each batch once."""
        with self._use_seed("discriminator", here.step, 0):
            reals = self._load_reals(self.reals, here.images, values)
            z = self._draw_latents("z", here.step, 0)
            fake = self.generate(z, reals.given, values)
            (d_terms, g_terms), scores = self.compute_terms(
                ("discriminator", "generator"), reals.images, fake, reals.given, z, values, here
            )
            self.penalties.check(d_terms, self.d_params, here)
            self._backward(d_terms, self.d_params, self.d_optimizer, here, retain_graph=True)
            self._backward(g_terms, self.g_params, self.g_optimizer, here)
            self._average_gradients(self.d_params + self.g_params)
            self._step_optimizer(self.d_optimizer, self.d_params)
            self._step_optimizer(self.g_optimizer, self.g_params)
            self._clip_weights()
            self._record_terms("discriminator", d_terms)
            self._record_terms("generator", g_terms)
            self._record_scores(scores)

    def _load_reals(self, stream: Stream, position: int, values: Mapping[str, float]) -> RealBatch:
        size = self.plan.batch_size
        now, following = (stream.take_indices(start, size)[self.rows] for start in (position, position + size))
        reals = self.data.gather(now, following, values)
        return replace(reals, images=to_resolution(reals.images, values))

    def _draw_latents(self, purpose: str, *indices: int) -> torch.Tensor:
        plan = self.plan
        z = latents(philox(plan.seed, purpose, *indices), plan.batch_size, plan.latent_dim, plan.latent)
        return to_device(z[self.rows], self.engine.device)

    def _backward_and_step(
        self, terms: PhaseTerms, params: list[torch.Tensor], optimizer: torch.optim.Optimizer, here: Round
    ) -> None:
        self._backward(terms, params, optimizer, here)
        self._average_gradients(params)
        self._step_optimizer(optimizer, params)

    def _backward(
        self,
        terms: PhaseTerms,
        params: list[torch.Tensor],
        optimizer: torch.optim.Optimizer,
        here: Round,
        *,
        retain_graph: bool = False,
    ) -> None:
        total, rests = sum_terms(terms.terms), terms.rests(here)
        if total.requires_grad or not rests:
            # `inputs` keeps autograd from computing the other network's weight gradients.
            total.backward(inputs=params, retain_graph=retain_graph)
        if rests:
            fill_resting_gradients(params, optimizer)

    def _average_gradients(self, params: list[torch.Tensor]) -> None:
        """Average the gradients and the loss's memory over the processes, but what each keeps for itself."""
        if self.group is not None:
            gradients = [param.grad for param in params if param.grad is not None]
            shared = [self.memory[name] for name, each in self.declared_memory.items() if each.across == "mean"]
            self.group.all_reduce_mean([*gradients, *shared])

    def _step_optimizer(self, optimizer: torch.optim.Optimizer, params: list[torch.Tensor]) -> None:
        if not self._checked:
            optimizers.check_strides(params, {param: {"gradient": param.grad} for param in params})
        optimizer.step()
        if not self._checked:
            optimizers.check_strides(params, optimizer.state)
        optimizer.zero_grad(set_to_none=True)

    def _clip_weights(self) -> None:
        clip = self.plan.loss.weight_clip
        if clip is not None:
            with torch.no_grad():
                torch._foreach_clamp_min_(self.d_params, -clip)
                torch._foreach_clamp_max_(self.d_params, clip)

    def _update_ema(self, images: int, values: Mapping[str, float]) -> None:
        """Update the moving average of G's weights; copy buffers such as batch norm's."""
        assert self.ema is not None
        decay = compute_ema_decay(self.plan, images, values)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.G.parameters()), 1 - decay)
            for mean, buffer in zip(self.ema.buffers(), self.G.buffers(), strict=True):
                mean.copy_(buffer)

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
            self.ema = self._make_ema()

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
