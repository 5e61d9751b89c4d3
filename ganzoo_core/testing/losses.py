"""Checks of a loss on an analytic D: D(x) = Σ (a·x + b·x²), whose gradient with respect to x is a + 2b·x."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ganzoo_core import engines
from ganzoo_core.api import Ops, Spec, Step
from ganzoo_core.discovery import loading
from ganzoo_core.discovery.answers import check_loss
from ganzoo_core.engines.loss_memory import make_local_memory
from ganzoo_core.engines.loss_step import BoundDiscriminator, BoundGenerator, check_terms
from ganzoo_core.errors import PluginError
from ganzoo_core.testing.checks import Broken, NotApplicable
from ganzoo_core.testing.subject import BATCH, CLASSES, Subject, read_own_options
from ganzoo_core.testing.training import train_straight

TOLERANCE = 1e-5
PHASES = ("discriminator", "generator")


def terms(subject: Subject) -> None:
    """Both phases return named, finite scalars."""
    for phase, phase_terms in _compute_terms(subject).items():
        for name, value in phase_terms.items():
            if not math.isfinite(value):
                raise Broken(f"{phase}/{name} is {value} for moderate scores")


def agreement(subject: Subject) -> None:
    """On the same numbers, the framework gives numpy's results."""
    if subject.part.frameworks:
        raise NotApplicable(
            f"it is for {' and '.join(subject.part.frameworks)} alone, so it need not take numpy's arrays"
        )
    ours, plain = _compute_terms(subject), _compute_terms(subject, "numpy")
    for phase in PHASES:
        if set(ours[phase]) != set(plain[phase]):
            raise Broken(f"in {phase} it gives {sorted(ours[phase])}, and in numpy {sorted(plain[phase])}")
        for name, value in ours[phase].items():
            expected = plain[phase][name]
            if not math.isclose(value, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
                raise Broken(
                    f"{phase}/{name} is {value:.8g} in {subject.framework} and {expected:.8g} in numpy; "
                    "write it on step.ops alone"
                )


def needs(subject: Subject) -> None:
    """The loss uses exactly what its manifest declares as `needs`."""
    spy = _Spy()
    _compute_terms(subject, spy=spy)
    declared = {need for need in subject.part.needs if not need.startswith("no_")}
    if "same_real_in_generator_step" in declared:  # gives reals in G's phase, too
        declared = declared - {"same_real_in_generator_step"} | {"real_in_generator_step"}
    for need in sorted(spy.used - declared):
        raise Broken(f'it uses what it does not declare; say needs = ["{need}"]')
    for need in sorted(declared - spy.used):
        if need in ("second_order", "real_in_generator_step") or need.endswith("_output"):
            raise Broken(f"it declares that it needs {need}, and does not use it")


def decision(subject: Subject) -> None:
    """D's loss is lower with reals above the threshold and fakes below it than the reverse."""
    threshold = subject.part.decision
    if threshold is None:
        return
    if subject.part.probability == "sigmoid" and threshold != 0:
        raise Broken(f'probability = "sigmoid" puts the decision at 0, and the manifest says {threshold}')
    middle = 0.0 if isinstance(threshold, str) else float(threshold)
    totals: list[float] = []
    for side in (1.0, -1.0):
        real, fake = (
            np.full((BATCH, CLASSES, 1, 1), (middle + offset * side) / CLASSES, np.float32) for offset in (0.4, -0.4)
        )
        answers = _compute_terms(subject, a=1.0, b=0.0, real=real, fake=fake)
        totals.append(math.fsum(answers["discriminator"].values()))
    if not totals[0] < totals[1]:
        raise Broken(
            f"D's loss is {totals[0]:.4g} where scores are right of {threshold} and {totals[1]:.4g} where wrong"
        )


def penalty(subject: Subject) -> None:
    """A penalty has a gradient in D: the engine refuses a run with one that has none."""
    if any(name.endswith("penalty") for name in _compute_terms(subject)["discriminator"]):
        try:
            train_straight(subject)
        except PluginError as error:
            raise Broken(str(error)) from None


class _Spy:
    """Record what a loss uses."""

    def __init__(self) -> None:
        self.used: set[str] = set()


class _SpiedStep:
    """A step that records reads of `real` in G's phase."""

    def __init__(self, step: Step, phase: str, spy: _Spy) -> None:
        self._step, self._phase, self._spy = step, phase, spy

    def __getattr__(self, name: str) -> Any:
        if name == "real" and self._phase == "generator":
            self._spy.used.add("real_in_generator_step")
        return getattr(self._step, name)


class _SpiedOutputs(dict[str, Any]):
    """D's outputs; records which are read."""

    spy: _Spy

    def __getitem__(self, name: str) -> Any:
        if name != "scores":
            self.spy.used.add(f"{name}_output")
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self:
            return default
        return self[name]


class _FixedNoiseOps:
    """An engine's ops, with the same random numbers in every framework."""

    def __init__(self, ops: Ops, tensor: Callable[[np.ndarray], Any], spy: _Spy) -> None:
        self._ops, self._tensor, self._spy = ops, tensor, spy

    def uniform(self, shape: Any) -> Any:
        return self._tensor(np.random.default_rng(5).random(tuple(int(n) for n in shape), dtype=np.float32))

    def normal(self, shape: Any) -> Any:
        return self._tensor(np.random.default_rng(5).standard_normal(tuple(int(n) for n in shape), dtype=np.float32))

    def score_and_gradient(self, D: Any, x: Any) -> Any:
        self._spy.used.add("second_order")
        return self._ops.score_and_gradient(D, x)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ops, name)


