"""Checks of a model's networks, built small and called directly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganzoo_core import building, mix
from ganzoo_core.data.framing import prepare
from ganzoo_core.discovery import catalog
from ganzoo_core.engines.loss_step import as_outputs
from ganzoo_core.mix import Fit, Mix, Request
from ganzoo_core.randomness import latents, philox
from ganzoo_core.testing.checks import Broken
from ganzoo_core.testing.subject import BATCH, CLASSES, Subject

ANY_SIZE = (15, 28, 32)  # tried where a model says that it takes any
STEPS = 3


def settings(subject: Subject) -> None:
    """What the manifest offers can be asked for."""
    part, installed = subject.part, catalog.scan()
    for preset in ("none", *part.presets):
        mix.resolve(installed, Request(picks={"model": part.qualified, "data": subject.source()}, preset=preset))
    for key, values in part.choices.items():
        for value in values:
            _of(subject, {key: value})


def sizes(subject: Subject) -> None:
    """G gives float32 [N,H,W,C], D one score or a map of scores a sample."""
    for seen in _at_all_sizes(subject):
        if seen.made.shape != (BATCH, seen.size, seen.size, seen.channels):
            expected = [BATCH, seen.size, seen.size, seen.channels]
            raise Broken(f"{seen.at} G gives {list(seen.made.shape)}; expected {expected} as [N,H,W,C]")
        if seen.made.dtype != np.float32:
            raise Broken(f"{seen.at} G gives {seen.made.dtype}; expected float32")
        if len(seen.scores.shape) == 0 or seen.scores.shape[0] != BATCH:
            raise Broken(f"{seen.at} D gives scores {list(seen.scores.shape)}; expected [N] or [N,…] with N = {BATCH}")
        if seen.scores.dtype != np.float32:
            raise Broken(f"{seen.at} D gives {seen.scores.dtype}; expected float32")


def bounds(subject: Subject) -> None:
    """Everything is finite; tanh keeps its promise, also for a z far out."""
    for seen in _at_all_sizes(subject):
        for what, array in (("G's images", seen.made), ("D's outputs", seen.scores)):
            if not np.isfinite(array.highest):
                raise Broken(f"{seen.at} {what} are not finite")
        if subject.part.output == "tanh" and seen.made.highest > 1:
            raise Broken(f'{seen.at} G\'s images reach {seen.made.highest:.3g}, and output = "tanh" promises [-1, 1]')


def labels(subject: Subject) -> None:
    """Another label is another image and another score, after a few steps at the latest."""
    if not subject.part.conditional:
        return
    for steps in (0, STEPS):
        trainer, resolved, fitted = _trainer(subject)
        values = building.full_grown(fitted)
        for step in range(steps):
            trainer.step(step, step * BATCH, _values(resolved, values))
        z, x = _inputs(resolved, fitted)
        zeros, ones = np.zeros(BATCH, np.int64), np.ones(BATCH, np.int64)
        taken = {slot: building.taken(resolved, slot, values) for slot in ("generator", "discriminator")}
        native = subject.native
        drawn = [native.images(trainer.G, z, each, taken["generator"]) for each in (zeros, ones)]
        judged = [native.outputs(trainer.D, x, each, taken["discriminator"]) for each in (zeros, ones)]
        idle = []
        if np.array_equal(drawn[0], drawn[1]):
            idle.append("G's images")
        # D may name the classes instead of being told them.
        if np.array_equal(judged[0]["scores"], judged[1]["scores"]) and "classes" not in judged[0]:
            idle.append("D's scores")
        if not idle:
            return
    raise Broken(f"{' and '.join(idle)} do not depend on the labels, and conditional = true says that they do")


def features(subject: Subject) -> None:
    """Batch norm and outputs are there exactly where the manifest says so, whatever the settings that decide it."""
    part = subject.part
    deciding = {claim["setting"] for claim in part.has.values() if isinstance(claim, Mapping)}
    variants: list[dict[str, Any]] = [{}]
    variants += [{key: value} for key in sorted(deciding) for value in part.choices.get(key, ())]
    for variant in variants:
        G, D, resolved, fitted = subject.built(**variant)
        _, given = _called(subject, G, D, resolved, fitted)
        found = {
            "batchnorm_in_discriminator": subject.native.has_batchnorm(D),
            "batchnorm_in_generator": subject.native.has_batchnorm(G),
            "classes_output": "classes" in given,
            "features_output": "features" in given,
        }
        under = "".join(f" with {key}={value}" for key, value in variant.items())
        for feature, is_there in found.items():
            said = resolved.has(feature)
            if feature in part.has and said != is_there:
                raise Broken(f"has.{feature} comes to {said}{under}, and the network says {is_there}")
        if found["batchnorm_in_discriminator"] and not resolved.has("batchnorm_in_discriminator"):
            raise Broken(f"D has batch norm{under}, which the manifest must say: has.batchnorm_in_discriminator = true")


def gradients(subject: Subject) -> None:
    """With one network's rate at zero, all of the other's parameters move and none of its own do."""
    for moving, rates in (("discriminator", {"lr_g": 0.0, "lr_d": 1e-2}), ("generator", {"lr_g": 1e-2, "lr_d": 0.0})):
        trainer, resolved, fitted = _trainer(subject, **{"train.optimizer": "adam"})
        unmoved: dict[int, str] = {}
        moved: set[int] = set()
        step = 0
        for values in subject.stages(resolved, fitted):
            if "resolution" in values:
                trainer.grow(values)
            before = {slot: subject.native.learnable(network) for slot, network in _networks(trainer).items()}
            for _ in range(STEPS):
                trainer.step(step, step * BATCH, {**_values(resolved, values), **rates})
                step += 1
            for slot, network in _networks(trainer).items():
                for key, (name, array) in subject.native.learnable(network).items():
                    has_moved = not np.array_equal(array, before[slot][key][1])
                    if slot != moving and has_moved:
                        raise Broken(f"the {moving}'s step moves {name} of the {slot}")
                    if slot == moving:
                        unmoved.setdefault(key, name)
                        moved |= {key} if has_moved else set()
        idle = sorted(name for key, name in unmoved.items() if key not in moved)
        if idle:
            raise Broken(f"{len(idle)} of the {moving}'s parameters never move: {', '.join(idle[:5])}")


def second_order(subject: Subject) -> None:
    """A penalty alone moves every weight of D that is not about labels."""
    if subject.part.has.get("second_order") is False:
        return
    trainer, resolved, fitted = _trainer(subject, loss=_PenaltyAlone(), **{"train.optimizer": "adam"})
    values = building.full_grown(fitted)
    if "resolution" in _values(resolved, values):
        trainer.grow(values)
    moved: set[str] = set()
    before = subject.native.learnable(trainer.D)
    for step in range(STEPS):
        trainer.step(step, step * BATCH, _values(resolved, values))
    after = subject.native.learnable(trainer.D)
    moved = {name for key, (name, array) in after.items() if not np.array_equal(array, before[key][1])}
    first = {name: array for name, array in after.values() if array.ndim > 1 and CLASSES not in array.shape}
    if not moved:
        raise Broken("a gradient penalty moves nothing of D; say has.second_order = false, or find the layer at fault")
    # A growing D keeps layers that see no more than the smaller images.
    idle = [] if "resolution" in resolved.parts["discriminator"].takes else sorted(set(first) - moved)
    if idle:
        raise Broken(f"a gradient penalty does not reach {', '.join(idle[:5])} of D")


class _PenaltyAlone:
    """D minimises E‖∇D(x)‖², G minimises -E D(g)."""

    def discriminator(self, step: Any) -> Mapping[str, Any]:
        ops = step.ops
        _, gradient = ops.score_and_gradient(step.D, step.real)
        return {"gradient_penalty": ops.mean(ops.sum_per_sample(ops.square(gradient)))}

    def generator(self, step: Any) -> Mapping[str, Any]:
        return {"adversarial": -step.ops.mean(step.D(step.fake))}


@dataclass(frozen=True)
class _Array:
    """What is kept of an array: its shape, its type and the largest magnitude in it."""

    shape: tuple[int, ...]
    dtype: Any
    highest: float


@dataclass(frozen=True)
class _Seen:
    """What the networks gave at one size."""

    size: int
    channels: int
    made: _Array
    scores: _Array

    @property
    def at(self) -> str:
        return f"at {self.size}×{self.size}×{self.channels}"


def _at_all_sizes(subject: Subject) -> list[_Seen]:
    """Each declared size, grey and in RGB; with z ten times as far out as in training."""
    if "sizes" not in subject.kept:
        subject.kept["sizes"] = []
        for size in subject.part.image_sizes or ANY_SIZE:
            for channels in (1, 3):
                G, D, resolved, fitted = subject.built(size=size, channels=channels)
                made, given = _called(subject, G, D, resolved, fitted, scale=10.0)
                subject.kept["sizes"].append(_Seen(size, channels, _array(made), _array(*given.values())))
    found: list[_Seen] = subject.kept["sizes"]
    return found


def _array(first: np.ndarray, *more: np.ndarray) -> _Array:
    highest = max(float(np.abs(array).max()) for array in (first, *more))
    whole = all(np.isfinite(array).all() for array in (first, *more))
    return _Array(first.shape, first.dtype, highest if whole else float("nan"))


def _called(
    subject: Subject, G: Any, D: Any, resolved: Mix, fitted: Fit, *, scale: float = 1.0
) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
    """G's images [N,H,W,C] and what D says of images of noise, the scores first."""
    z, x = _inputs(resolved, fitted)
    given = np.arange(BATCH, dtype=np.int64) if resolved.conditional else None
    values = building.full_grown(fitted)
    made = subject.native.images(G, z * np.float32(scale), given, building.taken(resolved, "generator", values))
    judged = as_outputs(subject.native.outputs(D, x, given, building.taken(resolved, "discriminator", values)))
    return made, {"scores": judged["scores"], **judged}


