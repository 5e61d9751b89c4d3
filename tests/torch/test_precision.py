"""bfloat16: where it is refused, what stays float32, and that it trains like float32 but for its rounding."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

import ganzoo_core as gz
from ganzoo_core.engines import Plan
from ganzoo_core.engines.torch import Engine, precision
from ganzoo_core.runs import facts
from ganzoo_core.training import resuming

from ..plans import change, make_plan
from ..small_losses import make_everything

BATCH, LATENT, SIZE = 8, 6, 8
IMAGES = np.random.default_rng(5).integers(0, 256, (37, SIZE, SIZE, 1), dtype=np.uint8)
PLAN = make_plan(
    seed=3, batch_size=BATCH, latent_dim=LATENT, lr_g=2e-3, lr_d=1e-3, decision=0.0, probability="sigmoid", halflife=100
)
SEEN: list[tuple[str, torch.dtype, bool]] = []  # what the networks computed in: name, dtype, whether under autocast


class Watched(nn.Module):
    """A convolution that says what it computed in."""

    def __init__(self, name: str, layer: nn.Module) -> None:
        super().__init__()
        self.name, self.layer = name, layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.layer(x)
        SEEN.append((self.name, out.dtype, torch.is_autocast_enabled("cpu")))
        return out


class Telling(nn.Module):
    """A parametrization that says whether autocast is on where a weight is computed."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        SEEN.append(("weight", weight.dtype, torch.is_autocast_enabled("cpu")))
        return weight * 1.0


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    G = nn.Sequential(
        nn.Linear(LATENT, 64), nn.Unflatten(1, (16, 2, 2)), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(), Watched("G", nn.ConvTranspose2d(8, 1, 4, 2, 1)), nn.Tanh(),
    )  # fmt: skip
    D = nn.Sequential(
        Watched("D", spectral_norm(nn.Conv2d(1, 8, 4, 2, 1))), nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(8, 16, 4, 2, 1)), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(64, 1),
    )  # fmt: skip
    return G, D


class Penalised:
    """WGAN-GP and R1 at once: D is differentiated by its images, and that by its weights."""

    def __init__(self) -> None:
        self.types: set[torch.dtype] = set()

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, gradient = ops.score_and_gradient(step.D, step.real)
        epsilon = ops.uniform((step.real.shape[0], 1, 1, 1))
        _, between = ops.score_and_gradient(step.D, ops.lerp(step.fake, step.real, epsilon))
        fake = step.D(step.fake)
        self.types |= {x.dtype for x in (real, fake, gradient, between, step.real, step.fake)}
        norm = ops.sqrt(ops.sum_per_sample(ops.square(between)) + 1e-12)
        return {
            "adversarial": ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake)),
            "r1_penalty": ops.mean(ops.sum_per_sample(ops.square(gradient))),
            "gradient_penalty": 10.0 * ops.mean(ops.square(norm - 1.0)),
        }

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.softplus(-step.D(step.fake)))}


needs_bfloat16 = pytest.mark.skipif(
    bool(precision._describe_missing_support(torch.device("cpu"))), reason="this processor would emulate bfloat16"
)


