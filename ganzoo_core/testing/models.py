"""Checks of a model's networks, built small and called directly, without a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganzoo_core import building, mix
from ganzoo_core.data.conditions import make_random_rows
from ganzoo_core.discovery import catalog
from ganzoo_core.engines.loss_step import as_outputs
from ganzoo_core.engines.protocol import Trainer
from ganzoo_core.mix import DataFit, Mix, Request
from ganzoo_core.randomness import latents, philox
from ganzoo_core.testing.checks import Broken
from ganzoo_core.testing.subject import BATCH, Subject

TRIED_SIZES = (15, 28, 32)  # pixels; tried if a model accepts any size
STEPS = 3
_ADAM = dict.fromkeys(("train.optimizer", "train.optimizer_g", "train.optimizer_d"), "adam")
SMALL = 1e-6  # a change of a weight: many times the rounding of float32


def settings(subject: Subject) -> None:
    """Every preset and choice in the manifest resolves."""
    part, installed = subject.part, catalog.scan()
    for preset in ("none", *part.presets):
        mix.resolve(
            installed, Request(picks={"model": part.qualified_name, "data": subject.make_source()}, preset=preset)
        )
    for key, values in part.choices.items():
        for value in values:
            _resolve(subject, {key: value})


def sizes(subject: Subject) -> None:
    """G returns float32 [N,H,W,C], D float32 scores [N] or [N,…]."""
    for seen in _try_all_sizes(subject):
        if seen.images.shape != (BATCH, seen.size, seen.size, seen.channels):
            expected = [BATCH, seen.size, seen.size, seen.channels]
            raise Broken(f"{seen.label} G gives {list(seen.images.shape)}; expected {expected} as [N,H,W,C]")
        if seen.images.dtype != np.float32:
            raise Broken(f"{seen.label} G gives {seen.images.dtype}; expected float32")
        if len(seen.scores.shape) == 0 or seen.scores.shape[0] != BATCH:
            raise Broken(
                f"{seen.label} D gives scores {list(seen.scores.shape)}; expected [N] or [N,…] with N = {BATCH}"
            )
        if seen.scores.dtype != np.float32:
            raise Broken(f"{seen.label} D gives {seen.scores.dtype}; expected float32")


def bounds(subject: Subject) -> None:
    """Outputs are finite, and within [-1, 1] if `output = "tanh"`, also for z ten times as large as usual."""
    for seen in _try_all_sizes(subject):
        for what, array in (("G's images", seen.images), ("D's outputs", seen.scores)):
            if not np.isfinite(array.max_abs):
                raise Broken(f"{seen.label} {what} are not finite")
        if subject.part.output == "tanh" and seen.images.max_abs > 1:
            raise Broken(
                f'{seen.label} G\'s images reach {seen.images.max_abs:.3g}, and output = "tanh" promises [-1, 1]'
            )


def labels(subject: Subject) -> None:
    """Labels change G's images and D's scores, after a few steps at the latest."""
    if subject.part.conditional:
        # D may predict the classes instead of taking labels.
        _check_dependence(subject, "labels", "conditional = true", spared_output="classes")


def conditions(subject: Subject) -> None:
    """Conditions change the outputs of the networks that take them, and z those of a D that takes it."""
    for name in subject.part.conditions:
        _check_dependence(subject, name, f'conditions = ["{name}"]')
    for name in subject.part.discriminator_takes:
        _check_dependence(subject, name, f'discriminator_takes = ["{name}"]')


def _check_dependence(subject: Subject, name: str, claim: str, *, spared_output: str = "") -> None:
    """Raise Broken if an argument changes nothing after a few steps either, in a network that is called with it.

    `spared_output` is an output of D whose presence excuses scores that do not change.
    """
    idle: list[str] = []
    for steps in (0, STEPS):
        trainer, resolved, fitted = _make_trainer(subject)
        values = building.make_full_resolution_values(fitted)
        for step in range(steps):
            trainer.step(step, step * BATCH, _choose_values(resolved, values))
        z, x = _make_inputs(resolved, fitted)
        outputs: dict[str, list[np.ndarray]] = {}
        excused = False
        for variant in (0, 1):
            for slot, network in _name_networks(trainer).items():
                given = make_given(resolved, fitted, slot)
                if name not in given:
                    continue
                given[name] = _vary(given[name], variant)
                kwargs = building.network_kwargs(resolved, slot, values)
                if slot == "generator":
                    outputs.setdefault("G's images", []).append(subject.native.draw_images(network, z, given, kwargs))
                else:
                    judged = subject.native.call_discriminator(network, x, given, kwargs)
                    excused = spared_output in judged
                    outputs.setdefault("D's scores", []).append(judged["scores"])
        idle = [what for what, (first, second) in outputs.items() if np.array_equal(first, second)]
        if excused and "D's scores" in idle:
            idle.remove("D's scores")
        if not idle:
            return
    raise Broken(f"{' and '.join(idle)} do not depend on {_name_argument(name)}, and {claim} says that they do")


def _name_argument(name: str) -> str:
    return "the labels" if name == "labels" else f"`{name}`"


def _vary(rows: np.ndarray, variant: int) -> np.ndarray:
    """Rows of one kind that differ between variants: constant numbers, or noise."""
    if rows.dtype == np.int64:
        return np.full_like(rows, variant)
    noise = philox(variant, "conditions of the contract")
    if rows.dtype == np.uint8:
        return noise.integers(0, 256, rows.shape, dtype=np.uint8)
    return noise.standard_normal(rows.shape, dtype=np.float32)


def features(subject: Subject) -> None:
    """Batch norm and outputs exist exactly if the manifest says so, for each value of the settings that decide it."""
    part = subject.part
    deciding = {claim["setting"] for claim in part.has.values() if isinstance(claim, Mapping)}
    variants: list[dict[str, Any]] = [{}]
    variants += [{key: value} for key in sorted(deciding) for value in part.choices.get(key, ())]
    for variant in variants:
        G, D, resolved, fitted = subject.build_networks(**variant)
        _, outputs = _call_networks(subject, G, D, resolved, fitted)
        detected = {
            "batchnorm_in_discriminator": subject.native.has_batchnorm(D),
            "batchnorm_in_generator": subject.native.has_batchnorm(G),
            "classes_output": "classes" in outputs,
            "features_output": "features" in outputs,
        }
        under = "".join(f" with {key}={value}" for key, value in variant.items())
        for feature, is_there in detected.items():
            declared = resolved.has_feature(feature)
            if feature in part.has and declared != is_there:
                raise Broken(f"has.{feature} comes to {declared}{under}, and the network says {is_there}")
        if detected["batchnorm_in_discriminator"] and not resolved.has_feature("batchnorm_in_discriminator"):
            raise Broken(f"D has batch norm{under}, which the manifest must say: has.batchnorm_in_discriminator = true")


def gradients(subject: Subject) -> None:
    """With one network's learning rate at 0, none of its parameters change and all of the other's do.

    All but those of heads of D, such as `classes`, where the model's own loss asks for its scores alone.
    """
    for moving, rates in (("discriminator", {"lr_g": 0.0, "lr_d": 1e-2}), ("generator", {"lr_g": 1e-2, "lr_d": 0.0})):
        trainer, resolved, fitted = _make_trainer(subject, **_ADAM)
        unmoved: dict[int, str] = {}
        moved: set[int] = set()
        step = 0
        for values in subject.list_stages(resolved, fitted):
            if "resolution" in values:
                trainer.grow(values)
            before = {slot: subject.native.list_learnable(network) for slot, network in _name_networks(trainer).items()}
            for _ in range(STEPS):
                trainer.step(step, step * BATCH, {**_choose_values(resolved, values), **rates})
                step += 1
            for slot, network in _name_networks(trainer).items():
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
            and not (moving == "discriminator" and _is_of_head(subject, trainer.D, key, resolved, fitted))
        )
        if idle:
            raise Broken(f"{len(idle)} of the {moving}'s parameters never move: {', '.join(idle[:5])}")


def _is_of_head(subject: Subject, D: Any, key: int, resolved: Mix, fitted: DataFit) -> bool:
    """Whether a weight changes other outputs of D, and not the scores: the loss of this mix may not use it."""
    _, x = _make_inputs(resolved, fitted)
    given = make_given(resolved, fitted, "discriminator")
    values = building.network_kwargs(resolved, "discriminator", building.make_full_resolution_values(fitted))
    before = subject.native.call_discriminator(D, x, given, values)
    with subject.native.change_weight(D, key, lambda old: old + 1):
        after = subject.native.call_discriminator(D, x, given, values)
    changed = {name for name, output in before.items() if not np.array_equal(output, after[name])}
    return bool(changed) and "scores" not in changed


def second_order(subject: Subject) -> None:
    """A gradient penalty alone changes every weight of D on which the gradient of its scores depends."""
    if subject.part.has.get("second_order") is False:
        return
    trainer, resolved, fitted = _make_trainer(subject, loss=_PenaltyLoss(), **_ADAM)
    values = building.make_full_resolution_values(fitted)
    if "resolution" in _choose_values(resolved, values):
        trainer.grow(values)
    before = subject.native.list_learnable(trainer.D)
    for step in range(STEPS):
        trainer.step(step, step * BATCH, _choose_values(resolved, values))
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


@dataclass(frozen=True)
class _ArrayFacts:
    """An array's shape, dtype and largest magnitude (NaN if not finite)."""

    shape: tuple[int, ...]
    dtype: Any
    max_abs: float


