"""The metric `classes`: what the classifier finds in the generated images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

import ganzoo_core as gz


@gz.hookimpl
def metric(options: gz.Options) -> gz.Metric:
    """Counts, over the classes of the data."""
    return partial(score, covered=options["covered"])


def score(
    real: gz.Features, fake: gz.Features, seed: int, *, covered: float = 0.1
) -> dict[str, float | Mapping[str, float]]:
    """`modes`: classes whose share of the generated images is at least `covered` times their share of the reference.

    `agreement`, of a conditional model: the part of the images that are found to be of the class asked for.
    By class: `share` of the generated images, `reference_share`, and `agreement`.
    """
    if fake.logits is None or real.labels is None or fake.logits.shape[1] != len(real.class_names):
        raise gz.UsageError("classes needs an extractor that knows the data's classes; say --extractor classifier")
    names, count = real.class_names, len(real.class_names)
    seen = fake.logits.argmax(axis=1)
    share = np.bincount(seen, minlength=count) / len(seen)
    wanted = np.bincount(real.labels, minlength=count) / len(real.labels)
    there = wanted > 0
    found: dict[str, float | Mapping[str, float]] = {
        "modes": float((share[there] >= covered * wanted[there]).sum()),
        "share": dict(zip(names, share.tolist(), strict=True)),
        "reference_share": dict(zip(names, wanted.tolist(), strict=True)),
    }
    if fake.labels is not None:
        agrees = seen == fake.labels
        asked = sorted(set(fake.labels.tolist()))
        within = {names[label]: float(agrees[fake.labels == label].mean()) for label in asked}
        # A class has one number under one name; the mean stands among the scores.
        found |= {"agreement": float(agrees.mean()), "agreement_within": within}
    return found
