"""What losses and modifiers remember in PyTorch, against loops written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ganzoo_core as gz
from ganzoo_core.engines.loss_memory import MemoryMerger
from ganzoo_core.engines.torch import Engine

from ..plans import change
from ..small_losses import BCE, LazyMemory, PastFakes, RunningMean, WithRunningScale
from .test_trainer import BATCH, PLAN, SIZE, by_hand, equal, networks, noise, play, real_batch

SHAPE = (1, SIZE, SIZE)


@pytest.fixture
def engine() -> Engine:
    return Engine(device="cpu", threads=1)


def wrap(loss: Any, *modifiers: Any) -> Any:
    """A loss within modifiers, as `building.build_loss` makes it."""
    merger = MemoryMerger()
    for make in (lambda inner: inner, *modifiers):
        loss = make(loss)
        assert merger.check(loss) == ""
    return merger.merge(loss)


def test_a_running_mean_of_pictures_is_kept(engine: Engine) -> None:
    nets, mean, share = networks(), torch.full(SHAPE, 0.25), torch.tensor(0.0)

    def round_(G: nn.Module, D: nn.Module, opt_g: Any, opt_d: Any, step: int) -> None:
        nonlocal mean, share
        with engine.use_seed(PLAN.seed, "discriminator", step, 0):
            fake, real = G(noise("z", step, 0)), real_batch(step * BATCH)
            mean, share = 0.9 * mean + 0.1 * real.mean(dim=0), 0.9 * share + 0.1
            opt_d.zero_grad()
            (F.softplus(-D(real)[:, 0]).mean() + F.softplus(D(fake.detach())[:, 0]).mean()).backward()
            opt_d.step()
        with engine.use_seed(PLAN.seed, "generator", step):
            opt_g.zero_grad()
            far = (fake.mean(dim=0) - mean / share).square().mean()
            (F.softplus(-D(fake)[:, 0]).mean() + far * float(step + 1)).backward()
            opt_g.step()

    G, D = by_hand(engine, 8, nets, round_)
    trainer = play(engine, PLAN, RunningMean(SHAPE), 8, nets)
    equal(trainer.G, G)
    equal(trainer.D, D)
    state = trainer.read_state()
    assert np.array_equal(state["loss/mean"], mean.numpy())
    assert (state["loss/rounds"].dtype, int(state["loss/rounds"])) == (np.int64, 8)


def test_past_fakes_are_kept_for_two_rounds(engine: Engine) -> None:
    nets, past = networks(), [torch.zeros(BATCH, *SHAPE)] * 2

    def round_(G: nn.Module, D: nn.Module, opt_g: Any, opt_d: Any, step: int) -> None:
        with engine.use_seed(PLAN.seed, "discriminator", step, 0):
            fake = G(noise("z", step, 0))
            real = F.softplus(-D(real_batch(step * BATCH))[:, 0]).mean()
            adversarial = real + F.softplus(D(fake.detach())[:, 0]).mean()
            opt_d.zero_grad()
            (adversarial + F.softplus(D(past[-2])[:, 0]).mean()).backward()
            opt_d.step()
            past.append(fake.detach().contiguous())
        with engine.use_seed(PLAN.seed, "generator", step):
            opt_g.zero_grad()
            F.softplus(-D(fake)[:, 0]).mean().backward()
            opt_g.step()

    G, D = by_hand(engine, 6, nets, round_)
    trainer = play(engine, PLAN, PastFakes((BATCH, *SHAPE)), 6, nets)
    equal(trainer.G, G)
    equal(trainer.D, D)
    state = trainer.read_state()
    assert state["loss/last"].shape == (1, BATCH, *SHAPE)  # the first axis is that of the processes
    assert np.array_equal(state["loss/last"][0], past[-1].numpy())
    resumed = engine.create_trainer(*networks(), PastFakes((BATCH, *SHAPE)), PLAN, trainer.batches.data.images, None)
    resumed.restore_state(state)
    assert np.array_equal(resumed.memory["before"], past[-2])


def test_memory_in_a_lazy_term_is_written_where_it_is_due(engine: Engine) -> None:
    trainer, kept = engine.create_trainer(*networks(), LazyMemory(), PLAN, np.zeros((8, 8, 8, 1), np.uint8), None), []
    for step in range(4):
        trainer.step(step, step * BATCH, {})
        kept.append(trainer.memory["score"].item())
    assert kept[0] == kept[1] != kept[2] == kept[3]
    assert kept[0] != 0.5


def test_a_modifier_remembers_beside_its_loss_and_replaces_d(engine: Engine) -> None:
    nets, plan = networks(), change(PLAN, updates="simultaneous")
    loss = wrap(RunningMean(SHAPE), WithRunningScale)
    trainer = play(engine, plan, loss, 3, nets)
    scale = 1.0
    for _ in range(3):
        scale = 0.5 * scale + 0.25
    state = trainer.read_state()
    assert float(state["loss/scale"]) == scale
    assert int(state["loss/rounds"]) == 3
    assert "discriminator/accuracy_real" in trainer.pop_means()  # of the images, though D saw others
    assert not np.array_equal(state["D/7.weight"], play(engine, plan, RunningMean(SHAPE), 3, nets).D[7].weight.detach())


def test_what_is_read_is_a_constant_that_later_writing_leaves_alone(engine: Engine) -> None:
    class Reading(BCE):
        memory = {"row": np.ones(3, np.float32)}  # noqa: RUF012

        def discriminator(self, step: gz.Step) -> Any:
            before, scores = step.memory["row"], step.D(step.real)
            step.memory["row"] = scores[:3]
            assert before.tolist() == [1.0, 1.0, 1.0]
            assert not step.memory["row"].requires_grad
            assert step.memory["row"].tolist() == scores[:3].tolist()
            return super().discriminator(step)

    play(engine, PLAN, Reading(), 1, networks())


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda step: step.D(step.real), r"memory\['row'\] the shape \[8\]; it was declared with \[3\], and keeps it"),
        (lambda step: 1.0, r"memory\['row'\] the shape \[\]; it was declared with \[3\]"),
        (lambda step: step.D(step.real)[:3].double(), ""),
        (lambda step: step.D(step.real)[:3] > 0, ""),
    ],
)
def test_another_shape_is_refused_in_words(engine: Engine, value: Any, words: str) -> None:
    class Writing(BCE):
        memory = {"row": np.ones(3, np.float32)}  # noqa: RUF012

        def discriminator(self, step: gz.Step) -> Any:
            step.memory["row"] = value(step)
            return super().discriminator(step)

    if not words:
        play(engine, PLAN, Writing(), 1, networks())
        return
    with pytest.raises(gz.PluginError, match=words):
        play(engine, PLAN, Writing(), 1, networks())


def test_another_type_is_refused_in_words(engine: Engine) -> None:
    class Writing(BCE):
        memory = {"count": gz.Memory(np.zeros((), np.int64))}  # noqa: RUF012

        def discriminator(self, step: gz.Step) -> Any:
            step.memory["count"] = step.ops.mean(step.D(step.real))
            return super().discriminator(step)

    with pytest.raises(gz.PluginError, match=r"'count'\] float32; it was declared as int64, so .*step\.ops\.cast"):
        play(engine, PLAN, Writing(), 1, networks())
