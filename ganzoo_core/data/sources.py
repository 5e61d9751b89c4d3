"""Make image sources from arrays passed from Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganzoo_core.api import ImageSource
from ganzoo_core.data.classes import check_index, read_labels


def as_source(array: np.ndarray, labels: Any) -> ImageSource:
    """Make an image source from arrays.

    Args:
        array: uint8 [N,H,W,C]; [N,H,W] counts as one channel.
        labels: whole numbers [N] from 0, or None.

    Raises:
        UsageError: for invalid labels.
        DataError: for invalid images.
    """
    if array.ndim == 3:
        array = array[..., None]
    if labels is None:
        return ImageSource(array)
    checked = read_labels(labels, check_index, count=len(array) if array.ndim else 0)
    return ImageSource(array, checked, tuple(str(number) for number in range(int(checked.max(initial=0)) + 1)))
