"""What the scored run was trained on, and what of the same data it was not: the references of metrics of copies."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np

from ganzoo_core.api import ImageSource
from ganzoo_core.data import shares, splits
from ganzoo_core.errors import DataError
from ganzoo_core.evaluation.request import ScoreRequest
from ganzoo_core.randomness import philox

MAX_HELD_OUT = 10_000  # of a part that is not the reference
ReadSplit = Callable[[str], ImageSource]


def read_training_images(request: ScoreRequest, read_split: ReadSplit) -> ImageSource:
    """The share `data.share` of the split that was trained on; references are of whole splits."""
    return shares.take_share(read_split(request.split), _find_share(request))


def read_held_out(request: ScoreRequest, read_split: ReadSplit) -> tuple[str, ImageSource | None]:
    """The split that was not trained on, by name and images; or else the rest of a share, with no name.

    None for the images if all were trained on.

    Raises:
        DataError, UsageError: if the training split cannot be read.
    """
    split = {"train": "test", "test": "train"}.get(request.split, "")
    source = None
    with contextlib.suppress(DataError):  # the data have no such part
        source = read_split(split) if split else None
    if source is not None and len(source.images) != source.whole:
        return split, source
    whole = read_split(request.split)
    rest = ~shares.choose_share(whole, _find_share(request))
    return "", splits.select_images(whole, rest) if rest.any() else None


def limit_held_out(source: ImageSource) -> np.ndarray:
    """Images uint8 [N,H,W,C] of a source, a fixed choice of 10,000 if there are more."""
    order = philox(0, "held out").permutation(len(source.images))[:MAX_HELD_OUT]
    return np.asarray(source.images[np.sort(order)])


def _find_share(request: ScoreRequest) -> float:
    return float(request.data_options.get("share", 1.0))
