"""Train and test splits for a set that has no official test split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ganzoo_core.api import ImageSource, Options
from ganzoo_core.data import lazy
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value, pluralise

DEFAULT_HOLDOUT = 0.2
HOLDOUT_SEED = 20140610  # any fixed number: the split must be the same on every machine, for ever


def hold_out(source: ImageSource, split: str, options: Options | None = None) -> ImageSource:
    """Split a set that has no official test split: a fixed, seeded share is `test`, the rest `train`.

    Args:
        source: the whole set.
        split: `train`, `test` or `all`.
        options: the dataset's options; `holdout` is the share of `test`, from 0 to below 1, by default 0.2. With 0 both
            `train` and `test` are all images, so scores compare with the training images.

    Returns:
        The images of that split in their original order, with a note that says how they were chosen, and `whole` set.
        A large memory map is not read: the images are read on demand.

    Raises:
        UsageError: for an invalid share.
    """
    count, share = len(source.images), (options or {}).get("holdout", DEFAULT_HOLDOUT)
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share < 1:
        raise UsageError(f"holdout is {format_value(share)}; expected the share that is held out, from 0 to below 1")
    source = replace(source, whole=count)
    if split == "all":
        return source
    if not share:
        same = pluralise(count, "image")
        note = f"nothing is held out: train and test are the same {same}, so a score cannot tell copies"
        return replace(source, notes=(*source.notes, note))
    held = np.random.Generator(np.random.Philox(HOLDOUT_SEED)).permutation(count)[: max(1, int(count * share))]
    is_test = np.zeros(count, dtype=bool)
    is_test[held] = count > 1
    chosen = is_test if split == "test" else ~is_test
    # The share is rounded down to whole images, but at least one; a single image cannot be split.
    how = f"a fixed {100 * share:.3g}% is held out" if count * share >= 1 else "a fixed one is held out"
    how = "nothing is held out of a single image" if count == 1 else how
    note = f"no official test part: {how}; this is {split}, {chosen.sum():,} of {pluralise(count, 'image')}"
    return replace(
        source,
        images=lazy.select(source.images, chosen),
        labels=None if source.labels is None else source.labels[chosen],
        sizes=None if source.sizes is None else source.sizes[chosen],
        held_out=count - int(chosen.sum()),
        notes=(*source.notes, note),
    )
