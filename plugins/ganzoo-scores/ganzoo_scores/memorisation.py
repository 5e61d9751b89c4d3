"""The metric `memorisation`: whether generated images are copies of training images, in the extractor's features."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np

import ganzoo_core as gz
from ganzoo_scores.precision_recall import BATCH

MIN_IN_CELL = 20  # generated images, below which a cell does not count, as in the code of arXiv:2004.05675
MAX_CELLS = 50  # as many as that code takes for MNIST


@gz.hookimpl
def metric(options: gz.Options) -> gz.Metric:
    """AuthPct (Alaa et al. 2021, arXiv:2102.08921), or C_T (Meehan et al. 2020, arXiv:2004.05675)."""
    return partial(score, cells=options["cells"])


def score(
    real: gz.Features,
    fake: gz.Features,
    seed: int,
    *,
    training: gz.Features,
    held_out: gz.Features | None = None,
    cells: int = 0,
) -> dict[str, float]:
    """`authpct` where nothing was held out, else `c_t`.

    `authpct`: see `find_authentic`, in percent: 0 for copies, 100 for images far from all that was trained on.
    `c_t`: see `compare_distances`: well below 0 for copies, near 0 for held-out images, above 0 for images that lie
    further from the training images than held-out ones do. It is a z-score, so it grows with the number of images.

    Args:
        real: unused.
        fake: of the images that are scored.
        seed: of the cells' centres.
        training: of the images that were trained on.
        held_out: of others of the same data; None if there are none.
        cells: for `c_t`; 0 for at most 50, such that 20 held-out images fall into each on average.

    Raises:
        UsageError: if there is one training image, or no cell has 20 generated images and a held-out one.
    """
    if len(training.features) < 2:
        raise gz.UsageError("memorisation needs 2 training images, and there is 1")
    if cells < 0:
        raise gz.UsageError(f"metric.memorisation.cells is {cells}; expected 1 or more, or 0 for as many as suit")
    if held_out is None:
        return {"authpct": 100 * float(find_authentic(training.features, fake.features).mean())}
    wanted = cells or max(1, min(MAX_CELLS, len(held_out.features) // MIN_IN_CELL))
    sets = (training.features, held_out.features, fake.features)
    return {"c_t": compare_distances(*sets, *assign_cells(*sets, count=wanted, seed=seed))}


def find_authentic(training: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """Which generated images are no copies, bool [N]: the authenticity of arXiv:2102.08921.

    An image is a copy if it is no further from its nearest training image than that is from its own nearest neighbour.

    Args:
        training: features float32 [M,F], M at least 2.
        fake: features float32 [N,F].
    """
    distance, index = find_nearest(fake, training)
    between, _ = find_nearest(training, training, itself=False)
    return np.asarray(distance > between[index])


def assign_cells(
    training: np.ndarray, held_out: np.ndarray, fake: np.ndarray, *, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cell of each row of the three sets, int [M], [P] and [N]: k-means of the training images."""
    from sklearn.cluster import KMeans

    means = KMeans(min(count, len(training)), n_init=10, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different images than cells
        means.fit(training)
    return means.predict(training), means.predict(held_out), means.predict(fake)


def compare_distances(
    training: np.ndarray,
    held_out: np.ndarray,
    fake: np.ndarray,
    training_cells: np.ndarray,
    held_out_cells: np.ndarray,
    fake_cells: np.ndarray,
) -> float:
    """C_T of arXiv:2004.05675: the mean over cells, weighted by their held-out images, of a z-score.

    In each cell it is the z-score of the Mann-Whitney statistic: of how many pairs the generated image is further from
    its nearest training image of the cell than the held-out one. Cells with fewer than 20 generated images are left
    out. Differs from the authors' code: no continuity correction, and exactly 20 are enough.

    Raises:
        UsageError: if no cell is left.
    """
    from scipy.stats import mannwhitneyu

    total = weight = 0.0
    for cell in np.unique(held_out_cells):
        near, others, drawn = (
            rows[cells == cell]
            for rows, cells in ((training, training_cells), (held_out, held_out_cells), (fake, fake_cells))
        )
        if len(drawn) < MIN_IN_CELL or not len(near):
            continue
        distances = find_nearest(drawn, near)[0], find_nearest(others, near)[0]
        m, n = len(drawn), len(others)
        above = mannwhitneyu(*distances).statistic
        total += n * (above - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12)
        weight += n
    if not weight:
        raise gz.UsageError(
            f"memorisation needs {MIN_IN_CELL} scored images where held-out ones lie, and there are fewer; a run draws "
            "more with -n 1000, or say --set metric.memorisation.cells=1"
        )
    return float(total / weight)


def find_nearest(rows: np.ndarray, others: np.ndarray, *, itself: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """The distance to the nearest of `others`, float32 [N], and its index, int64 [N].

    Args:
        rows: features float32 [N,F].
        others: features float32 [M,F].
        itself: whether row i may be nearest to row i of `others`, if both are the same set.
    """
    import torch

    of, to = torch.from_numpy(np.ascontiguousarray(rows)), torch.from_numpy(np.ascontiguousarray(others))
    found = []
    for start in range(0, len(of), BATCH):
        # Not by matrix products, whose rounding gives a copy a distance.
        distances = torch.cdist(of[start : start + BATCH], to, compute_mode="donot_use_mm_for_euclid_dist")
        if not itself:
            number = torch.arange(len(distances))
            distances[number, start + number] = torch.inf
        found.append(distances.min(dim=1))
    return torch.cat([each.values for each in found]).numpy(), torch.cat([each.indices for each in found]).numpy()
