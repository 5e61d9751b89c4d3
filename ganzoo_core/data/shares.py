"""A fixed share of the training images, for what models make of little data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ganzoo_core.api import ImageSource
from ganzoo_core.data.splits import select_images
from ganzoo_core.messages import pluralise

SHARE_SEED = 20200612  # any fixed number: runs of different seeds and machines get the same images


def take_share(source: ImageSource, share: float) -> ImageSource:
    """Keep a share of a source's images, chosen by `choose_share`, in their order; all of them for 1.

    Args:
        source: the images that are trained on; nothing is read of a large file.
        share: above 0 and at most 1.

    Returns:
        The source with a note, and with `whole` reduced alike, so that it counts what could be trained on.
    """
    if share == 1:
        return source
    chosen, count = choose_share(source, share), len(source.images)
    alike = "" if source.labels is None else ", of each class alike"
    note = f"data.share={share:g}: this is a fixed part{alike}, {chosen.sum():,} of {pluralise(count, 'image')}"
    return replace(select_images(source, chosen), whole=_reduce_whole(source, share), notes=(*source.notes, note))


def choose_share(source: ImageSource, share: float) -> np.ndarray:
    """Choose a share of the images, bool [N]. A smaller share is part of a larger one.

    The images stand in one fixed order, and the first of them are chosen. It begins with one image of each class, so
    that no class is lost as long as there are as many images as classes, and then takes from each class in proportion:
    without that, a tenth of a few hundred images would change the balance of classes, and with it every score. Within a
    class the order is that of `split_keys`, which stays when images come or go, or else that of a seeded permutation.
    """
    count = len(source.images)
    first = np.random.Generator(np.random.Philox(SHARE_SEED)).permutation(count)
    if source.split_keys is not None:
        first = np.argsort(source.split_keys, kind="stable")
    labels = np.zeros(count, np.int64) if source.labels is None else source.labels[first]
    by_class = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    starts = np.cumsum(sizes) - sizes
    within = np.empty(count)  # the share of its class that stands before an image
    within[by_class] = (np.arange(count) - starts[labels[by_class]]) / sizes[labels[by_class]]
    order = first[np.argsort(within, kind="stable")]
    chosen = np.zeros(count, dtype=bool)
    chosen[order[: count_share(count, share)]] = True
    return chosen


def count_share(count: int, share: float) -> int:
    """The number of images in a share of `count`: rounded, at least one."""
    return max(1, round(count * share))


def _reduce_whole(source: ImageSource, share: float) -> int:
    return max(count_share(source.whole, share), count_share(len(source.images), share)) if source.whole else 0