@dataclass(frozen=True)
class _SizeOutputs:
    """The networks' outputs at one size."""

    size: int
    channels: int
    images: _ArrayFacts
    scores: _ArrayFacts

    @property
    def label(self) -> str:
        return f"at {self.size}×{self.size}×{self.channels}"


def _try_all_sizes(subject: Subject) -> list[_SizeOutputs]:
    """Run the networks at each declared size, in grey and RGB, with z ten times as large as in training."""
    if "sizes" not in subject.cache:
        tried = []
        for size in subject.part.image_sizes or TRIED_SIZES:
            for channels in (1, 3):
                G, D, resolved, fitted = subject.build_networks(size=size, channels=channels)
                made, outputs = _call_networks(subject, G, D, resolved, fitted, scale=10.0)
                tried.append(_SizeOutputs(size, channels, _summarise(made), _summarise(*outputs.values())))
        subject.cache["sizes"] = tried
    sizes_tried: list[_SizeOutputs] = subject.cache["sizes"]
    return sizes_tried


def _summarise(first: np.ndarray, *more: np.ndarray) -> _ArrayFacts:
    highest = max(float(np.abs(array).max()) for array in (first, *more))
    whole = all(np.isfinite(array).all() for array in (first, *more))
    return _ArrayFacts(first.shape, first.dtype, highest if whole else float("nan"))


