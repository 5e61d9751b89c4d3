"""`engine.compile`: what is compiled agrees with what is not, and whatever cannot be compiled runs uncompiled."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ganzoo_core as gz
from ganzoo_core.engines import Plan
from ganzoo_core.engines.compile_check import describe_difference, relative_error
from ganzoo_core.engines.torch import Engine
from ganzoo_core.engines.torch import compiled as torch_compiled
from ganzoo_core.engines.torch.compiled import find_compiler_problem

from ..plans import change, make_plan
from ..small_losses import Counting, LazyMean, LazyMemory, LazyR1, RunningMean, Several

BATCH, LATENT, SIZE = 8, 6, 8
IMAGES = np.random.default_rng(5).integers(0, 256, (37, SIZE, SIZE, 1), dtype=np.uint8)
PLAN = make_plan(
    seed=3,
    batch_size=BATCH,
    latent_dim=LATENT,
    optimizer="sgd",
    momentum=0.5,
    lr_g=2e-2,
    lr_d=1e-2,
    decision=0.0,
    probability="sigmoid",
    halflife=100,
)


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    G = nn.Sequential(
        nn.Linear(LATENT, 64), nn.Unflatten(1, (16, 2, 2)), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    D = nn.Sequential(
        nn.Conv2d(1, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 16, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 1),
    )  # fmt: skip
    return G, D


class BCE:
    """The non-saturating loss, with noise of its own and a memory."""

    memory: Mapping[str, float] = {"mean": 0.0}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real = step.D(step.real + 0.01 * ops.normal(tuple(step.real.shape)))
        step.memory["mean"] = 0.5 * step.memory["mean"] + 0.5 * ops.mean(ops.stop_gradient(real))
        return {"adversarial": ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(step.D(step.fake)))}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.softplus(-step.D(step.fake)))}


class Penalised(BCE):
    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        real, gradient = step.ops.score_and_gradient(step.D, step.real)
        penalty = step.ops.mean(step.ops.sum_per_sample(step.ops.square(gradient)))
        fake = step.D(step.fake)
        return {"adversarial": step.ops.mean(fake) - step.ops.mean(real), "r1_penalty": penalty}


def play(
    loss: Any, plan: Plan = PLAN, *, compile: bool, steps: int = 4, nets: Any = None, values: Any = None
) -> tuple[Any, list[str]]:
    told: list[str] = []
    engine = Engine(device="cpu", threads=1, compile=compile)
    engine.tell = told.append
    G, D = (network.to(memory_format=engine.memory_format) for network in copy.deepcopy(nets or networks()))
    trainer = engine.create_trainer(G, D, loss, plan, IMAGES, None)
    for step in range(steps):
        rates = {"lr_g": plan.optimizer_g.lr / (step + 1), "lr_d": plan.optimizer_d.lr / (step + 1)}
        trainer.step(step, step * plan.images_per_step, {**rates, **(values(step) if values else {})})
    return trainer, told


def agree(first: Any, second: Any, rtol: float = 1e-4) -> None:
    """All that two trainers keep, and what they would report."""
    kept, other = first.read_state(), second.read_state()
    assert list(kept) == list(other)
    assert relative_error(list(kept.values()), list(other.values())) < rtol
    assert first.pop_means() == pytest.approx(second.pop_means(), rel=1e-3, abs=1e-4)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Everything but inductor and its compiler: graphs are captured, differentiated ahead of time and run as they are.

    The list gets an entry for each graph.
    """
    graphs: list[int] = []

    def backend(module: Any, inputs: Any) -> Callable[..., Any]:
        from torch._dynamo.backends.debugging import aot_eager

        graphs.append(len(inputs))
        return aot_eager(module, inputs)

    monkeypatch.setattr(torch_compiled, "_compile", lambda function, device: torch.compile(function, backend=backend))
    return graphs


