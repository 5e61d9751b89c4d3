"""Train and test splits for a set that has no official test split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ganzoo_core.api import ImageSource, Options
from ganzoo_core.data import lazy
from ganzoo_core.data.conditions import take_rows
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value, pluralise

DEFAULT_HOLDOUT = 0.2
HOLDOUT_SEED = 20140610  # any fixed number: the split must be the same on every machine, for ever


def hold_out(source: ImageSource, split: str, options: Options | None = None) -> ImageSource:
    """Split a set that has no official test split: a fixed share is `test`, the rest `train`.

    Images with `split_keys` are `test` if their key is below the share, so each stays in its part when others come or
    go. But a class of which all images would be `test` keeps those with its greatest key for training. Without keys, a
    seeded permutation of the indices chooses.

    Args:
        source: the whole set.
        split: `train`, `test` or `all`.
        options: the dataset's options; `holdout` is the share of `test`, from 0 to below 1, by default 0.2. With 0 both
            `train` and `test` are all images, so scores compare with the training images. It is the same where no key
            is below the share.

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
    if source.split_keys is None:
        is_test, how = _choose_by_index(count, share)
    else:
        is_test, how = _choose_by_key(source.split_keys, source.labels, share)
    if not share or (source.split_keys is not None and not is_test.any()):
        same = pluralise(count, "image")
        note = f"nothing is held out{how}: train and test are the same {same}, so a score cannot tell copies"
        return replace(source, held_out=0, notes=(*source.notes, note))
    chosen = is_test if split == "test" else ~is_test
    note = f"no official test part: {how}; this is {split}, {chosen.sum():,} of {pluralise(count, 'image')}"
    held_out = count - int(chosen.sum())
    return replace(select_images(source, chosen), whole=count, held_out=held_out, notes=(*source.notes, note))


def select_images(source: ImageSource, chosen: np.ndarray) -> ImageSource:
    """The chosen images, bool [N], in their order, with everything that belongs to each."""
    return replace(
        source,
        images=lazy.select(source.images, chosen),
        whole=0,
        conditions=take_rows(source.conditions, chosen, lazy.select),
        **{
            name: rows[chosen]
            for name in ("labels", "sizes", "split_keys", "digests")
            if (rows := getattr(source, name)) is not None
        },
    )


def _choose_by_index(count: int, share: float) -> tuple[np.ndarray, str]:
    """Choose the images that are held out, bool [N], and say how.

    The share is rounded down to whole images, but at least one; a single image cannot be split.
    """
    is_test = np.zeros(count, dtype=bool)
    if not share:
        return is_test, ""
    held = np.random.Generator(np.random.Philox(HOLDOUT_SEED)).permutation(count)[: max(1, int(count * share))]
    is_test[held] = count > 1
    how = f"a fixed {100 * share:.3g}% is held out" if count * share >= 1 else "a fixed one is held out"
    return is_test, "nothing is held out of a single image" if count == 1 else how


def _choose_by_key(keys: np.ndarray, labels: np.ndarray | None, share: float) -> tuple[np.ndarray, str]:
    """As `_choose_by_index`, by each image's own key. Images of equal key stay together, also across classes."""
    is_test = keys < share
    if not share:
        return is_test, ""
    classes = np.zeros(len(keys), np.int64) if labels is None else labels
    greatest = np.zeros(classes.max() + 1)
    np.maximum.at(greatest, classes, keys)
    without = np.unique(classes[is_test])
    without = without[greatest[without] < share]
    is_test &= ~np.isin(keys, greatest[without])
    if not is_test.any():
        return is_test, f", since a choice of {100 * share:.3g}% by each file's content takes none"
    how = f"{100 * share:.3g}% is held out, chosen by each file's content"
    if len(without) and labels is not None:
        kept = "1 class keeps" if len(without) == 1 else f"{len(without):,} classes keep"
        how += f"; {kept} one, without other training images"
    return is_test, how
