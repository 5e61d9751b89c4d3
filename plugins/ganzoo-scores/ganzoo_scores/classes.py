"""The metric `classes`: the classes of the generated images, as predicted by the classifier."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

import ganzoo_core as gz


@gz.hookimpl
def metric(options: gz.Options) -> gz.Metric:
    """Modes, class shares and agreement with the requested class."""
    return partial(score, covered=options["covered"])


def score(
    real: gz.Features, fake: gz.Features, seed: int, *, covered: float = 0.1
) -> dict[str, float | Mapping[str, float]]:
    """`modes`: number of classes whose share of the generated images is at least `covered` times their reference share.

    `agreement`, for conditional models: the fraction of images predicted as the requested class.
    By class: `share` of the generated images, `reference_share`, and `agreement_within`.
    """
    if fake.logits is None or real.labels is None or fake.logits.shape[1] != len(real.class_names):
        raise gz.UsageError("classes needs an extractor that knows the data's classes; say --extractor classifier")
    names, count = real.class_names, len(real.class_names)
    seen = fake.logits.argmax(axis=1)
    share = np.bincount(seen, minlength=count) / len(seen)
    reference_share = np.bincount(real.labels, minlength=count) / len(real.labels)
    there = reference_share > 0
    scores: dict[str, float | Mapping[str, float]] = {
        "modes": float((share[there] >= covered * reference_share[there]).sum()),
        "share": dict(zip(names, share.tolist(), strict=True)),
        "reference_share": dict(zip(names, reference_share.tolist(), strict=True)),
    }
    if fake.labels is not None:
        agrees = seen == fake.labels
        requested = sorted(set(fake.labels.tolist()))
        within = {names[label]: float(agrees[fake.labels == label].mean()) for label in requested}
        # The values by class need a name of their own beside the mean.
        scores |= {"agreement": float(agrees.mean()), "agreement_within": within}
    return scores
