"""The metric `modes`: how many classes are drawn, and how evenly, as papers count them on stacked MNIST."""

from __future__ import annotations

from functools import partial

import numpy as np

import ganzoo_core as gz


@gz.hookimpl
def metric(options: gz.Options) -> gz.Metric:
    """Metz et al. 2017, arXiv:1611.02163; with 26 images a class as in PacGAN, arXiv:1712.04086, and later papers."""
    return partial(score, per_class=options["per_class"], allow_few=options["allow_few"])


def score(
    real: gz.Features, fake: gz.Features, seed: int, *, per_class: int = 26, allow_few: bool = False
) -> dict[str, float]:
    """`modes_found`: classes in which the classifier puts at least one image. `modes_kl`: the Kullback-Leibler
    divergence of their shares from the uniform distribution, in nats, Σ p ln(K p), from 0 to ln K.

    26 images a class are looked at, chosen by `seed` if there are more: 26,000 of stacked MNIST. So many drawn evenly
    have a divergence of about (K - 1) / (2 · 26 K), 0.019.

    Raises:
        UsageError: if the extractor does not know the classes, or for fewer images, unless `allow_few`.
    """
    count = len(real.class_names)
    if fake.logits is None or not count or fake.logits.shape[1] != count:
        raise gz.UsageError("modes needs an extractor that knows the data's classes; say --extractor classifier")
    if per_class < 1:
        raise gz.UsageError(f"metric.modes.per_class is {per_class}; expected 1 or more")
    least, there = per_class * count, len(fake.logits)
    if there < least and not allow_few:
        raise gz.UsageError(
            f"modes looks at {least:,} images, {per_class} for each of {count:,} classes, and {there:,} are scored; a "
            f"run draws more with -n {least}, or say --set metric.modes.allow_few=true"
        )
    chosen = np.random.Generator(np.random.Philox(seed)).permutation(there)[:least]
    shares = np.bincount(fake.logits.argmax(axis=1)[chosen], minlength=count) / len(chosen)
    found = shares[shares > 0]
    return {"modes_found": float(len(found)), "modes_kl": float((found * np.log(found * count)).sum())}
