"""The adversarial step in PyTorch, in the order in which things happen."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from ganzoo_core.api import Loss, Step
from ganzoo_core.data.stream import Stream
from ganzoo_core.engines.ema import ema_decay
from ganzoo_core.engines.loss_step import (
    BoundDiscriminator,
    Memory,
    check_terms,
    idle_penalty,
    memory_of,
    score_statistics,
    total,
)
from ganzoo_core.engines.plan import Plan
from ganzoo_core.engines.torch import optimizers
from ganzoo_core.engines.torch.data import Resident, at_stage
from ganzoo_core.engines.torch.device import carried, scalar
from ganzoo_core.engines.torch.forward import Phase, as_keywords
from ganzoo_core.engines.torch.ops import Share, TorchOps
from ganzoo_core.engines.torch.protocol import TrainingEngine
from ganzoo_core.engines.torch.state import buffers_of, expected_of, restore, state_of
from ganzoo_core.engines.torch.statistics import Statistics
from ganzoo_core.randomness import latents, philox, seed_for


class Trainer:
    """The game of one generator and one discriminator on one set of images.

    `step(step, images, values)` plays one round: `critic_steps` updates of D, then one of G. All that it draws at
    random depends on the seed, the step and the critic's turn alone.

    Where several processes train together, each takes its rows of the batch that one process would have, and the
    gradients are averaged before an optimizer steps; see `process_group`.
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
        self.engine, self.G, self.D, self.loss, self.plan = engine, G.train(), D.train(), loss, plan
        self.group, self.ops, self.rows = engine.group, engine.ops, slice(None)
        if self.group is not None:
            self.rows = self.group.rows(plan.batch_size)
            share = Share(plan.batch_size, self.rows, torch.Generator(engine.device))
            self.ops = TorchOps(engine.device, share=share)
        self.resolution = 0  # that the networks were grown to; 0 before the first step, and for those that do not grow
        self.ema = self._averaged() if plan.ema_halflife is not None else None
        self._start_optimizers()
        self.memory = {name: torch.tensor(value, device=engine.device) for name, value in memory_of(loss).items()}
        self.data = Resident(images, labels if plan.conditional else None, engine)
        self.reals = Stream(len(images), seed=plan.seed, purpose="data")
        self.g_reals = Stream(len(images), seed=plan.seed, purpose="data of the generator")
        self.statistics = Statistics(engine.device, self.group)

    @contextlib.contextmanager
    def _seeded(self, purpose: str, *indices: int) -> Iterator[None]:
        """PyTorch's generators start from (seed, purpose, indices), and from the rank where there are several."""
        if self.group is not None:
            assert self.ops.share is not None
            self.ops.share.generator.manual_seed(seed_for(self.plan.seed, purpose, *indices))
            purpose = f"{purpose} of rank {self.group.place.rank}"
        with self.engine.seeded(self.plan.seed, purpose, *indices):
            yield

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
        optimizers.set_rates(self.g_optimizer, values, "lr_g", plan.lr_g)
        optimizers.set_rates(self.d_optimizer, values, "lr_d", plan.lr_d)
        if plan.updates == "simultaneous":
            self._simultaneous(step, images, values)
        else:
            for turn in range(plan.critic_steps):
                phase = self._discriminator_phase(step, turn, images + turn * plan.batch_size, values)
            self._generator_phase(step, values, phase if plan.shares_fake else None)
        if self.ema is not None:
            self._average(images + plan.step_images, values)
        self._checked = True

    def grow(self, values: Mapping[str, float]) -> None:
        """Add what both networks need for this `resolution`; both optimizers start anew, without moments."""
        resolution = int(values["resolution"])
        if resolution == self.resolution:
            return
        for slot, network in (("generator", self.G), ("discriminator", self.D)):
            self.engine.grow(network, resolution, slot=slot, seed=self.plan.seed)
            network.train()
        if self.ema is not None:
            former, self.ema = self.ema.state_dict(), self._averaged()
            for name, tensor in self.ema.state_dict().items():
                if name in former:
                    tensor.copy_(former[name])
        self._start_optimizers()
        self.resolution = resolution

    def _start_optimizers(self) -> None:
        self.g_params = [parameter for parameter in self.G.parameters() if parameter.requires_grad]
        self.d_params = [parameter for parameter in self.D.parameters() if parameter.requires_grad]
        self.g_optimizer = optimizers.made(self.g_params, self.plan, lr=self.plan.lr_g)
        self.d_optimizer = optimizers.made(self.d_params, self.plan, lr=self.plan.lr_d)
        self._checked = False
        self.generate, self.terms = self.engine.played(self)

    def _averaged(self) -> torch.nn.Module:
        return copy.deepcopy(self.G).eval().requires_grad_(False)

    def _discriminator_phase(self, step: int, turn: int, position: int, values: Mapping[str, float]) -> Phase:
        plan = self.plan
        with self._seeded("discriminator", step, turn):
            real, labels = self._reals(self.reals, position, values)
            z = self._latents("z", step, turn)
            with torch.set_grad_enabled(plan.shares_fake):  # G's phase differentiates the same images
                fake = self.generate(z, labels, values)
            (terms,), scores = self.terms(("discriminator",), real, fake.detach(), labels, z, values)
            self._check_penalties(terms)
            self._descend(terms, self.d_params, self.d_optimizer)
            self._clip()
            self._record("discriminator", terms)
            self._record_scores(scores)
        return Phase(fake, labels, z)

    def _generator_phase(self, step: int, values: Mapping[str, float], shared: Phase | None) -> None:
        plan = self.plan
        with self._seeded("generator", step):
            real = labels = None
            if plan.real_in_generator_step or (plan.conditional and shared is None):
                # Fresh reals from a stream of their own, which do not count as seen.
                real, labels = self._reals(self.g_reals, step * plan.batch_size, values)
            if shared is None:
                z = self._latents("z of the generator", step)
                shared = Phase(self.generate(z, labels, values), labels, z)
            shown = real if plan.real_in_generator_step else None
            (terms,), _ = self.terms(("generator",), shown, shared.fake, shared.labels, shared.z, values)
            self._descend(terms, self.g_params, self.g_optimizer)
            self._record("generator", terms)

    def _simultaneous(self, step: int, images: int, values: Mapping[str, float]) -> None:
        """Both losses see the same weights; D scores each batch once."""
        with self._seeded("discriminator", step, 0):
            real, labels = self._reals(self.reals, images, values)
            z = self._latents("z", step, 0)
            fake = self.generate(z, labels, values)
            (d_terms, g_terms), scores = self.terms(("discriminator", "generator"), real, fake, labels, z, values)
            self._check_penalties(d_terms)
            total(d_terms).backward(inputs=self.d_params, retain_graph=True)
            total(g_terms).backward(inputs=self.g_params)
            self._share(self.d_params + self.g_params)
            self._apply(self.d_optimizer, self.d_params)
            self._apply(self.g_optimizer, self.g_params)
            self._clip()
            self._record("discriminator", d_terms)
            self._record("generator", g_terms)
            self._record_scores(scores)

    def _reals(self, stream: Stream, position: int, values: Mapping[str, float]) -> tuple[Any, Any]:
        size = self.plan.batch_size
        now, following = (stream.indices(place, size)[self.rows] for place in (position, position + size))
        real, labels = self.data.gather(now, following)
        return at_stage(real, values), labels

    def _terms(
        self, phases: tuple[str, ...], real: Any, fake: Any, labels: Any, z: Any, values: Mapping[str, Any]
    ) -> tuple[list[Mapping[str, Any]], dict[str, torch.Tensor]]:
        """What the loss says in each of these phases, and D's scores; of several phases D scores each batch once."""
        D, view = self._view(real, fake, labels, z, values, share=len(phases) > 1)
        terms = [check_terms(getattr(self.loss, phase)(view), self.loss, phase) for phase in phases]
        return terms, D.scores()

    def _view(
        self, real: Any, fake: Any, labels: Any, z: Any, values: Mapping[str, float], *, share: bool = False
    ) -> tuple[BoundDiscriminator, Step]:
        extra = () if labels is None else (labels,)
        keywords = self._keywords(values, self.plan.takes_d)
        D = BoundDiscriminator(
            lambda x: self.engine.forward(self.D, x, *extra, **keywords), real=real, fake=fake, share=share
        )
        memory = Memory(lambda name: self.memory[name].clone(), self._remember, self.memory)
        step = Step(D, lambda z: self._generate(z, labels, values), real, fake, labels, z, values, self.ops, memory)
        return D, step

    def _remember(self, name: str, value: torch.Tensor) -> None:
        self.memory[name].copy_(scalar(value, self.engine.device).detach())

    def _generate(self, z: torch.Tensor, labels: torch.Tensor | None, values: Mapping[str, Any]) -> torch.Tensor:
        extra = () if labels is None else (labels,)
        result: torch.Tensor = self.engine.forward(self.G, z, *extra, **self._keywords(values, self.plan.takes_g))
        return result

    def _keywords(self, values: Mapping[str, float], takes: tuple[str, ...]) -> dict[str, Any]:
        return as_keywords({name: values[name] for name in takes if name in values}, self.engine.device)

    def _latents(self, purpose: str, *indices: int) -> torch.Tensor:
        plan = self.plan
        z = latents(philox(plan.seed, purpose, *indices), plan.batch_size, plan.latent_dim, plan.latent)
        return carried(z[self.rows], self.engine.device)

    def _descend(self, terms: Mapping[str, Any], params: list[torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
        # `inputs` keeps autograd from computing the other network's weight gradients.
        total(terms).backward(inputs=params)
        self._share(params)
        self._apply(optimizer, params)

    def _share(self, params: list[torch.Tensor]) -> None:
        """Average the gradients over the processes, and what the loss remembers with them."""
        if self.group is not None:
            gradients = [param.grad for param in params if param.grad is not None]
            self.group.average([*gradients, *self.memory.values()])

    def _apply(self, optimizer: torch.optim.Optimizer, params: list[torch.Tensor]) -> None:
        if not self._checked:
            optimizers.check_strides(params, {param: {"gradient": param.grad} for param in params})
        optimizer.step()
        if not self._checked:
            optimizers.check_strides(params, optimizer.state)
        optimizer.zero_grad(set_to_none=True)

    def _clip(self) -> None:
        if self.plan.clip is not None:
            with torch.no_grad():
                torch._foreach_clamp_min_(self.d_params, -self.plan.clip)
                torch._foreach_clamp_max_(self.d_params, self.plan.clip)

    def _average(self, images: int, values: Mapping[str, float]) -> None:
        """Move the average of G's weights towards them; buffers such as batch norm's are copied."""
        assert self.ema is not None
        decay = ema_decay(self.plan, images, values)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.G.parameters()), 1 - decay)
            for mean, buffer in zip(self.ema.buffers(), self.G.buffers(), strict=True):
                mean.copy_(buffer)

    def _check_penalties(self, terms: Mapping[str, Any]) -> None:
        """At the first step: a penalty must be able to move D."""
        if self._checked:
            return
        for name, term in terms.items():
            if not name.endswith("penalty"):
                continue
            gradients: tuple[torch.Tensor | None, ...] = (None,)
            if term.requires_grad:
                gradients = torch.autograd.grad(term, self.d_params, retain_graph=True, allow_unused=True)
            if all(gradient is None for gradient in gradients):
                raise idle_penalty(name)

    def _record(self, network: str, terms: Mapping[str, Any]) -> None:
        for name, term in terms.items():
            self.statistics.add(f"{network}/{name}", term.detach())

    def _record_scores(self, scores: Mapping[str, torch.Tensor]) -> None:
        detached = {name: score.detach() for name, score in scores.items()}
        for name, value in score_statistics(detached, self.plan, self.engine.ops).items():
            self.statistics.add(name, value)

    def read(self) -> dict[str, float]:
        """The mean of every term since the last call; empties them."""
        return self.statistics.read()

    def state(self) -> dict[str, np.ndarray]:
        """All that the next step depends on beside its position, by name.

        Raises:
            RankError: if several processes train together and their weights differ.
        """
        found = state_of(self)
        if self.group is not None:
            own = buffers_of(self)
            self.group.check_alike({name: found[name] for name in found if name not in own})
        return found

    def expected_state(self) -> tuple[dict[str, tuple[str, tuple[int, ...]]], set[str]]:
        """Name -> dtype and shape of what `restore` takes, and the names that may be missing."""
        return expected_of(self)

    def restore(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Put back what `state` gave; the networks were grown to what they were then."""
        restore(self, tensors)
        self._checked = False

    def follow_weights(self) -> None:
        """After the networks' weights were replaced: the moving average starts from them."""
        if self.ema is not None:
            self.ema = self._averaged()

    def pending(self) -> list[Any]:
        """What `read` would take the means of, as numbers that JSON keeps exactly."""
        return self.statistics.pending()

    def restore_pending(self, pending: list[Any]) -> None:
        """Put back what `pending` gave."""
        self.statistics.restore(pending)

    @property
    def best_generator(self) -> Any:
        """What samples are drawn from and what is saved: the moving average where there is one."""
        return self.G if self.ema is None else self.ema
