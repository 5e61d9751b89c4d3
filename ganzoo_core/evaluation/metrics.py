"""Compute the scores of two sets of features by the metrics of plugins."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ganzoo_core.api import Features, Metric
from ganzoo_core.discovery import answers, catalog, loading
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.errors import GanzooError, PluginError, UsageError
from ganzoo_core.evaluation.choice import drop_advice
from ganzoo_core.evaluation.request import PAIRS, TRAINING_IMAGES
from ganzoo_core.messages import pluralise
from ganzoo_core.runs.scores import order_names

LoadedMetric = tuple[Part, Metric]
_COUNTS = re.compile(r", and \d.*")  # how many images there are, at the end of a metric's reason


class TrainingFeatures(NamedTuple):
    """Features for metrics that tell copies.

    Attributes:
        training: of the images that the generator was trained on.
        held_out: of images of the same data that it was not trained on; None if there are none.
    """

    training: Features
    held_out: Features | None


def needs_training_images(part: Part) -> bool:
    """Whether a metric is called with the features of `TrainingFeatures` too."""
    return TRAINING_IMAGES in part.needs


def load_metrics(settings: Mapping[str, Mapping[str, Any]]) -> list[LoadedMetric]:
    """Load metrics.

    Args:
        settings: of each, by `distribution/name`.

    Raises:
        PluginError: if one cannot be loaded.
    """
    installed = catalog.scan()
    parts = [(installed.find("metrics", name), options) for name, options in settings.items()]
    return [
        (part, loading.call_hook("metric", part, answers.check_metric, name=part.name, options=options))
        for part, options in parts
    ]


def compute_scores(
    metrics: Sequence[LoadedMetric],
    real: Features,
    fake: Features,
    seed: int,
    *,
    required: Collection[str] = (),
    training: TrainingFeatures | None = None,
) -> dict[str, Any]:
    """Compute the scores, those by class and their directions, and say which mean little: the fields of `Score`.

    Args:
        metrics: from `load_metrics`.
        real: features of the reference.
        fake: features of the images that are scored.
        seed: of the metrics' random numbers.
        required: `distribution/name` of those that must not refuse; others that do are left out, with the reason among
            `doubts`. Those of pairs are left out without a word where the images have no targets.
        training: for the metrics that need it.

    Raises:
        UsageError: if a required metric refuses, or if all do.
        PluginError: if a metric is faulty.
    """
    scores: dict[str, float] = {}
    classes: dict[str, dict[str, float]] = {}
    doubts: dict[str, str] = {}
    refusals: list[UsageError] = []
    metrics = _select_metrics(metrics, fake, required)
    for part, metric in metrics:
        try:
            values = _call_metric(part, metric, real, fake, seed, training)
        except UsageError as error:
            if part.qualified_name in required:
                raise
            refusals.append(error)
            doubts |= dict.fromkeys((*part.lower, *part.higher), drop_advice(str(error)))
            continue
        for name, value in values.items():
            if isinstance(value, Mapping):
                classes[name] = {str(label): float(number) for label, number in value.items()}
            else:
                scores[name] = float(value)
        few = _explain_few(part, len(real.features), len(fake.features))
        doubts |= dict.fromkeys((*part.lower, *part.higher), few) if few else {}
    if len(refusals) == len(metrics):
        raise _merge_refusals(refusals, len(real.features), len(fake.features))
    better = {name: way for part, _ in metrics for way in ("lower", "higher") for name in getattr(part, way)}
    order = order_names(scores, doubts)
    return {
        "scores": {name: scores[name] for name in order},
        "classes": classes,
        "better": {name: better[name] for name in order if name in better},
        "doubts": doubts,
    }


def _select_metrics(
    metrics: Sequence[LoadedMetric], fake: Features, required: Collection[str]
) -> Sequence[LoadedMetric]:
    """Those that can be computed with or without targets; raises UsageError for a required one that cannot."""
    if fake.targets is not None:
        return metrics
    for part, _ in metrics:
        if PAIRS in part.needs and (part.qualified_name in required or len(metrics) == 1):
            raise UsageError(
                f"the metric {part.name} compares each image with the one that it should be, and these images have no "
                "such target; score a run whose generator takes conditions, or leave it out of --metrics"
            )
    return [(part, metric) for part, metric in metrics if PAIRS not in part.needs]


def _merge_refusals(refusals: Sequence[UsageError], real: int, fake: int) -> UsageError:
    """All reasons, the numbers of images once, and the advice that each gives: what helps one may not help another."""
    if len(refusals) == 1:
        return refusals[0]
    advice = [str(error).split("; ")[1:] for error in refusals]
    ways = [way for way in advice[0] if all(way in ways for ways in advice)]
    reasons = dict.fromkeys(_COUNTS.sub("", drop_advice(str(error))) for error in refusals)
    counts = f"{pluralise(fake, 'image')} against {real:,}"
    return UsageError(f"no metric can be computed from {counts}: {'; '.join((*reasons, *ways))}")


def _call_metric(
    part: Part, metric: Any, real: Features, fake: Features, seed: int, training: TrainingFeatures | None
) -> Mapping[str, Any]:
    more = training._asdict() if training is not None and needs_training_images(part) else {}
    try:
        values = metric(real, fake, seed, **more)
    except (GanzooError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        raise loading.make_plugin_error(part, "it raised", error) from error
    if not isinstance(values, Mapping):
        raise PluginError(f"{part.label}: returned a {type(values).__name__}; expected scores by name")
    return values


def _explain_few(part: Part, real: int, fake: int) -> str:
    """Why a metric's scores mean little, if it has too few images; else ""."""
    if min(real, fake) >= part.min_images:
        return ""
    counts = f"{real:,} are in the reference" if real <= fake else f"{fake:,} are scored"
    return f"{part.name} means little below {part.min_images:,} images, and {counts}"
