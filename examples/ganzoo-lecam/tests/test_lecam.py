"""The loss against plain loops, its averages over steps and across a resume, in every framework."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_core import mix, python_api
from ganzoo_core.discovery import catalog
from ganzoo_core.engines.numpy_ops import NumpyOps
from ganzoo_core.engines.torch.ops import TorchOps
from ganzoo_core.storage import tensors
from ganzoo_core.training import assemble, setup
from ganzoo_lecam import RelativisticHingeLeCam, loss

WEIGHT, DECAY = 0.3, 0.9
BATCHES = np.random.default_rng(0).normal(size=(4, 2, 5)).astype(np.float32)  # four steps: reals and fakes, N of 5


@dataclass
class FakeStep:
    """Images are their own scores."""

    ops: Any
    real: Any
    fake: Any
    memory: dict[str, Any] = field(default_factory=dict)

    def D(self, images: Any) -> Any:
        return images


def by_hand(batches: np.ndarray, weight: float, decay: float) -> list[tuple[float, float, float]]:
    """Per step D's adversarial term, its penalty and G's term; an average is the weighted mean of all batches."""
    told = []
    for last in range(len(batches)):
        weights = [(1 - decay) * decay ** (last - place) for place in range(last + 1)]
        real_average, fake_average = (
            sum(w * float(np.mean(batch[kind])) for w, batch in zip(weights, batches, strict=False)) / sum(weights)
            for kind in (0, 1)
        )
        adversarial = penalty = generator = 0.0
        pairs = list(zip(*batches[last].tolist(), strict=True))
        for real, fake in pairs:
            adversarial += max(0.0, 1 - (real - fake)) / len(pairs)
            generator += max(0.0, 1 - (fake - real)) / len(pairs)
            penalty += ((real - fake_average) ** 2 + (fake - real_average) ** 2) / len(pairs)
        told.append((adversarial, weight * penalty, generator))
    return told


def native(framework: str) -> tuple[Any, Any]:
    """A framework's ops, and how it makes a tensor."""
    if framework == "numpy":
        return NumpyOps(np.random.default_rng(0)), np.asarray
    if framework == "torch":
        return TorchOps("cpu"), torch.tensor
    tf = pytest.importorskip("tensorflow")
    return importlib.import_module("ganzoo_core.engines.tensorflow.ops").TensorFlowOps(), tf.constant


def played(framework: str, batches: np.ndarray, **options: float) -> list[tuple[float, float, float]]:
    """What the loss tells in one step after another."""
    ops, tensor = native(framework)
    ours = RelativisticHingeLeCam(**{"weight": WEIGHT, "decay": DECAY, **options})
    memory = {name: tensor(np.float32(value)) for name, value in ours.memory.items()}
    told = []
    for real, fake in batches:
        step: Any = FakeStep(ops, tensor(real), tensor(fake), memory)
        terms = [*ours.discriminator(step).items(), *ours.generator(step).items()]
        assert [name for name, _ in terms] == ["adversarial", "lecam_penalty", "adversarial"]
        told.append(tuple(float(value) for _, value in terms))
    return told  # type: ignore[return-value]


@pytest.mark.parametrize("framework", ["numpy", "torch", "tensorflow"])
def test_values_over_four_steps(framework: str) -> None:
    np.testing.assert_allclose(played(framework, BATCHES), by_hand(BATCHES, WEIGHT, DECAY), rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    weight=st.floats(0, 10), decay=st.floats(0, 0.999), shift=st.floats(-20, 20), length=st.integers(1, 4),
)  # fmt: skip
def test_only_differences_of_scores_count(weight: float, decay: float, shift: float, length: int) -> None:
    """In all settings: the values are the formula's, and the same if all scores are so much higher."""
    batches = BATCHES[:length].astype(float)
    expected = by_hand(batches, weight, decay)
    for moved in (batches, batches + shift):
        found = played("numpy", moved, weight=weight, decay=decay)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_the_averages_are_constants_to_differentiation() -> None:
    """∂/∂D(x) of the penalty is 2λ(D(x)-α_F)/N, and nothing of it comes through α."""
    ours = RelativisticHingeLeCam(weight=WEIGHT, decay=DECAY)
    real, fake = (torch.tensor(scores, requires_grad=True) for scores in BATCHES[0])
    memory = {"real": torch.tensor(0.05), "fake": torch.tensor(-0.02), "share": torch.tensor(0.1)}
    step: Any = FakeStep(TorchOps("cpu"), real, fake, memory)
    by_real, by_fake = torch.autograd.grad(ours.discriminator(step)["lecam_penalty"], [real, fake])
    share = DECAY * 0.1 + (1 - DECAY)
    real_average = (DECAY * 0.05 + (1 - DECAY) * BATCHES[0, 0].mean()) / share
    fake_average = (DECAY * -0.02 + (1 - DECAY) * BATCHES[0, 1].mean()) / share
    np.testing.assert_allclose(by_real, 2 * WEIGHT * (BATCHES[0, 0] - fake_average) / 5, rtol=1e-4)
    np.testing.assert_allclose(by_fake, 2 * WEIGHT * (BATCHES[0, 1] - real_average) / 5, rtol=1e-4)
    assert not any(value.requires_grad for value in memory.values())
    assert memory["share"].item() == pytest.approx(share)


