"""`step.weights`, `ops.value_and_gradient` and what picks rows, in training with PyTorch, against loops by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ganzoo_core as gz
from ganzoo_core.engines.torch import Engine

from ..small_losses import BCE, PathLength, Pool, WeightPenalty
from .test_trainer import BATCH, PLAN, SIZE, by_hand, equal, networks, noise, play, real_batch

POOL = 20


@pytest.fixture
def engine() -> Engine:
    return Engine(device="cpu", threads=1)


def descend(optimizer: Any, loss: torch.Tensor, network: nn.Module) -> None:
    optimizer.zero_grad()
    loss.backward(inputs=list(network.parameters()))
    optimizer.step()


def d_loss(D: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return F.softplus(-D(real)[:, 0]).mean() + F.softplus(D(fake.detach())[:, 0]).mean()


def test_weights_can_be_penalised(engine: Engine) -> None:
    nets = networks()

    def half_squares(network: nn.Module) -> torch.Tensor:
        return 0.5 * sum(weight.square().sum() for weight in network.parameters())

    def round_(G: nn.Module, D: nn.Module, opt_g: Any, opt_d: Any, step: int) -> None:
        with engine.use_seed(PLAN.seed, "discriminator", step, 0):
            fake = G(noise("z", step, 0))
            loss = d_loss(D, real_batch(step * BATCH), fake) + half_squares(D) + half_squares(G)
            descend(opt_d, loss, D)
        with engine.use_seed(PLAN.seed, "generator", step):
            descend(opt_g, F.softplus(-D(fake)[:, 0]).mean(), G)

    G, D = by_hand(engine, 3, nets, round_)
    trainer = play(engine, PLAN, WeightPenalty(), 3, nets)
    equal(trainer.G, G)
    equal(trainer.D, D)


def test_weights_are_those_that_the_network_learns(engine: Engine) -> None:
    found: dict[str, Any] = {}

    class Reading(BCE):
        def generator(self, step: gz.Step) -> Any:
            found.update(step.weights("discriminator"))
            with pytest.raises(gz.PluginError, match=r"weights of 'critic'; expected .generator. or "):
                step.weights("critic")  # type: ignore[arg-type]
            return super().generator(step)

    nets = networks()
    nets[1][0].bias.requires_grad_(False)
    trainer = play(engine, PLAN, Reading(), 1, nets)
    expected = {name: weight for name, weight in trainer.D.named_parameters() if name != "0.bias"}
    assert found.keys() == expected.keys()
    assert all(found[name] is expected[name] for name in found)


def test_path_lengths_reach_the_generator(engine: Engine) -> None:
    nets, mean = networks(), torch.tensor(0.0)

    def round_(G: nn.Module, D: nn.Module, opt_g: Any, opt_d: Any, step: int) -> None:
        nonlocal mean
        with engine.use_seed(PLAN.seed, "discriminator", step, 0):
            z = noise("z", step, 0)
            fake = G(z)
            descend(opt_d, d_loss(D, real_batch(step * BATCH), fake), D)
        with engine.use_seed(PLAN.seed, "generator", step):
            loss = F.softplus(-D(fake)[:, 0]).mean()
            if step % 2 == 0:
                leaf = z.clone().requires_grad_(True)
                (gradient,) = torch.autograd.grad((G(leaf) * fake).sum(), leaf, create_graph=True)
                lengths = gradient.square().sum(dim=1).sqrt()
                average = 0.99 * mean + 0.01 * lengths.mean()
                mean = average.detach()
                loss = loss + 2 * (lengths - mean).square().mean()
            descend(opt_g, loss, G)

    G, D = by_hand(engine, 5, nets, round_)
    trainer = play(engine, PLAN, PathLength(), 5, nets)
    equal(trainer.G, G)
    equal(trainer.D, D)
    assert torch.equal(trainer.memory["length"], mean)


def test_a_pool_of_past_images_is_drawn_from(engine: Engine) -> None:
    nets, pool, seen = networks(), torch.zeros(POOL, 1, SIZE, SIZE), []

    def round_(G: nn.Module, D: nn.Module, opt_g: Any, opt_d: Any, step: int) -> None:
        nonlocal pool
        with engine.use_seed(PLAN.seed, "discriminator", step, 0):
            fake = G(noise("z", step, 0))
            places, chances = torch.rand(BATCH), torch.rand(BATCH)
            shown = fake.detach().clone()
            for row in range(BATCH):
                if chances[row] < 0.5:
                    shown[row] = pool[int(places[row] * POOL)]
            seen.append(int((chances < 0.5).sum()))
            pool = torch.cat([fake.detach(), pool])[:POOL]
            scores = D(shown)[:, 0]  # before the reals, as the loss asks
            descend(opt_d, F.softplus(-D(real_batch(step * BATCH))[:, 0]).mean() + F.softplus(scores).mean(), D)
        with engine.use_seed(PLAN.seed, "generator", step):
            descend(opt_g, F.softplus(-D(fake)[:, 0]).mean(), G)

    G, D = by_hand(engine, 5, nets, round_)
    trainer = play(engine, PLAN, Pool((1, SIZE, SIZE), POOL), 5, nets)
    equal(trainer.G, G)
    equal(trainer.D, D)
    assert torch.equal(trainer.memory["pool"], pool)
    assert min(seen) < BATCH > max(seen) > 0
    assert "discriminator/accuracy_fake" in trainer.pop_means()
