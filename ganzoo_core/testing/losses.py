"""Checks of a loss on an analytic D: D(x) = Σ (a·x + b·x²), whose gradient with respect to x is a + 2b·x."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganzoo_core import engines
from ganzoo_core.api import Loss, Spec, Step
from ganzoo_core.discovery import loading
from ganzoo_core.discovery.answers import check_loss
from ganzoo_core.engines.loss_memory import make_local_memory, read_initial_memory
from ganzoo_core.engines.loss_services import PlainServices, Round, call_loss
from ganzoo_core.engines.loss_step import BoundDiscriminator, BoundGenerator, replace_arguments
from ganzoo_core.errors import PluginError
from ganzoo_core.storage.tensors import is_finite
from ganzoo_core.testing.checks import Broken, NotApplicable
from ganzoo_core.testing.spies import FixedNoiseOps, SpiedMemory, SpiedOutputs, SpiedStep, Spy
from ganzoo_core.testing.subject import BATCH, CLASSES, Subject, read_own_options
from ganzoo_core.testing.training import train_straight

TOLERANCE = 1e-5
PHASES = ("discriminator", "generator")
ROUNDS = 3  # in the first of which every lazy term is due
WEIGHTS = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)  # of both networks, as `step.weights` gives them


@dataclass(frozen=True)
class Played:
    """What a loss did in one round: terms and logs by phase and name, and what it then remembers, by name."""

    terms: Mapping[str, Mapping[str, float]]
    memory: Mapping[str, np.ndarray]

    def list_numbers(self) -> dict[str, np.ndarray]:
        """All of it by name, for comparison."""
        terms = {
            f"{phase}/{name}": np.asarray(value) for phase, own in self.terms.items() for name, value in own.items()
        }
        return {**terms, **{f"what it remembers as {name!r}": array for name, array in self.memory.items()}}


def terms(subject: Subject) -> None:
    """Both phases return named, finite scalars."""
    for number, played in enumerate(_play_rounds(subject)):
        for phase, phase_terms in played.terms.items():
            for name, value in phase_terms.items():
                if not math.isfinite(value):
                    raise Broken(f"{phase}/{name} is {value} for moderate scores{_in_round(number)}")


def rounds(subject: Subject) -> None:
    """Both phases return and log the same names in every round."""
    first, *others = (played.terms for played in _play_rounds(subject))
    for other in others:
        for phase in PHASES:
            different = sorted(first[phase].keys() ^ other[phase].keys())
            if different:
                raise Broken(
                    f"{phase}/{different[0]} is there in some rounds only; give it in each: step.every computes it in "
                    "some, and ops.where chooses between two values"
                )


def memory(subject: Subject) -> None:
    """What a loss remembers keeps its shape and type, is finite, and is used."""
    made = _make_loss(subject)
    if not read_initial_memory(made):
        raise NotApplicable("it remembers nothing")
    spy = Spy()
    try:
        played = _play_rounds(subject, spy=spy)
    except PluginError as error:
        raise Broken(str(error)) from None
    for name, array in played[-1].memory.items():
        if not is_finite(array):
            raise Broken(f"what it remembers as {name!r} is not finite after {ROUNDS} rounds")
        if name not in spy.remembered:
            raise Broken(f"it declares {name!r} in its memory, and neither reads nor writes it")


def agreement(subject: Subject) -> None:
    """On the same numbers, the framework gives numpy's results, and remembers the same."""
    if subject.part.frameworks:
        raise NotApplicable(
            f"it is for {' and '.join(subject.part.frameworks)} alone, so it need not take numpy's arrays"
        )
    for number, (ours, plain) in enumerate(zip(_play_rounds(subject), _play_rounds(subject, "numpy"), strict=True)):
        found, expected = ours.list_numbers(), plain.list_numbers()
        if set(found) != set(expected):
            raise Broken(f"it gives {sorted(found)}, and in numpy {sorted(expected)}{_in_round(number)}")
        for name, value in found.items():
            if not np.allclose(value, expected[name], rtol=TOLERANCE, atol=TOLERANCE):
                raise Broken(
                    f"{name} is {_show(value)} in {subject.framework} and {_show(expected[name])} in "
                    f"numpy{_in_round(number)}; write it on step.ops alone"
                )


def _in_round(number: int) -> str:
    return f" in round {number}" if number else ""


def _show(value: np.ndarray) -> str:
    return f"{float(value):.8g}" if value.ndim == 0 else f"{list(value.shape)} of mean {value.mean():.8g}"