def test_it_can_be_tried_on_scores() -> None:
    """Reals at 3 and fakes at 1: apart by 2, so nothing is left of D's hinge; each average is the batch's own."""
    real, fake = np.full(4, 3.0, np.float32), np.full(4, 1.0, np.float32)
    told = gz.loss("relativistic-hinge-lecam", lecam_weight=0.5).on(real, fake)
    assert told["discriminator"] == pytest.approx({"adversarial": 0.0, "lecam_penalty": 0.5 * (4 + 4)})
    assert told["generator"] == pytest.approx({"adversarial": 3.0})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"lecam_weight": -1.0, "lecam_decay": 0.9}, r"loss\.lecam_weight is -1"),
        ({"lecam_weight": 1.0, "lecam_decay": 1.0}, r"loss\.lecam_decay is 1;"),
        ({"lecam_weight": 1.0, "lecam_decay": -0.1}, r"loss\.lecam_decay is -0\.1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float], told: str) -> None:
    with pytest.raises(gz.UsageError, match=told):
        loss(settings)


def test_importing_it_brings_no_framework() -> None:
    program = "import sys, ganzoo_lecam; print({'torch', 'tensorflow', 'keras'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


SMALL: dict[str, Any] = {
    "use.loss": "relativistic-hinge-lecam", "generator.width": 4, "discriminator.width": 4, "model.latent_dim": 8,
    "data.size": 16, "train.batch_size": 8, "train.report_every": "1steps", "train.sample_count": 4,
    "engine.device": "cpu", "engine.threads": 1, "use.schedule": "constant",
}  # fmt: skip


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("model", "needs"), [("dcgan-torch", "torch"), ("dcgan-tf", "tensorflow")])
def test_the_averages_go_through_a_checkpoint_to_the_bit(tmp_path: Path, model: str, needs: str) -> None:
    """Six steps, against three, a checkpoint, and three by another trainer."""
    twice = {"train.critic_steps": 2, "train.updates": "alternating"}
    pytest.importorskip(needs)
    request = mix.Request(picks={"model": model, "data": "digits"}, assigned={**SMALL, **twice})

    def trainer(name: str) -> Any:
        resolved = mix.resolve(catalog.scan(), request)
        return assemble.open_run(setup.build(setup.load(resolved, None), quiet=True), out=tmp_path / name).trainer

    def stepped(trainer: Any, steps: range) -> dict[str, np.ndarray]:
        for step in steps:
            trainer.step(step, step * trainer.plan.images_per_step, {})
        return trainer.read_state()

    straight = stepped(trainer("straight"), range(6))
    half = stepped(trainer("half"), range(3))
    assert float(half["loss/share"]) == pytest.approx(1 - 0.99**6)  # two steps of D in each
    assert float(half["loss/real"]) != float(half["loss/fake"])
    other = trainer("other")
    other.restore_state(half)
    rest = stepped(other, range(3, 6))
    assert straight.keys() == rest.keys()
    assert all(np.array_equal(straight[name], rest[name]) for name in straight)
    without = trainer("without")
    without.restore_state({name: np.zeros_like(value) if "loss/" in name else value for name, value in half.items()})
    lost = stepped(without, range(3, 6))
    assert any(not np.array_equal(straight[name], lost[name]) for name in straight if name.startswith("D/"))


@pytest.mark.filterwarnings("default")
def test_a_run_that_is_resumed_is_the_run_that_was_not(tmp_path: Path) -> None:
    python_api.train("dcgan-torch", settings=SMALL, steps=6, out=tmp_path / "straight", quiet=True)
    python_api.train("dcgan-torch", settings=SMALL, steps=3, out=tmp_path / "resumed", quiet=True)
    python_api.resume(tmp_path / "resumed", steps=6, quiet=True)
    told = []
    for run in ("straight", "resumed"):
        state = tensors.read_all_tensors(tmp_path / run / "checkpoints" / "48" / "state.safetensors")
        assert {"loss/real", "loss/fake", "loss/share"} < set(state)
        lines = [json.loads(line) for line in (tmp_path / run / "stats.jsonl").read_text().splitlines()]
        terms = [{key: value for key, value in line.items() if "/" in key} for line in lines]
        assert all("discriminator/lecam_penalty" in line for line in terms)
        told.append((state, terms))
    (straight, ours), (resumed, theirs) = told
    assert ours == theirs
    assert all(np.array_equal(straight[name], resumed[name]) for name in straight)
