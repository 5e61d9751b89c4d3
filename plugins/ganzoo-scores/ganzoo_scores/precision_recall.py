"""The metric `precision-recall`: by nearest-neighbour balls, by torch-fidelity."""

from __future__ import annotations

from functools import partial

import ganzoo_core as gz
from ganzoo_scores.counts import require_images

BATCH = 1000  # rows of the distance matrix at a time


@gz.hookimpl
def metric(options: gz.Options) -> gz.Metric:
    """Kynkäänniemi et al. 2019, arXiv:1904.06991, equation 2."""
    return partial(score, neighbours=options["neighbours"])


def score(real: gz.Features, fake: gz.Features, seed: int, *, neighbours: int = 3) -> dict[str, float]:
    """`precision`: fraction of generated images in a real one's ball; `recall`: of real images in a generated one's."""
    import torch
    from torch_fidelity.metric_prc import prc_features_to_metric

    check_neighbours(real, fake, neighbours, "precision-recall")
    result = prc_features_to_metric(
        torch.from_numpy(fake.features),
        torch.from_numpy(real.features),
        prc_neighborhood=neighbours,
        prc_batch_size=BATCH,
        save_cpu_ram=True,
        verbose=False,
    )
    return {"precision": float(result["precision"]), "recall": float(result["recall"])}


def check_neighbours(real: gz.Features, fake: gz.Features, neighbours: int, name: str) -> None:
    """Raise UsageError if `neighbours` is below 1, or an image has fewer others in its set."""
    if neighbours < 1:
        raise gz.UsageError(f"metric.{name}.neighbours is {neighbours}; expected 1 or more")
    require_images(name, neighbours + 1, real, fake)
