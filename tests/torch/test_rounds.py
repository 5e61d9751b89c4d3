"""`step.step`, `step.images`, `step.every` and `step.log` in PyTorch, against loops written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ganzoo_core as gz
from ganzoo_core.engines.torch import Engine

from ..plans import change
from ..small_losses import BCE, GAMMA, Counting, DeadPenalty, LazyMean, LazyR1, LoggedRound, SignLog
from .test_trainer import BATCH, PLAN, by_hand, equal, networks, noise, play, real_batch


@pytest.fixture
def engine() -> Engine:
    return Engine(device="cpu", threads=1)


def r1(D: nn.Module, real: torch.Tensor) -> torch.Tensor:
    leaf = real.clone(memory_format=torch.preserve_format).requires_grad_(True)
    (gradient,) = torch.autograd.grad(D(leaf).sum(), leaf, create_graph=True)
    return 0.5 * GAMMA * gradient.square().sum(dim=(1, 2, 3)).mean()


def d_loss(D: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return F.softplus(-D(real)[:, 0]).mean() + F.softplus(D(fake)[:, 0]).mean()


@pytest.mark.parametrize("critic_steps", [1, 3])
def test_a_lazy_penalty_is_n_times_the_penalty_in_every_nth_round(engine: Engine, critic_steps: int) -> None:
    nets, penalties = networks(), []

    def round_(G: nn.Module, D: nn.Module, opt_g: Any, opt_d: Any, step: int) -> None:
        for turn in range(critic_steps):
            with engine.use_seed(PLAN.seed, "discriminator", step, turn):
                with torch.set_grad_enabled(critic_steps == 1):
                    fake = G(noise("z", step, turn))
                real = real_batch((step * critic_steps + turn) * BATCH)
                loss = d_loss(D, real, fake.detach())
                if step % 4 == 0 and turn == 0:
                    penalties.append(4 * r1(D, real))
                    loss = loss + penalties[-1]
                opt_d.zero_grad()
                loss.backward()
                opt_d.step()
        with engine.use_seed(PLAN.seed, "generator", step):
            opt_g.zero_grad()
            z = noise("z of the generator", step)
            F.softplus(-D(fake if critic_steps == 1 else G(z))[:, 0]).mean().backward()
            opt_g.step()

    G, D = by_hand(engine, 10, nets, round_)
    trainer = play(engine, change(PLAN, critic_steps=critic_steps), LazyR1(4), 10, nets)
    equal(trainer.G, G)
    equal(trainer.D, D)
    assert len(penalties) == 3
    means = trainer.pop_means()
    # Over the rounds, not over D's updates, of which there are three times as many.
    assert means["discriminator/r1_penalty"] == pytest.approx(
        sum(penalty.item() for penalty in penalties) / 10, rel=1e-5
    )


def test_a_lazy_term_of_the_generator_is_due_with_the_round(engine: Engine) -> None:
    nets = networks()

    def round_(G: nn.Module, D: nn.Module, opt_g: Any, opt_d: Any, step: int) -> None:
        with engine.use_seed(PLAN.seed, "discriminator", step, 0):
            fake = G(noise("z", step, 0))
            loss = d_loss(D, real_batch(step * BATCH), fake.detach())
            opt_d.zero_grad()
            loss.backward()
            opt_d.step()
        with engine.use_seed(PLAN.seed, "generator", step):
            opt_g.zero_grad()
            loss = F.softplus(-D(fake)[:, 0]).mean()
            (loss + 3 * fake.mean() if step % 3 == 0 else loss).backward()
            opt_g.step()

    G, D = by_hand(engine, 7, nets, round_)
    trainer = play(engine, PLAN, LazyMean(3), 7, nets)
    equal(trainer.G, G)
    equal(trainer.D, D)


def test_simultaneous_updates_have_lazy_terms(engine: Engine) -> None:
    """With n = 1 it is no other than the term itself, whose scores are asked for apart from the loss's."""

    class Always(LazyR1):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            terms = dict(BCE.discriminator(self, step))
            _, gradient = step.ops.score_and_gradient(step.D, step.real)
            square = step.ops.mean(step.ops.sum_per_sample(step.ops.square(gradient)))
            return {**terms, "r1_penalty": 0.5 * GAMMA * square}

    nets, plan = networks(), change(PLAN, updates="simultaneous")
    always, lazy = (play(engine, plan, loss(1), 3, nets) for loss in (Always, LazyR1))
    equal(always.D, lazy.D)
    assert always.pop_means() == lazy.pop_means()


