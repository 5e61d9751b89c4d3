"""The adversarial step against loops written by hand, to the bit."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ganzoo_core as gz
from ganzoo_core.data.stream import Stream
from ganzoo_core.engines import Plan
from ganzoo_core.engines.torch import Engine
from ganzoo_core.randomness import latents, philox, seed_for

from ..plans import change, make_plan

BATCH, LATENT, SIZE = 8, 6, 8
IMAGES = np.random.default_rng(5).integers(0, 256, (37, SIZE, SIZE, 1), dtype=np.uint8)
SPEC = gz.Spec(height=SIZE, width=SIZE, channels=1, classes=0, latent_dim=LATENT, framework="torch")
PLAN = make_plan(seed=3, batch_size=BATCH, latent_dim=LATENT, lr_g=2e-3, lr_d=1e-3, decision=0.0, probability="sigmoid")


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    G = nn.Sequential(
        nn.Linear(LATENT, 64), nn.Unflatten(1, (16, 2, 2)), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    D = nn.Sequential(
        nn.Conv2d(1, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 1),
    )  # fmt: skip
    return G, D


class BCE:
    """The non-saturating loss, on `ops` as a plugin writes it."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        return {"adversarial": ops.mean(ops.softplus(-step.D(step.real))) + ops.mean(ops.softplus(step.D(step.fake)))}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.softplus(-step.D(step.fake)))}


@pytest.fixture
def engine() -> Engine:
    return Engine(device="cpu", threads=1)


def play(engine: Engine, plan: Plan, loss: Any, steps: int, nets: tuple[nn.Module, nn.Module], **values: float) -> Any:
    G, D = (net.to(memory_format=engine.memory_format) for net in copy.deepcopy(nets))
    trainer = engine.create_trainer(G, D, loss, plan, IMAGES, None)
    for step in range(steps):
        trainer.step(step, step * plan.images_per_step, values)
    return trainer