def _call_networks(
    subject: Subject, G: Any, D: Any, resolved: Mix, fitted: DataFit, *, scale: float = 1.0
) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
    """Return G's images [N,H,W,C], and D's outputs on noise images by name, the scores first."""
    z, x = _make_inputs(resolved, fitted)
    given = {slot: make_given(resolved, fitted, slot) for slot in ("generator", "discriminator")}
    values = building.make_full_resolution_values(fitted)
    made = subject.native.draw_images(
        G, z * np.float32(scale), given["generator"], building.network_kwargs(resolved, "generator", values)
    )
    judged = as_outputs(
        subject.native.call_discriminator(
            D, x, given["discriminator"], building.network_kwargs(resolved, "discriminator", values)
        )
    )
    return made, {"scores": judged["scores"], **judged}


def _make_inputs(resolved: Mix, fitted: DataFit) -> tuple[np.ndarray, np.ndarray]:
    """z [N, latent_dim] and images [N,H,W,C] in [-1, 1]."""
    spec, generator = fitted.spec, philox(0, "contract")
    z = latents(generator, BATCH, spec.latent_dim, resolved.parts["generator"].latent)
    shape = (BATCH, spec.height, spec.width, spec.channels)
    return z, generator.uniform(-1, 1, shape).astype(np.float32)


def make_given(resolved: Mix, fitted: DataFit, slot: str) -> dict[str, np.ndarray]:
    """What a network is called with beside its first argument: labels, conditions, and z for a D that takes it."""
    shapes = mix.make_network_spec(resolved, fitted.spec, slot).conditions
    given = make_random_rows(shapes, BATCH, seed=1)
    return {**({"labels": np.arange(BATCH, dtype=np.int64)} if resolved.conditional else {}), **given}


def _resolve(subject: Subject, assigned: Mapping[str, Any]) -> Mix:
    return subject.resolve_mix(**assigned)


def _make_trainer(subject: Subject, *, loss: Any = None, **assigned: Any) -> tuple[Trainer, Mix, DataFit]:
    """Return a trainer for the model's own mix, or for `loss`, on noise images; the mix; and its fit to the data."""
    source = subject.make_source()
    picks = {**subject.choose_picks(), **({"loss": loss} if loss else {})}
    resolved = subject.resolve_mix(picks=picks, data=source, **assigned)
    fitted = building.fit_to_data(resolved, source)
    first = subject.list_stages(resolved, fitted)[0]
    G, D = building.build_networks(subject.engine, resolved, fitted, first)
    prepared = building.prepare_data(resolved, fitted, source)
    plan = building.make_plan(resolved, {})
    trainer = subject.engine.create_trainer(
        G, D, building.build_loss(resolved, fitted), plan, prepared.images, prepared.labels, prepared.conditions
    )
    return trainer, resolved, fitted


def _choose_values(resolved: Mix, values: Mapping[str, float]) -> dict[str, float]:
    """The schedule's values that either network takes."""
    return {
        name: value
        for slot in ("generator", "discriminator")
        for name, value in building.network_kwargs(resolved, slot, values).items()
    }


def _name_networks(trainer: Trainer) -> dict[str, Any]:
    return {"generator": trainer.G, "discriminator": trainer.D}
