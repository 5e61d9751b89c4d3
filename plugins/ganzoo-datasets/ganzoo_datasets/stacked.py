"""`--data stacked-mnist` and `--data stacked-digits`: three digits as the colours of one picture, in 1,000 classes.

A set that shows how many modes a generator finds: Metz et al. 2017, arXiv:1611.02163; as large as in PacGAN,
arXiv:1712.04086.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets import digits, mnist

COUNTS = {"train": 128_000, "test": 26_000}
"""Pictures in each part: those that PacGAN trains on, and as many as are drawn to count modes, 26 for each."""
_SEED = 16_110_216  # fixed, so that the pictures are the same everywhere
_STREAM = {"train": 0, "test": 1}


class StackedImages:
    """Pictures whose three channels are grey pictures of another set; each is made when it is asked for.

    Args:
        single: uint8 [M,H,W,1].
        triples: int64 [N,3], the index of the picture in each channel.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, single: gz.Images, triples: np.ndarray) -> None:
        self.single, self.triples = single, triples
        self.shape = (len(triples), *single.shape[1:3], 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """uint8 [N,H,W,3] for an index array, a slice or a mask."""
        return np.concatenate([self.single[numbers] for numbers in self.triples[index].T], axis=-1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)


@gz.hookimpl
def dataset(name: str, root: Path, split: str, options: gz.Options) -> gz.ImageSource:
    """128,000 pictures of random training digits, 26,000 of random test digits, or both.

    Where no digits are held out (`data.holdout=0`, of `stacked-digits`), all splits are the same 128,000.

    Raises:
        DataError: as `mnist` does.
    """
    has_official_split = name == "stacked-mnist"
    counts = dict(COUNTS)
    if not has_official_split and not options.get("holdout", True):
        counts, split = {"train": COUNTS["train"]}, "train"
    parts = list(counts) if split == "all" else [split]
    singles = [_read_single(name, root, part, options) for part in parts]
    starts = np.cumsum([0, *(len(single.images) for single in singles)])
    triples = [
        start + draw_triples(part, len(single.images))
        for start, part, single in zip(starts, parts, singles, strict=False)
    ]
    single = singles[0] if len(singles) == 1 else _concatenate(singles)
    return _stack(
        single,
        np.concatenate(triples),
        held_out=sum(counts.values()) - sum(counts[part] for part in parts),
        whole=0 if has_official_split else sum(counts.values()),
    )


@gz.hookimpl
def describe_dataset(name: str, root: Path, split: str) -> Mapping[str, int]:
    """The size; raises DataError if a file of MNIST is missing and may not be downloaded."""
    facts = {"height": 8, "width": 8}
    if name == "stacked-mnist":
        facts |= mnist.describe_dataset("mnist", root, split)
    return {**facts, "channels": 3, "classes": 1000}


def draw_triples(part: str, count: int) -> np.ndarray:
    """Indices int64 [N,3] below `count`, each drawn alone, from numbers that no version of numpy changes."""
    raw = np.random.Philox(key=[_SEED, _STREAM[part]]).random_raw(3 * COUNTS[part])
    return (raw % np.uint64(count)).astype(np.int64).reshape(-1, 3)


def _read_single(name: str, root: Path, split: str, options: gz.Options) -> gz.ImageSource:
    if name == "stacked-mnist":
        return mnist.dataset("mnist", root, split)
    return digits.dataset(split, options)


def _concatenate(singles: list[gz.ImageSource]) -> gz.ImageSource:
    return replace(
        singles[0],
        images=np.concatenate([single.images for single in singles]),
        labels=np.concatenate([single.labels for single in singles if single.labels is not None]),
        whole=0,
        notes=tuple(dict.fromkeys(note for single in singles for note in single.notes)),
    )


def _stack(single: gz.ImageSource, triples: np.ndarray, *, held_out: int, whole: int) -> gz.ImageSource:
    assert single.labels is not None
    note = f"each picture is three of {len(single.images):,} digits, one a channel, drawn with a fixed seed"
    return gz.ImageSource(
        images=StackedImages(single.images, triples),
        labels=single.labels[triples] @ np.array([100, 10, 1]),
        class_names=tuple(f"{number:03d}" for number in range(1000)),
        background=single.background,
        notes=(*single.notes, note),
        whole=whole,
        held_out=held_out,
        stacked=single,
    )
