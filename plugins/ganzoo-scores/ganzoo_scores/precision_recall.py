"""The metric `precision-recall`: by balls around the nearest neighbours, by torch-fidelity."""

from __future__ import annotations

from functools import partial

import ganzoo_core as gz

BATCH = 1000  # rows of distances at a time


@gz.hookimpl
def metric(options: gz.Options) -> gz.Metric:
    """Kynkäänniemi et al. 2019, arXiv:1904.06991, equation 2."""
    return partial(score, neighbours=options["neighbours"])


def score(real: gz.Features, fake: gz.Features, seed: int, *, neighbours: int = 3) -> dict[str, float]:
    """`precision`: generated images within a real one's ball; `recall`: real images within a generated one's."""
    import torch
    from torch_fidelity.metric_prc import prc_features_to_metric  # type: ignore[import-untyped]

    check_image_count(real, fake, neighbours, "precision-recall")
    found = prc_features_to_metric(
        torch.from_numpy(fake.features),
        torch.from_numpy(real.features),
        prc_neighborhood=neighbours,
        prc_batch_size=BATCH,
        save_cpu_ram=True,
        verbose=False,
    )
    return {"precision": float(found["precision"]), "recall": float(found["recall"])}


def check_image_count(real: gz.Features, fake: gz.Features, neighbours: int, name: str) -> None:
    """Raise UsageError where an image has not so many neighbours."""
    if neighbours < 1:
        raise gz.UsageError(f"metric.{name}.neighbours is {neighbours}; expected 1 or more")
    least = min(len(real.features), len(fake.features))
    if least <= neighbours:
        raise gz.UsageError(f"{name} needs more than {neighbours} images on each side, and there are {least}; say -n")
