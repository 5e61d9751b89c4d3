"""The metric `fid`: Fréchet distance of two Gaussians, by torchmetrics, over all images and within each class."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

import ganzoo_core as gz
from ganzoo_scores import kid
from ganzoo_scores.counts import check_image_count, require_images


@gz.hookimpl
def metric(options: gz.Options) -> gz.Metric:
    """Heusel et al. 2017, arXiv:1706.08500, equation 6, on the extractor's features."""
    return partial(score, allow_few=options["allow_few"])


def score(
    real: gz.Features, fake: gz.Features, seed: int, *, allow_few: bool = False
) -> dict[str, float | Mapping[str, float]]:
    """`fid`, and `fid_within` by class, for classes with enough real and generated images.

    The class of a generated image is the requested one or, for unconditional models, the one the extractor predicts.

    Raises:
        UsageError: if there are no more images than features, so that the covariance is singular, unless
            `allow_few`; of one image there is none.
    """
    size = real.features.shape[1]
    if allow_few:
        require_images("fid", 2, real, fake)
    else:
        least = min(len(real.features), len(fake.features))
        ways = ["--metrics kid suits few images"] if least >= kid.MIN_IMAGES else []
        ways += ["--set metric.fid.allow_few=true scores them all the same"] if least > 1 else []
        need = f"fid needs more images than the extractor has features, {size:,}"
        check_image_count(need, size + 1, real, fake, advice=", and ".join(ways))
    scores: dict[str, float | Mapping[str, float]] = {"fid": compute_frechet_distance(real.features, fake.features)}
    labels = find_labels(fake)
    if real.labels is None or labels is None:
        return scores
    within = {}
    for label, name in enumerate(real.class_names):
        chosen = real.features[real.labels == label], fake.features[labels == label]
        if min(map(len, chosen)) > size:
            within[name] = compute_frechet_distance(*chosen)
    return {**scores, "fid": scores["fid"], **({"fid_within": within} if within else {})}


def compute_frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """The squared Fréchet distance of the Gaussians fitted to two sets of features [N,F]."""
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    identity = torch.nn.Identity()
    identity.num_features = real.shape[1]
    distance = FrechetInceptionDistance(feature=identity)
    for features, is_real in ((real, True), (fake, False)):
        distance.update(torch.from_numpy(features).double(), real=is_real)
    # For two equal sets rounding may give a negative value.
    return max(0.0, float(distance.compute()))


def find_labels(fake: gz.Features) -> np.ndarray | None:
    """int64 [N]: the requested classes, else the predicted ones; None if the extractor does not predict classes."""
    if fake.labels is not None:
        return fake.labels
    known = fake.logits is not None and len(fake.class_names) == fake.logits.shape[1]
    return fake.logits.argmax(axis=1) if known and fake.logits is not None else None