def _compute_terms(
    subject: Subject,
    framework: str = "",
    *,
    a: float = 0.3,
    b: float = 0.05,
    real: np.ndarray | None = None,
    fake: np.ndarray | None = None,
    spy: _Spy | None = None,
) -> dict[str, dict[str, float]]:
    """Compute both phases' terms on fixed numbers, in a framework or numpy; by default in the subject's framework."""
    part, spy = subject.part, spy or _Spy()
    framework = framework or subject.framework
    generator = np.random.default_rng(3)
    arrays = [generator.normal(mean, 1, (BATCH, CLASSES, 1, 1)).astype(np.float32) for mean in (0.5, -0.3)]
    arrays = [custom if custom is not None else drawn for custom, drawn in zip((real, fake), arrays, strict=True)]
    tensor: Callable[[np.ndarray], Any] = np.asarray if framework == "numpy" else subject.native.to_tensor
    x, g = (tensor(array) for array in arrays)
    ops: Any = _FixedNoiseOps(engines.make_ops(framework, x), tensor, spy)

    def scored(pixels: Any) -> Any:
        return ops.sum_per_sample(a * pixels + b * pixels * pixels)

    def outputs(pixels: Any) -> Mapping[str, Any]:
        spied_outputs = _SpiedOutputs(scores=scored(pixels), classes=0.7 * pixels[:, :, 0, 0], features=pixels)
        spied_outputs.spy = spy
        return spied_outputs

    D: Any = BoundDiscriminator(lambda pixels, arguments: outputs(pixels), {}, real=x, fake=g)
    D.outputs = outputs
    if framework == "numpy":
        D.score_and_gradient = lambda pixels: (scored(pixels), a + 2 * b * pixels)
    spec = Spec(height=1, width=1, channels=CLASSES, classes=CLASSES, latent_dim=2, framework=subject.framework)
    options = read_own_options(subject, "loss")
    made = loading.call_hook("loss", part, check_loss, name=part.name, spec=spec, options=options, modifiers={})
    memory = make_local_memory(made, ops)
    labels = tensor(np.arange(BATCH, dtype=np.int64))
    z = tensor(np.zeros((BATCH, 2), np.float32))
    G = BoundGenerator(lambda z, arguments: g, {})
    conditions = dict.fromkeys(subject.condition_names, x)
    step = Step(D, G, x, g, labels, z, {}, ops, memory, conditions=conditions)
    answers: dict[str, dict[str, float]] = {}
    for phase in PHASES:
        spied: Any = _SpiedStep(step, phase, spy)
        answers[phase] = {
            name: _to_float(value) for name, value in check_terms(getattr(made, phase)(spied), made, phase).items()
        }
    return answers


def _to_float(value: Any) -> float:
    return float(value.detach() if hasattr(value, "detach") else value)