def _inputs(resolved: Mix, fitted: Fit) -> tuple[np.ndarray, np.ndarray]:
    """z [N, latent_dim] and images [N,H,W,C] in [-1, 1]."""
    spec, generator = fitted.spec, philox(0, "contract")
    z = latents(generator, BATCH, spec.latent_dim, resolved.parts["generator"].latent)
    shape = (BATCH, spec.height, spec.width, spec.channels)
    return z, generator.uniform(-1, 1, shape).astype(np.float32)


def _of(subject: Subject, assigned: Mapping[str, Any]) -> Mix:
    return subject.mix(**assigned)


def _trainer(subject: Subject, *, loss: Any = None, **assigned: Any) -> tuple[Any, Mix, Fit]:
    """The game of the model's own mix on images of noise, small, with or without a loss of the contract's own."""
    source = subject.source()
    picks = {**subject.picks(), **({"loss": loss} if loss else {})}
    resolved = subject.mix(picks=picks, data=source, **assigned)
    fitted = building.fitted_to(resolved, source)
    first = subject.stages(resolved, fitted)[0]
    G, D = building.networks(subject.engine, resolved, fitted, first)
    prepared = prepare(source, fitted.framing, fitted.spec.channels)
    plan = building.plan_of(resolved)
    trainer = subject.engine.trainer(G, D, building.loss_of(resolved, fitted), plan, prepared.images, prepared.labels)
    return trainer, resolved, fitted


def _values(resolved: Mix, values: Mapping[str, float]) -> dict[str, float]:
    """Those that any of the networks takes."""
    return {
        name: value
        for slot in ("generator", "discriminator")
        for name, value in building.taken(resolved, slot, values).items()
    }


def _networks(trainer: Any) -> dict[str, Any]:
    return {"generator": trainer.G, "discriminator": trainer.D}