def test_a_head_that_only_a_resting_term_reaches_goes_on_by_its_moments(engine: Engine) -> None:
    """As where the term is computed in each round and multiplied by 0: Adam's moments decay and move it."""

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scores, self.classes = nn.Linear(64, 1), nn.Linear(64, 3)

        def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            rows = images.flatten(1)
            return {"scores": self.scores(rows), "classes": self.classes(rows)}

    class LazyClasses(BCE):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            def term() -> Any:
                return step.ops.mean(step.ops.square(step.D.outputs(step.real)["classes"]))

            return {**super().discriminator(step), "classes": self.weigh(step, term)}

        def weigh(self, step: gz.Step, term: Any) -> Any:
            return step.every(4, term)

    class ByFactor(LazyClasses):
        def weigh(self, step: gz.Step, term: Any) -> Any:
            return (4 if step.step % 4 == 0 else 0) * term()

    nets = networks()[0], Heads()
    equal(play(engine, PLAN, LazyClasses(), 6, nets).D, play(engine, PLAN, ByFactor(), 6, nets).D)


def test_a_network_whose_only_term_rests_stays_in_training(engine: Engine) -> None:
    class Rare(BCE):
        def generator(self, step: gz.Step) -> Mapping[str, Any]:
            return {"adversarial": step.every(2, lambda: BCE.generator(self, step)["adversarial"])}

    trainer = play(engine, PLAN, Rare(), 4, networks())
    assert int(next(iter(trainer.g_optimizer.state.values()))["step"]) == 4


def test_counts_are_exact(engine: Engine) -> None:
    trainer = engine.create_trainer(*networks(), Counting(), PLAN, np.zeros((8, 8, 8, 1), np.uint8), None)
    trainer.step(2**24 + 1, 2**24 * 8 + 3, {})
    means = trainer.pop_means()
    assert means["discriminator/step"] == (2**24 + 1) % 1000
    assert means["generator/images"] == (2**24 * 8 + 3) % 1000


def test_a_log_is_reported_and_not_minimised(engine: Engine) -> None:
    nets = networks()
    logged, plain = play(engine, PLAN, SignLog(), 4, nets), play(engine, PLAN, BCE(), 4, nets)
    equal(logged.D, plain.D)
    means = logged.pop_means()
    accuracy = means["discriminator/accuracy_real"]
    assert means["discriminator/sign"] == pytest.approx(2 * accuracy - 1)
    assert {name: value for name, value in means.items() if name != "discriminator/sign"} == plain.pop_means()


@pytest.mark.parametrize("critic_steps", [1, 3])
def test_a_lazy_log_is_the_mean_over_rounds(engine: Engine, critic_steps: int) -> None:
    trainer = play(engine, change(PLAN, critic_steps=critic_steps), LoggedRound(), 4, networks())
    assert trainer.pop_means()["discriminator/three"] == pytest.approx(3)  # 6, 0, 6, 0


def test_a_penalty_that_rests_after_a_resume_is_checked_when_it_is_due(engine: Engine) -> None:
    started = play(engine, PLAN, LazyR1(4), 1, networks())
    trainer = engine.create_trainer(*networks(), DeadPenalty(4), PLAN, started.batches.data.images, None)
    trainer.restore_state(started.read_state())
    for step in (1, 2, 3):
        trainer.step(step, step * BATCH, {})
    with pytest.raises(gz.PluginError, match="r1_penalty has no gradient in the discriminator"):
        trainer.step(4, 4 * BATCH, {})
    with pytest.raises(gz.PluginError, match="r1_penalty has no gradient"):
        play(engine, PLAN, DeadPenalty(4), 1, networks())