def play(kind: str, plan: Plan = PLAN, steps: int = 4, loss: Any = None) -> tuple[Any, Any]:
    SEEN.clear()
    engine, loss = Engine(device="cpu", threads=1, precision=kind), loss or Penalised()
    G, D = (network.to(memory_format=engine.memory_format) for network in networks())
    trainer = engine.create_trainer(G, D, loss, plan, IMAGES, None)
    for step in range(steps):
        trainer.step(step, step * plan.images_per_step, {})
    return trainer, loss


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"architecture": "x86_64", "avx2": True, "avx512_f": True}, "neither AVX-512 BF16 nor AMX"),
        ({"architecture": "arm64", "neon": True, "bf16": False}, "no BF16 extension"),
        ({}, "neither AVX-512 BF16 nor AMX"),
    ],
)
def test_a_processor_that_would_emulate_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr(precision, "read_cpu_capabilities", lambda: known)
    with pytest.raises(gz.UsageError, match=f"{words}.*44 to 499 times slower"):
        play("bfloat16", steps=0)
    play("float32", steps=0)  # which asks nothing of the processor


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16", "bf16", "sve_bf16"])
def test_a_processor_that_has_it_is_not(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(precision, "read_cpu_capabilities", lambda: {name: True})
    precision.check_precision(torch.device("cpu"), "bfloat16")


def test_an_older_torch_is_helped_out_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = precision.read_cpu_capabilities()
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    told = precision.read_cpu_capabilities()
    assert set(told) == {"avx512_bf16", "amx_bf16", "bf16", "sve_bf16", "architecture"}
    names = set(told) - {"architecture"}
    assert all(told[name] == bool(asked.get(name)) for name in names if any(told[name] for name in names))


@needs_bfloat16
def test_networks_compute_in_bfloat16_and_all_that_is_kept_or_summed_is_float32() -> None:
    trainer, loss = play("bfloat16")
    assert {name: dtype for name, dtype, _ in SEEN} == {"G": torch.bfloat16, "D": torch.bfloat16}
    assert loss.types == {torch.float32}
    kept = [*trainer.G.state_dict().values(), *trainer.D.state_dict().values(), *trainer.ema.state_dict().values()]
    moments = [value for state in trainer.d_optimizer.state.values() for value in state.values()]
    assert {tensor.dtype for tensor in (*kept, *moments) if tensor.is_floating_point()} == {torch.float32}
    assert all(np.isfinite(value) for value in trainer.pop_means().values())


@needs_bfloat16
@pytest.mark.parametrize("plan", [PLAN, change(PLAN, updates="simultaneous"), change(PLAN, critic_steps=2)])
def test_it_trains_as_float32_does_but_for_its_rounding(plan: Plan) -> None:
    """bfloat16 keeps 8 bits of a number, so that a sum of rounded ones is off by under a hundredth or so."""
    plan = change(plan, optimizer="sgd", lr_g=0.05, lr_d=0.05)
    start = networks()
    half, whole = play("bfloat16", plan)[0], play("float32", plan)[0]
    for first, second, before in ((half.G, whole.G, start[0]), (half.D, whole.D, start[1])):
        way = [(b - c).flatten() for b, c in zip(second.parameters(), before.parameters(), strict=True)]
        apart = [(a - b).flatten() for a, b in zip(first.parameters(), second.parameters(), strict=True)]
        assert 0 < torch.cat(apart).norm() < 0.1 * torch.cat(way).norm()
    expected = whole.pop_means()
    assert half.pop_means() == pytest.approx(expected, rel=0.05, abs=0.1)


@needs_bfloat16
def test_what_rests_and_is_remembered_is_as_in_float32() -> None:
    plan = change(PLAN, optimizer="sgd", lr_g=0.05, lr_d=0.05)
    half, whole = (play(kind, plan, loss=make_everything((1, 8, 8), 8))[0] for kind in ("bfloat16", "float32"))
    assert half.pop_means() == pytest.approx(whole.pop_means(), rel=0.05, abs=0.1)
    for name, kept in half.memory.items():
        assert kept.dtype == whole.memory[name].dtype
        torch.testing.assert_close(kept, whole.memory[name], rtol=0.05, atol=0.1)


@needs_bfloat16
def test_images_are_drawn_and_scored_in_float32() -> None:
    """So that a saved generator gives the same bytes on a machine that has no bfloat16."""
    trainer, _ = play("bfloat16", steps=1)
    plain = Engine(device="cpu", threads=1)
    z = np.random.default_rng(1).standard_normal((5, LATENT)).astype(np.float32)
    SEEN.clear()
    drawn = trainer.engine.draw(trainer.ema, z, None, {})
    scores = trainer.engine.score_images(trainer.D, IMAGES[:5], None, {})
    assert {dtype for _, dtype, _ in SEEN} == {torch.float32}
    assert np.array_equal(drawn, plain.draw(trainer.ema, z, None, {}))
    assert np.array_equal(scores, plain.score_images(trainer.D, IMAGES[:5], None, {}))


@needs_bfloat16
def test_weights_that_are_computed_from_others_are_so_in_float32() -> None:
    network = nn.Sequential(Watched("D", nn.Conv2d(1, 2, 3)))
    nn.utils.parametrize.register_parametrization(network[0].layer, "weight", Telling())
    precision.keep_parametrizations_in_float32(network)
    copied = copy.deepcopy(network)
    SEEN.clear()
    precision.forward_in_bfloat16(copied, torch.device("cpu"), torch.ones(1, 1, 4, 4), {})
    assert [("weight", torch.float32, False), ("D", torch.bfloat16, True)] == SEEN


@needs_bfloat16
def test_the_same_seed_gives_the_same_bytes() -> None:
    first, second = play("bfloat16")[0].read_state(), play("bfloat16")[0].read_state()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_another_precision_or_a_missing_compiler_is_told_when_a_run_goes_on() -> None:
    engine = Engine(device="cpu", threads=1).describe()
    then = {"engine": engine, "numpy": np.__version__}
    now = {**then, "engine": {**engine, "precision": "bfloat16"}}
    assert facts.explain_differences(then, now, []) == ["engine precision was float32 and is bfloat16"]
    compiled = {**then, "engine": {**engine, "compile": True}}
    assert facts.explain_differences(compiled, then, []) == ["engine compile was True and is False"]


def test_a_run_from_before_these_settings_goes_on() -> None:
    now = {"engine": Engine(device="cpu", threads=1).describe()}
    then = {name: fact for name, fact in now["engine"].items() if name not in ("precision", "compile")}
    assert facts.explain_differences({"engine": {**resuming._OLD_DEFAULTS["engine"], **then}}, now, []) == []