def needs(subject: Subject) -> None:
    """The loss uses exactly what its manifest declares as `needs`."""
    spy = Spy()
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


def _compute_terms(subject: Subject, **given: Any) -> Mapping[str, Mapping[str, float]]:
    """Both phases' terms in the first round; see `_play_rounds`."""
    return _play_rounds(subject, count=1, **given)[0].terms


def _play_rounds(
    subject: Subject,
    framework: str = "",
    *,
    count: int = ROUNDS,
    a: float = 0.3,
    b: float = 0.05,
    real: np.ndarray | None = None,
    fake: np.ndarray | None = None,
    spy: Spy | None = None,
) -> list[Played]:
    """Play rounds on fixed numbers, in a framework or numpy; by default in the subject's framework."""
    spy, framework = spy or Spy(), framework or subject.framework
    generator = np.random.default_rng(3)
    tensor: Callable[[np.ndarray], Any] = np.asarray if framework == "numpy" else subject.native.to_tensor
    ops: Any = FixedNoiseOps(engines.make_ops(framework, tensor(np.zeros(1, np.float32))), tensor, spy)
    made, spec = _make_loss(subject), _make_spec(subject)
    kept = make_local_memory(made, ops)

    def scored(pixels: Any) -> Any:
        if spy.is_differentiating:
            spy.used.add("second_order")
        return ops.sum_per_sample(a * pixels + b * pixels * pixels)

    labels, z = tensor(np.arange(BATCH, dtype=np.int64)), tensor(np.zeros((BATCH, 2), np.float32))
    takes = () if subject.model is None else subject.model.discriminator_takes
    bound = dict.fromkeys(("labels", *subject.condition_names, *(("latent",) if "latent" in takes else ())))

    def outputs(pixels: Any, **replacements: Any) -> Mapping[str, Any]:
        replace_arguments(bound, replacements, "step.D")
        classes = pixels[:, :, 0, 0] if spec.image_shape[0] == CLASSES else pixels[:, 0, 0, :]
        spied_outputs = SpiedOutputs(scores=scored(pixels), classes=0.7 * classes, features=pixels)
        spied_outputs.spy = spy
        return spied_outputs

    played = []
    for number in range(count):
        arrays = [generator.normal(mean, 1, (BATCH, CLASSES, 1, 1)).astype(np.float32) for mean in (0.5, -0.3)]
        arrays = [custom if custom is not None else drawn for custom, drawn in zip((real, fake), arrays, strict=True)]
        x, g = (tensor(array.reshape(BATCH, *spec.image_shape)) for array in arrays)
        D: Any = BoundDiscriminator(lambda pixels, arguments: outputs(pixels), {}, real=x, fake=g)
        D.outputs = outputs
        if framework == "numpy":
            D.score_and_gradient = lambda pixels: (scored(pixels), a + 2 * b * pixels)
        here = Round(*(tensor(np.asarray(each, np.int64)) for each in (number, number * BATCH)))
        services = PlainServices(D, ops, here, lambda network: {"kernel": tensor(WEIGHTS)})
        conditions = dict.fromkeys(subject.condition_names, x)
        G = BoundGenerator(functools.partial(_draw_same, g), {"labels": labels, **conditions})
        step = Step(
            D,
            G,
            x,
            g,
            labels,
            z,
            {},
            ops,
            SpiedMemory(kept, spy),
            conditions=conditions,
            step=here.step,
            images=here.images,
            services=services,
        )
        answers: dict[str, dict[str, float]] = {}
        for phase in PHASES:
            spied: Any = SpiedStep(step, phase, spy)
            report = call_loss(made, phase, spied, services).make_report(turns=1)
            answers[phase] = {name: _to_float(value) for name, value in report.items()}
        played.append(Played(answers, {name: np.array(kept[name]) for name in kept}))
    return played


def _draw_same(images: Any, z: Any, arguments: Mapping[str, Any]) -> Any:
    """A generator of the same images whatever z is."""
    return images


def _make_spec(subject: Subject) -> Spec:
    return Spec(height=1, width=1, channels=CLASSES, classes=CLASSES, latent_dim=2, framework=subject.framework)


def _make_loss(subject: Subject) -> Loss:
    part, spec, options = subject.part, _make_spec(subject), read_own_options(subject, "loss")
    made: Loss = loading.call_hook("loss", part, check_loss, name=part.name, spec=spec, options=options, modifiers={})
    return made


def _to_float(value: Any) -> float:
    return float(value.detach() if hasattr(value, "detach") else value)
