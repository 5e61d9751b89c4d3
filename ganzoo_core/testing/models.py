"""Checks of a model's networks, built small and called directly, without a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganzoo_core import building, mix
from ganzoo_core.discovery import catalog
from ganzoo_core.engines.loss_step import as_outputs
from ganzoo_core.mix import DataFit, Mix, Request
from ganzoo_core.randomness import philox
from ganzoo_core.testing.checks import Broken
from ganzoo_core.testing.networks import choose_values, make_given, make_inputs, make_trainer, name_networks
from ganzoo_core.testing.subject import BATCH, Subject

TRIED_SIZES = (15, 28, 32)  # pixels; tried if a model accepts any size
STEPS = 3


def settings(subject: Subject) -> None:
    """Every preset and choice in the manifest resolves."""
    part, installed = subject.part, catalog.scan()
    for preset in ("none", *part.presets):
        mix.resolve(
            installed, Request(picks={"model": part.qualified_name, "data": subject.make_source()}, preset=preset)
        )
    for key, values in part.choices.items():
        for value in values:
            subject.resolve_mix(**{key: value})


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
    if subject.resolve_mix().conditional:
        # D may predict the classes instead of taking labels.
        _check_dependence(subject, "labels", "its manifest's conditional", spared_output="classes")


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
        trainer, resolved, fitted = make_trainer(subject)
        values = building.make_full_resolution_values(fitted)
        if "resolution" in (taken := choose_values(resolved, values)):
            trainer.grow(values)
        for step in range(steps):
            trainer.step(step, step * BATCH, taken)
        z, x = make_inputs(resolved, fitted)
        outputs: dict[str, list[np.ndarray]] = {}
        excused = False
        for variant in (0, 1):
            for slot, network in name_networks(trainer).items():
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
    z, x = make_inputs(resolved, fitted)
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
