"""Checks of what a model's networks learn: which weights a step moves, and what a gradient penalty reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ganzoo_core import building
from ganzoo_core.mix import DataFit, Mix
from ganzoo_core.randomness import philox
from ganzoo_core.testing.checks import Broken
from ganzoo_core.testing.networks import choose_values, make_given, make_inputs, make_trainer, name_networks
from ganzoo_core.testing.subject import BATCH, Subject

STEPS = 3
SMALL = 1e-6  # a change of a weight: many times the rounding of float32
_ADAM = dict.fromkeys(("train.optimizer", "train.optimizer_g", "train.optimizer_d"), "adam")


def gradients(subject: Subject) -> None:
    """With one network's learning rate at 0, none of its parameters change and all of the other's do.

    All but those of heads of D, such as `classes`, where the model's own loss asks for its scores alone, and those that
    shift all scores of D alike: in a loss of differences, or within the margins of one, the gradients of real and fake
    cancel.
    """
    for moving, rates in (("discriminator", {"lr_g": 0.0, "lr_d": 1e-2}), ("generator", {"lr_g": 1e-2, "lr_d": 0.0})):
        trainer, resolved, fitted = make_trainer(subject, **_ADAM)
        unmoved: dict[int, str] = {}
        moved: set[int] = set()
        step = 0
        for values in subject.list_stages(resolved, fitted):
            if "resolution" in values:
                trainer.grow(values)
            before = {slot: subject.native.list_learnable(network) for slot, network in name_networks(trainer).items()}
            for _ in range(STEPS):
                trainer.step(step, step * BATCH, {**choose_values(resolved, values), **rates})
                step += 1
            for slot, network in name_networks(trainer).items():
                for key, (name, array) in subject.native.list_learnable(network).items():
                    has_moved = not np.array_equal(array, before[slot][key][1])
                    if slot != moving and has_moved:
                        raise Broken(f"the {moving}'s step moves {name} of the {slot}")
                    if slot == moving:
                        unmoved.setdefault(key, name)
                        moved |= {key} if has_moved else set()
        idle = sorted(
            name
            for key, name in unmoved.items()
            if key not in moved
            and not (moving == "discriminator" and _may_rest(subject, trainer.D, key, resolved, fitted))
        )
        if idle:
            raise Broken(f"{len(idle)} of the {moving}'s parameters never move: {', '.join(idle[:5])}")


def _may_rest(subject: Subject, D: Any, key: int, resolved: Mix, fitted: DataFit) -> bool:
    """Whether a weight changes other outputs of D and not the scores, or all scores by the same number."""
    _, x = make_inputs(resolved, fitted)
    given = make_given(resolved, fitted, "discriminator")
    values = building.network_kwargs(resolved, "discriminator", building.make_full_resolution_values(fitted))
    before = subject.native.call_discriminator(D, x, given, values)
    with subject.native.change_weight(D, key, lambda old: old + 1):
        after = subject.native.call_discriminator(D, x, given, values)
    changed = {name for name, output in before.items() if not np.array_equal(output, after[name])}
    shift = after["scores"] - before["scores"]
    return bool(changed) and ("scores" not in changed or bool(np.allclose(shift, shift.flat[0], atol=1e-5)))


def second_order(subject: Subject) -> None:
    """A gradient penalty alone changes every weight of D on which the gradient of its scores depends."""
    if subject.part.has.get("second_order") is False:
        return
    trainer, resolved, fitted = make_trainer(subject, loss=_PenaltyLoss(), **_ADAM)
    values = building.make_full_resolution_values(fitted)
    if "resolution" in choose_values(resolved, values):
        trainer.grow(values)
    before = subject.native.list_learnable(trainer.D)
    for step in range(STEPS):
        trainer.step(step, step * BATCH, choose_values(resolved, values))
    after = subject.native.list_learnable(trainer.D)
    idle = {key: name for key, (name, array) in after.items() if np.array_equal(array, before[key][1])}
    if len(idle) == len(after):
        raise Broken("a gradient penalty moves nothing of D; say has.second_order = false, or find the layer at fault")
    matrices = {key: name for key, name in idle.items() if after[key][1].ndim > 1}
    unreached = sorted(
        name for key, name in matrices.items() if _changes_gradient(subject, trainer.D, key, resolved, fitted)
    )
    if unreached:
        raise Broken(f"a gradient penalty does not reach {', '.join(unreached[:5])} of D")


def _changes_gradient(subject: Subject, D: Any, key: int, resolved: Mix, fitted: DataFit) -> bool:
    """Whether the gradient of D's scores with respect to its images depends on a weight.

    It does not if the scores do not depend on the weight, such as that of a head for classes, nor if the weight is a
    bias before a leaky ReLU. The weight is changed so little that hardly any input of a ReLU changes its sign. Where
    one does, it alters the gradient of one sample: a dependence shows in every sample of three batches.
    """
    values = building.network_kwargs(resolved, "discriminator", building.make_full_resolution_values(fitted))
    given = make_given(resolved, fitted, "discriminator")
    generator = philox(0, "second-order")
    shape = (BATCH, fitted.spec.height, fitted.spec.width, fitted.spec.channels)
    for _ in range(3):
        x = generator.uniform(-1, 1, shape).astype(np.float32)
        before = subject.native.differentiate(D, x, given, values)
        with subject.native.change_weight(D, key, lambda old: old + SMALL * generator.normal(size=old.shape)):
            after = subject.native.differentiate(D, x, given, values)
        if not (before != after).reshape(BATCH, -1).any(axis=1).all():
            return False
    return True


class _PenaltyLoss:
    """D minimises E‖∇D(x)‖², G minimises -E D(g)."""

    def discriminator(self, step: Any) -> Mapping[str, Any]:
        ops = step.ops
        _, gradient = ops.score_and_gradient(step.D, step.real)
        return {"gradient_penalty": ops.mean(ops.sum_per_sample(ops.square(gradient)))}

    def generator(self, step: Any) -> Mapping[str, Any]:
        return {"adversarial": -step.ops.mean(step.D(step.fake))}
