"""The metric `is`: exp of the mean divergence of each image's classes from those of all, by torchmetrics."""

from __future__ import annotations

import warnings
from functools import partial

import ganzoo_core as gz


@gz.hookimpl
def metric(options: gz.Options) -> gz.Metric:
    """Salimans et al. 2016, arXiv:1606.03498, section 4, on the extractor's logits."""
    return partial(score, splits=options["splits"])


def score(real: gz.Features, fake: gz.Features, seed: int, *, splits: int = 10) -> dict[str, float]:
    """`is` and `is_std`, mean and spread over random parts; from 1 up to the number of classes."""
    import torch
    from torchmetrics.image.inception import InceptionScore

    if fake.logits is None:
        raise gz.UsageError("is needs logits, which this extractor does not give; say --metrics without it")
    if splits < 1 or len(fake.logits) < 2 * splits:
        raise gz.UsageError(
            f"is takes 2 images or more in each of its {splits} parts, and there are {len(fake.logits)}; say a larger "
            "-n, or a smaller --set metric.is.splits=…"
        )
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # That it keeps all logits, which are here anyway; and that one part has no spread.
        warnings.simplefilter("ignore", UserWarning)
        torch.manual_seed(seed)
        found = InceptionScore(feature=torch.nn.Identity(), splits=splits)
        found.update(torch.from_numpy(fake.logits).double())
        mean, spread = found.compute()
    return {"is": float(mean), "is_std": float(spread) if splits > 1 else 0.0}
