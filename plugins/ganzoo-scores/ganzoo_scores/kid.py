"""The metric `kid`: the squared maximum mean discrepancy under a cubic kernel, by torchmetrics."""

from __future__ import annotations

import warnings
from functools import partial

import ganzoo_core as gz
from ganzoo_scores.counts import require_images

MIN_IMAGES = 4  # on each side, so that half of them are a subset of two


@gz.hookimpl
def metric(options: gz.Options) -> gz.Metric:
    """Bińkowski et al. 2018, arXiv:1801.01401, section 4: k(x, y) = (x·y / F + 1)³."""
    return partial(score, subsets=options["subsets"], subset_size=options["subset_size"])


def score(
    real: gz.Features, fake: gz.Features, seed: int, *, subsets: int = 100, subset_size: int = 1000
) -> dict[str, float]:
    """`kid` and `kid_std`: mean and standard deviation over random subsets. Unbiased, so it may be negative."""
    import torch
    from torchmetrics.image.kid import KernelInceptionDistance

    if subsets < 1 or subset_size < 2:
        raise gz.UsageError(f"kid takes at least 1 subset of at least 2 images; found {subsets} of {subset_size}")
    require_images("kid", MIN_IMAGES, real, fake)
    least = min(len(real.features), len(fake.features))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a warning that it stores all features
        distance = KernelInceptionDistance(
            feature=torch.nn.Identity(), subsets=subsets, subset_size=min(subset_size, least // 2)
        )
    for features, is_real in ((real, True), (fake, False)):
        distance.update(torch.from_numpy(features.features).double(), real=is_real)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, spread = distance.compute()
    return {"kid": float(mean), "kid_std": float(spread)}