@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        pytest.param(change(PLAN, critic_steps=2), marks=pytest.mark.slow),
        change(PLAN, updates="simultaneous"),
    ],
)
def test_the_compiled_step_agrees_with_the_plain_one(traced: list[int], plan: Plan) -> None:
    compiled, told = play(BCE(), plan, compile=True)
    assert told == []
    agree(compiled, play(BCE(), plan, compile=False)[0])


def test_new_values_at_each_step_need_no_new_graphs(traced: list[int]) -> None:
    counts: list[int] = []

    def values(step: int) -> dict[str, float]:
        counts.append(len(traced))
        return {"fade": step / 10}

    _, told = play(BCE(), compile=True, steps=5, values=values)
    assert told == []
    assert counts[0] < counts[1] == counts[2] == counts[4]


def test_a_loss_that_differentiates_d_by_its_images_leaves_ds_step_uncompiled(traced: list[int]) -> None:
    compiled, told = play(Penalised(), compile=True)
    assert [note.split(" runs")[0] for note in told] == ["engine.compile: the step of D"]
    assert "differentiates D by the images" in told[0]
    agree(compiled, play(Penalised(), compile=False)[0], rtol=1e-5)


def test_a_lazy_penalty_leaves_the_other_rounds_compiled(traced: list[int]) -> None:
    """Each set of terms that are due is code of its own, made when it is first needed."""
    counts = []

    def values(step: int) -> dict[str, float]:
        counts.append(len(traced))
        return {}

    compiled, told = play(LazyR1(3), compile=True, steps=8, values=values)
    expected = "engine.compile: the step of D with what is due every 3 rounds"
    assert [note.split(" runs")[0] for note in told] == [expected]
    assert counts[0] < counts[1] < counts[2] == counts[7]
    agree(compiled, play(LazyR1(3), compile=False, steps=8)[0], rtol=1e-5)


@pytest.mark.slow
def test_lazy_terms_memory_and_counts_are_compiled(traced: list[int]) -> None:
    counts, plan = [], change(PLAN, critic_steps=2)

    def loss() -> Several:
        return Several(LazyMean(2), LazyMemory(), RunningMean((1, SIZE, SIZE)), Counting())

    def values(step: int) -> dict[str, float]:
        counts.append(len(traced))
        return {}

    compiled, told = play(loss(), plan, compile=True, steps=5, values=values)
    assert told == []
    assert counts[2] == counts[4]
    agree(compiled, play(loss(), plan, compile=False, steps=5)[0])


def test_networks_that_grow_are_compiled_anew(traced: list[int]) -> None:
    class Growing(nn.Module):
        """One linear layer a stage; the last is faded in."""

        def __init__(self, ends: Callable[[int], tuple[int, int]]) -> None:
            super().__init__()
            self.ends, self.stages, self.side = ends, nn.ModuleList(), 2

        def grow(self, resolution: int) -> None:
            while self.side < resolution:
                self.side *= 2
                self.stages.append(nn.Linear(*self.ends(self.side)))

        def forward(self, x: torch.Tensor, resolution: int, fade: torch.Tensor) -> torch.Tensor:
            out = fade * self.stages[-1](x.flatten(1))
            return out.reshape(len(x), 1, resolution, resolution) if out.shape[1] > 1 else out[:, 0]

    nets = Growing(lambda side: (LATENT, side * side)), Growing(lambda side: (side * side, 1))
    for network in nets:
        network.grow(4)
    plan = change(PLAN, takes_g=("resolution", "fade"), takes_d=("resolution", "fade"))

    def values(step: int) -> dict[str, float]:
        return {"resolution": 4 if step < 3 else 8, "fade": (step % 3 + 1) / 4}

    compiled, told = play(BCE(), plan, compile=True, steps=6, nets=nets, values=values)
    assert told == []
    agree(compiled, play(BCE(), plan, compile=False, steps=6, nets=nets, values=values)[0])