def real_batch(position: int, purpose: str = "data") -> torch.Tensor:
    order = Stream(len(IMAGES), seed=PLAN.seed, purpose=purpose).take_indices(position, BATCH)
    return (torch.from_numpy(IMAGES[order]).permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(
        memory_format=torch.channels_last
    )


def noise(*indices: Any) -> torch.Tensor:
    return torch.from_numpy(latents(philox(PLAN.seed, *indices), BATCH, LATENT, "normal"))


def equal(first: nn.Module, second: nn.Module) -> None:
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def by_hand(
    engine: Engine, steps: int, nets: tuple[nn.Module, nn.Module], round_: Callable[..., None]
) -> tuple[nn.Module, nn.Module]:
    G, D = (net.to(memory_format=torch.channels_last).train() for net in copy.deepcopy(nets))
    opt_g = torch.optim.Adam(
        G.parameters(), lr=PLAN.optimizer_g.lr, betas=PLAN.optimizer_g.betas, eps=PLAN.optimizer_g.adam_eps, fused=True
    )
    opt_d = torch.optim.Adam(
        D.parameters(), lr=PLAN.optimizer_d.lr, betas=PLAN.optimizer_g.betas, eps=PLAN.optimizer_g.adam_eps, fused=True
    )
    for step in range(steps):
        round_(G, D, opt_g, opt_d, step)
    return G, D


def test_alternating_steps_equal_a_loop_written_by_hand(engine: Engine) -> None:
    nets = networks()

    def round_(G: nn.Module, D: nn.Module, opt_g: Any, opt_d: Any, step: int) -> None:
        with engine.use_seed(PLAN.seed, "discriminator", step, 0):
            fake = G(noise("z", step, 0))
            loss = F.softplus(-D(real_batch(step * BATCH))[:, 0]).mean() + F.softplus(D(fake.detach())[:, 0]).mean()
            opt_d.zero_grad()
            loss.backward()
            opt_d.step()
        with engine.use_seed(PLAN.seed, "generator", step):
            opt_g.zero_grad()
            F.softplus(-D(fake)[:, 0]).mean().backward()
            opt_g.step()

    G, D = by_hand(engine, 12, nets, round_)
    trainer = play(engine, PLAN, BCE(), 12, nets)
    equal(trainer.G, G)
    equal(trainer.D, D)


def test_simultaneous_steps_score_the_fakes_once_with_the_old_weights(engine: Engine) -> None:
    nets = networks()

    def round_(G: nn.Module, D: nn.Module, opt_g: Any, opt_d: Any, step: int) -> None:
        with engine.use_seed(PLAN.seed, "discriminator", step, 0):
            fake = G(noise("z", step, 0))
            real_scores, fake_scores = D(real_batch(step * BATCH))[:, 0], D(fake)[:, 0]
            d_loss = F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()
            d_grads = torch.autograd.grad(d_loss, list(D.parameters()), retain_graph=True)
            F.softplus(-fake_scores).mean().backward(inputs=list(G.parameters()))
            for param, grad in zip(D.parameters(), d_grads, strict=True):
                param.grad = torch.empty_like(param).copy_(grad)
            opt_d.step()
            opt_g.step()
            opt_g.zero_grad()
            opt_d.zero_grad()

    G, D = by_hand(engine, 12, nets, round_)
    trainer = play(engine, change(PLAN, updates="simultaneous"), BCE(), 12, nets)
    equal(trainer.G, G)
    equal(trainer.D, D)


def test_critic_steps_take_fresh_reals_and_noise_each(engine: Engine) -> None:
    nets = networks()

    def round_(G: nn.Module, D: nn.Module, opt_g: Any, opt_d: Any, step: int) -> None:
        for turn in range(3):
            with engine.use_seed(PLAN.seed, "discriminator", step, turn):
                with torch.no_grad():
                    fake = G(noise("z", step, turn))
                real = real_batch((step * 3 + turn) * BATCH)
                opt_d.zero_grad()
                (F.softplus(-D(real)[:, 0]).mean() + F.softplus(D(fake)[:, 0]).mean()).backward()
                opt_d.step()
        with engine.use_seed(PLAN.seed, "generator", step):
            opt_g.zero_grad()
            F.softplus(-D(G(noise("z of the generator", step)))[:, 0]).mean().backward()
            opt_g.step()

    G, D = by_hand(engine, 5, nets, round_)
    plan = change(PLAN, critic_steps=3)
    assert plan.images_per_step == 3 * BATCH
    trainer = play(engine, plan, BCE(), 5, nets)
    equal(trainer.G, G)
    equal(trainer.D, D)


def test_a_round_leaves_the_global_random_state_alone(engine: Engine) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    play_nets = networks()
    torch.set_rng_state(before)
    play(engine, PLAN, BCE(), 2, play_nets)
    assert torch.equal(torch.get_rng_state(), before)


def test_reals_of_the_generator_come_from_their_own_stream(engine: Engine) -> None:
    seen: list[torch.Tensor] = []

    class Watching(BCE):
        def generator(self, step: gz.Step) -> Mapping[str, Any]:
            seen.append(step.real.clone())
            return super().generator(step)

    play(engine, change(PLAN, real_in_generator_step=True), Watching(), 2, networks())
    for step, real in enumerate(seen):
        assert torch.equal(real, real_batch(step * BATCH, "data of the generator"))


def test_the_generator_sees_no_reals_unless_the_loss_needs_them(engine: Engine) -> None:
    class Watching(BCE):
        def generator(self, step: gz.Step) -> Mapping[str, Any]:
            assert step.real is None
            return super().generator(step)

    play(engine, PLAN, Watching(), 1, networks())


@pytest.mark.parametrize("halflife", [4.0, 1000.0])
def test_the_moving_average_follows_its_formula(engine: Engine, halflife: float) -> None:
    nets = networks()
    plan = change(PLAN, halflife=int(halflife))
    expected = {name: value.clone().double() for name, value in nets[0].state_dict().items()}
    for step in range(1, 7):
        weights = play(engine, PLAN, BCE(), step, nets).G
        shortest = min(halflife, 0.05 * step * BATCH)
        decay = 0.5 ** (BATCH / shortest)
        names = {name for name, _ in weights.named_parameters()}
        for name, value in weights.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value.double() if name in names else value.double()
    ema = play(engine, plan, BCE(), 6, nets).inference_generator
    for name, value in ema.state_dict().items():
        assert torch.allclose(value.double(), expected[name], rtol=1e-5, atol=1e-7), name


def test_a_schedules_rates_win(engine: Engine) -> None:
    nets = networks()
    plan = change(PLAN, lr_g=0.5, lr_d=0.5)
    trainer = play(engine, plan, BCE(), 3, nets, lr_g=PLAN.optimizer_g.lr, lr_d=PLAN.optimizer_d.lr)
    equal(trainer.G, play(engine, PLAN, BCE(), 3, nets).G)


def test_clipping_follows_each_update_of_d(engine: Engine) -> None:
    trainer = play(engine, change(PLAN, weight_clip=0.01), BCE(), 2, networks())
    assert all(param.abs().max() <= 0.01 for param in trainer.D.parameters())
    assert any(param.abs().max() > 0.01 for param in trainer.G.parameters())


def test_statistics_are_means_over_the_steps(engine: Engine) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    class Watching(BCE):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            real, fake = step.D(step.real), step.D(step.fake)
            term = F.softplus(-real).mean() + F.softplus(fake).mean()
            seen.append((term.detach(), real.detach(), fake.detach()))
            return {"adversarial": term}

    trainer = play(engine, PLAN, Watching(), 4, networks())
    means = trainer.pop_means()
    assert means["discriminator/adversarial"] == pytest.approx(np.mean([float(term) for term, _, _ in seen]))
    assert means["discriminator/accuracy_real"] == pytest.approx(np.mean([(r > 0).numpy().mean() for _, r, _ in seen]))
    assert means["discriminator/accuracy_fake"] == pytest.approx(np.mean([(f <= 0).numpy().mean() for _, _, f in seen]))
    sigmoid = [1 / (1 + np.exp(-real.numpy())) for _, real, _ in seen]
    assert means["discriminator/probability_real"] == pytest.approx(np.mean(sigmoid), rel=1e-5)
    assert trainer.pop_means() == {}


def test_a_loss_without_a_decision_reports_no_accuracy(engine: Engine) -> None:
    trainer = play(engine, change(PLAN, decision=None, probability=None), BCE(), 1, networks())
    assert set(trainer.pop_means()) == {"discriminator/adversarial", "discriminator/separated", "generator/adversarial"}


def test_a_penalty_that_cannot_move_d_is_an_error(engine: Engine) -> None:
    class Cut(BCE):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            scores, gradient = step.ops.score_and_gradient(step.D, step.real)
            penalty = step.ops.mean(step.ops.square(step.ops.stop_gradient(gradient)))
            return {"adversarial": step.ops.mean(scores), "gradient_penalty": penalty}

    with pytest.raises(gz.PluginError, match="gradient_penalty has no gradient in the discriminator"):
        play(engine, PLAN, Cut(), 1, networks())


@pytest.mark.parametrize("answer", [None, {}, {"adversarial": 1.0}, {"adversarial": torch.zeros(3)}])
def test_a_loss_that_returns_something_else_is_named(engine: Engine, answer: Any) -> None:
    class Odd(BCE):
        def generator(self, step: gz.Step) -> Mapping[str, Any]:
            return answer

    with pytest.raises(gz.PluginError, match="Odd returned"):
        play(engine, PLAN, Odd(), 1, networks())


def test_simultaneous_relativistic_with_penalties_trains_the_generator(engine: Engine) -> None:
    """D's copies for the penalties lead no gradient to G: they must not be handed to its loss."""

    class WithR2(BCE):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            scores, gradient = step.ops.score_and_gradient(step.D, step.fake)
            return {"adversarial": step.ops.mean(scores), "r2_penalty": step.ops.mean(step.ops.square(gradient))}

    nets = networks()
    trainer = play(engine, change(PLAN, updates="simultaneous"), WithR2(), 1, nets)
    moved = [not torch.equal(a, b) for a, b in zip(trainer.G.parameters(), nets[0].parameters(), strict=True)]
    assert all(moved)


def test_moments_and_gradients_are_laid_out_as_their_parameters(engine: Engine) -> None:
    trainer = play(engine, PLAN, BCE(), 1, networks())
    conv = trainer.D[2].weight
    assert conv.is_contiguous(memory_format=torch.channels_last)
    assert trainer.d_optimizer.state[conv]["exp_avg"].stride() == conv.stride()


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(
    "shape", [(2, 3), (2, 3, 4), (2, 3, 4, 4), (2, 1, 4, 4), (2, 3, 1, 1), (2, 3, 2, 4, 4), (1, 2, 3, 2, 2, 2)]
)
def test_weights_and_buffers_of_any_number_of_axes_are_moved(shape: tuple[int, ...], channels_last: bool) -> None:
    """Only those of four axes have the layout of images: channels_last refuses five."""
    engine = Engine(device="cpu", channels_last=channels_last)
    values = torch.arange(float(math.prod(shape))).reshape(shape)

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(values.clone())
            self.register_buffer("mean", values.clone())

        def grow(self, resolution: int) -> None:
            self.late = nn.Parameter(values.clone())

    built = engine.build(Odd, spec=SPEC, slot="discriminator", seed=0)
    engine.grow(built, 8, slot="discriminator", seed=0)
    for tensor in (built.weight, built.mean, built.late):
        assert torch.equal(tensor, values)
        is_last = len(shape) == 4 and channels_last
        as_images = torch.channels_last if is_last else torch.contiguous_format
        # Strides, since axes of length 1 are contiguous whatever these are, and sums are added up in their order.
        assert tensor.stride() == values.to(memory_format=as_images).stride()


def test_a_seed_on_the_cpu_is_that_of_torch_and_traces_no_stack(monkeypatch):
    engine = Engine(device="cpu", threads=1)
    monkeypatch.setattr("traceback.format_stack", lambda *_: pytest.fail("each step would trace a stack for each GPU"))
    before = torch.get_rng_state()
    with engine.use_seed(3, "z", 5):
        drawn = torch.rand(4)
    assert torch.equal(torch.get_rng_state(), before)
    monkeypatch.undo()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(3, "z", 5))
        assert torch.equal(drawn, torch.rand(4))
