"""Between two reports nothing reads a number from the device, which would make it and the processor wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import ganzoo_core as gz
from ganzoo_core.engines import Plan
from ganzoo_core.engines.torch import Engine
from ganzoo_core.engines.torch.device import as_scalar, to_device

from ..plans import change, make_plan

BATCH, LATENT, SIZE = 4, 6, 8
IMAGES = np.random.default_rng(5).integers(0, 256, (37, SIZE, SIZE, 1), dtype=np.uint8)
LABELS = np.arange(37) % 3
PLAN = make_plan(
    seed=3,
    batch_size=BATCH,
    latent_dim=LATENT,
    conditional=True,
    takes_g=("fade",),
    takes_d=("fade",),
    lr_g=2e-3,
    lr_d=1e-3,
    weight_clip=0.5,
    decision=0.0,
    probability="sigmoid",
    real_in_generator_step=True,
    halflife=100,
)
PLANS = [
    PLAN,
    change(PLAN, critic_steps=2, optimizer="rmsprop"),
    change(PLAN, updates="simultaneous", optimizer="sgd", momentum=0.5),
]
# What gives the processor a number, or a shape that depends on numbers.
READS = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "unique", "equal", "item")


class Networks(nn.Module):
    """A layer between two ends, with an embedding of the labels; batch norm and dropout in it."""

    def __init__(self, give: int, take: int) -> None:
        super().__init__()
        self.first, self.last, self.classes = nn.Linear(take, 12), nn.Linear(12, give), nn.Embedding(3, 12)
        self.norm, self.drop = nn.BatchNorm1d(12), nn.Dropout(0.2)

    def forward(self, x: torch.Tensor, labels: torch.Tensor, *, fade: torch.Tensor) -> torch.Tensor:
        hidden = self.drop(self.norm(self.first(x.flatten(1))) + self.classes(labels))
        out = fade * self.last(torch.relu(hidden))
        return out[:, 0] if out.shape[1] == 1 else out.reshape(-1, 1, SIZE, SIZE)


class Loss:
    memory: Mapping[str, float] = {"mean": 0.0, "constant": 0.0}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, gradient = ops.score_and_gradient(step.D, step.real)
        step.memory["mean"] = 0.5 * step.memory["mean"] + 0.5 * ops.mean(ops.stop_gradient(real))
        step.memory["constant"] = 1.0
        penalty = ops.mean(ops.sum_per_sample(ops.square(gradient))) * ops.mean(ops.uniform((BATCH,)))
        return {"adversarial": ops.mean(step.D(step.fake)) - ops.mean(real), "r1_penalty": penalty}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.D(step.real)) - step.ops.mean(step.D(step.fake))}


class Reading(TorchDispatchMode):
    """Notes each operation that gives the processor a number."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name.removeprefix("aten::") in READS:
            self.found.append(func._schema.name)
        return func(*args, **(kwargs or {}))


def started(device: str, plan: Plan) -> Any:
    """A trainer after two steps: the first one looks at layouts, and makes what is kept."""
    engine = Engine(device=device, threads=1)
    G, D = (network.to(engine.device) for network in (Networks(SIZE * SIZE, LATENT), Networks(1, SIZE * SIZE)))
    trainer = engine.create_trainer(G, D, Loss(), plan, IMAGES, LABELS)
    play(trainer, range(2))
    return trainer


def play(trainer: Any, steps: Any) -> None:
    for step in steps:
        trainer.step(step, step * trainer.plan.images_per_step, {"fade": 1 / (step + 1), "lr_g": 1e-3 / (step + 1)})


@pytest.mark.parametrize("plan", PLANS)
def test_a_step_reads_no_number(plan: Plan) -> None:
    """As far as a CPU can tell: copies to a device are nothing there."""
    trainer = started("cpu", plan)
    with Reading() as reading:
        play(trainer, range(2, 5))
    assert reading.found == []
    with Reading() as reading:
        assert float(torch.ones(())) == 1.0
    assert reading.found == ["aten::_local_scalar_dense"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="waiting for a GPU can only be seen on one")
@pytest.mark.parametrize("plan", PLANS)
def test_a_step_on_a_gpu_waits_for_nothing(plan: Plan) -> None:
    trainer = started("cuda", plan)
    torch.cuda.set_sync_debug_mode("error")
    try:
        play(trainer, range(2, 5))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert np.isfinite(list(trainer.pop_means().values())).all()


def test_numbers_arrive_as_they_were() -> None:
    cpu = torch.device("cpu")
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    assert torch.equal(to_device(array, cpu), torch.from_numpy(array))
    for value in (0.1, 1, 1e-30):
        assert torch.equal(as_scalar(value, cpu), torch.tensor(float(value)))
    tensor = torch.ones((), dtype=torch.float64)
    assert as_scalar(tensor, cpu) is tensor