@pytest.mark.slow
def test_a_trial_leaves_nothing_behind(traced: list[int]) -> None:
    """Of batch norm's means, the loss's memory, the random numbers: the first step is that of an uncompiled run."""
    compiled, _ = play(BCE(), compile=True, steps=1)
    agree(compiled, play(BCE(), compile=False, steps=1)[0], rtol=1e-5)
    assert int(compiled.G[2].num_batches_tracked) == 1


def test_what_comes_out_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
        def off(*args: Any) -> Any:
            out = function(*args)
            return out * 1.001 if isinstance(out, torch.Tensor) else out

        return off

    monkeypatch.setattr(torch_compiled, "_compile", wrong)
    compiled, told = play(BCE(), compile=True)
    assert len(told) == 1
    assert told[0].startswith("engine.compile: G runs uncompiled (compiled, its results differ by 0.001 of what")
    assert all(
        np.array_equal(a, b)
        for a, b in zip(
            compiled.read_state().values(), play(BCE(), compile=False)[0].read_state().values(), strict=True
        )
    )


def test_without_a_compiler_training_runs_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
        def fails(*args: Any) -> Any:
            raise RuntimeError("No working C++ compiler found\nand much else")

        return fails

    monkeypatch.setattr(torch_compiled, "_compile", none)
    trainer, told = play(BCE(), compile=True)
    assert told == [
        "engine.compile is on, and nothing can be compiled here (RuntimeError: No working C++ compiler found); "
        "training runs without"
    ]
    assert trainer.engine.describe()["compile"] is False


def test_a_difference_is_told_by_norm() -> None:
    one, noise = np.array([3.0, 4.0]), np.array([1e-9])
    assert relative_error([one * 1.1, noise], [one, -noise]) == pytest.approx(0.1)
    assert relative_error([one], [one, noise]) == float("inf")
    assert np.isnan(relative_error([one * np.nan, noise], [one, noise]))


def test_gradients_may_be_further_off_than_results() -> None:
    one, off = [np.array([3.0, 4.0])], [np.array([3.0, 4.0]) * 1.005]
    assert describe_difference((one, one), (one, one)) == describe_difference((one, off), (one, one)) == ""
    assert "its results differ by 0.005 of what they should be; 0.0001 is" in describe_difference(
        (off, one), (one, one)
    )
    assert "its gradients differ by 0.1 of what they should be; 0.01 is" in describe_difference(
        (one, [one[0] * 1.1]), (one, one)
    )
    assert "by nan" in describe_difference((one, [one[0] * np.nan]), (one, one))
    assert describe_difference((one, [one[0] * 1.1]), (one, one), "bfloat16") == ""


@pytest.mark.slow
@pytest.mark.parametrize("loss", [BCE(), Penalised()], ids=["bce", "penalised"])
def test_compiled_by_inductor_the_step_agrees_with_the_plain_one(loss: Any) -> None:
    if missing := find_compiler_problem(torch.device("cpu")):
        pytest.skip(missing)
    compiled, told = play(loss, compile=True, steps=3)
    assert len(told) == isinstance(loss, Penalised)
    agree(compiled, play(loss, compile=False, steps=3)[0])


@pytest.mark.slow
def test_a_run_without_a_compiler_says_so_and_trains(tmp_path: Path) -> None:
    words = [
        "run", "dcgan-torch", "--data", "digits", "--steps", "2", "--batch-size", "8", "--json",
        "--out", tmp_path / "run", "--set", "engine.compile=true", "--set", "model.width=4",
        "--set", "data.size=16", "--set", "engine.threads=1",
    ]  # fmt: skip
    env = {**os.environ, "CXX": "/nonexistent/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "ganzoo_core", *map(str, words)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert "nothing can be compiled here" in done.stderr
    assert json.loads(done.stdout)
    assert '"compile": false' in (tmp_path / "run" / "config.yaml").read_text()
