"""The metric `is`: exp of the mean KL divergence of p(class | image) from p(class), by torchmetrics."""

from __future__ import annotations

import warnings
from functools import partial

import ganzoo_core as gz


@gz.hookimpl
def metric(options: gz.Options) -> gz.Metric:
    """Salimans et al. 2016, arXiv:1606.03498, section 4, on the extractor's logits."""
    return partial(score, splits=options["splits"])


def score(real: gz.Features, fake: gz.Features, seed: int, *, splits: int = 10) -> dict[str, float]:
    """`is` and `is_std`: mean and standard deviation over random splits; from 1 to the number of classes."""
    import torch
    from torchmetrics.image.inception import InceptionScore

    if fake.logits is None:
        raise gz.UsageError("is needs logits, which this extractor does not give; name others with --metrics")
    if splits < 1 or len(fake.logits) < 2 * splits:
        raise gz.UsageError(
            f"is takes 2 images or more in each of its {splits} parts, and there are {len(fake.logits)}; say a larger "
            "-n, or a smaller --set metric.is.splits=…"
        )
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # Warnings that it stores all logits, and that one split has no standard deviation.
        warnings.simplefilter("ignore", UserWarning)
        torch.manual_seed(seed)
        metric_state = InceptionScore(feature=torch.nn.Identity(), splits=splits)
        metric_state.update(torch.from_numpy(fake.logits).double())
        mean, spread = metric_state.compute()
    return {"is": float(mean), "is_std": float(spread) if splits > 1 else 0.0}
