"""The metric `density-coverage`, implemented here since torchmetrics and torch-fidelity lack it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import ganzoo_core as gz
from ganzoo_scores.precision_recall import BATCH, check_neighbours

if TYPE_CHECKING:
    from torch import Tensor


@gz.hookimpl
def metric(options: gz.Options) -> gz.Metric:
    """Naeem et al. 2020, arXiv:2002.09797, equations 3 and 4."""
    return partial(score, neighbours=options["neighbours"])


def score(real: gz.Features, fake: gz.Features, seed: int, *, neighbours: int = 5) -> dict[str, float]:
    """`density`: mean number of real balls that contain a generated image, divided by `neighbours`; may exceed 1.
    `coverage`: fraction of real images whose ball contains a generated image.

    The ball of a real image reaches to its k-th nearest real neighbour, k being `neighbours`.
    """
    import torch

    check_neighbours(real, fake, neighbours, "density-coverage")
    X, Y = torch.from_numpy(real.features), torch.from_numpy(fake.features)
    inside, covered = 0, 0
    for rows in X.split(BATCH):
        # The nearest of all is the image itself, at distance 0.
        radius = _compute_distances(rows, X).kthvalue(neighbours + 1, dim=1).values
        within = _compute_distances(rows, Y) < radius[:, None]  # [real, fake]
        inside += int(within.sum())
        covered += int(within.any(dim=1).sum())
    return {"density": inside / (neighbours * len(Y)), "coverage": covered / len(X)}


def _compute_distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances [A,B], not by matrix products, whose rounding gives a point a distance to itself."""
    import torch

    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
