"""The metric `density-coverage`. Neither torchmetrics nor torch-fidelity has it, so its two sums are written here."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import ganzoo_core as gz
from ganzoo_scores.precision_recall import BATCH, check_image_count

if TYPE_CHECKING:
    from torch import Tensor


@gz.hookimpl
def metric(options: gz.Options) -> gz.Metric:
    """Naeem et al. 2020, arXiv:2002.09797, equations 3 and 4."""
    return partial(score, neighbours=options["neighbours"])


def score(real: gz.Features, fake: gz.Features, seed: int, *, neighbours: int = 5) -> dict[str, float]:
    """`density`: in how many real images' balls a generated one lies, over `neighbours`, which may pass 1; `coverage`:
    real images whose ball holds a generated one. A real image's ball reaches to its k-th nearest real neighbour.
    """
    import torch

    check_image_count(real, fake, neighbours, "density-coverage")
    X, Y = torch.from_numpy(real.features), torch.from_numpy(fake.features)
    inside, covered = 0, 0
    for rows in X.split(BATCH):
        # The nearest of all is the image itself, at no distance.
        radius = _compute_distances(rows, X).kthvalue(neighbours + 1, dim=1).values
        within = _compute_distances(rows, Y) < radius[:, None]  # [real, fake]
        inside += int(within.sum())
        covered += int(within.any(dim=1).sum())
    return {"density": inside / (neighbours * len(Y)), "coverage": covered / len(X)}


def _compute_distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean [A,B]; without the shortcut over a matrix product, by which a point lies off itself."""
    import torch

    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
