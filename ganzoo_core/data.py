"""From an image source to what the networks see: the held-out part, the size, the endless stream of batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from ganzoo_core import ondemand
from ganzoo_core.api import DataError, Images, ImageSource, Options, UsageError
from ganzoo_core.arguments import MOST_CLASSES, read_labels
from ganzoo_core.images import resize
from ganzoo_core.ondemand import Mirrored, OnDemand
from ganzoo_core.randomness import philox

HELD_OUT = 0.2
HELD_OUT_SEED = 20140610  # any fixed number: the split must be the same on every machine, for ever
SILENT = 5.0  # seconds; whatever takes longer says how far it is


def hold_out(source: ImageSource, split: str, options: Options | None = None) -> ImageSource:
    """Split a set that has no official test part: a fixed, seeded share is `test`, the rest `train`.

    Args:
        source: the whole set.
        split: `train`, `test` or `all`.
        options: the dataset's, of which `holdout` is the share, from 0 to below 1; a fifth without them. With 0 every
            image is in `train`, and `test` is the same images: scores then compare with what was trained on.

    Returns:
        The images of that split in their original order, with a note that says how they were chosen, and `whole` set.
        Of a large memory map nothing is read: the images are an `OnDemand`.
    """
    count, share = len(source.images), (options or {}).get("holdout", HELD_OUT)
    source = replace(source, whole=count)
    if split == "all":
        return source
    if not share:
        note = f"nothing is held out: train and test are the same {count:,} images, so a score cannot tell copies"
        return replace(source, notes=(*source.notes, note))
    held = np.random.Generator(np.random.Philox(HELD_OUT_SEED)).permutation(count)[: max(1, int(count * share))]
    is_test = np.zeros(count, dtype=bool)
    is_test[held] = count > 1
    chosen = is_test if split == "test" else ~is_test
    part = f"this is {split}, {chosen.sum()} of {count} images"
    note = f"no official test part: a fixed {100 * share:.3g}% is held out; {part}"
    return replace(
        source,
        images=ondemand.select(source.images, chosen),
        labels=None if source.labels is None else source.labels[chosen],
        sizes=None if source.sizes is None else source.sizes[chosen],
        held_out=count - int(chosen.sum()),
        notes=(*source.notes, note),
    )


def as_source(array: np.ndarray, labels: Any) -> ImageSource:
    """Arrays that were given in Python -> a source.

    Args:
        array: uint8 [N,H,W,C]; [N,H,W] counts as one channel.
        labels: whole numbers [N] from 0, or None.

    Raises:
        UsageError: for labels that are none.
        DataError: for images that are none.
    """
    if array.ndim == 3:
        array = array[..., None]
    if labels is None:
        return ImageSource(array)
    count = len(array) if array.ndim else 0
    expected = f"expected {count} whole numbers from 0 to {MOST_CLASSES - 1:,}, one for each image"
    read = read_labels(labels, expected, count=count)
    return ImageSource(array, read, tuple(str(number) for number in range(int(read.max()) + 1)))


@dataclass(frozen=True)
class Framing:
    """How images of one size become images of the size that the networks see.

    `pad`: a border of `background` is laid around; what is generated is cropped back. `resize`: with
    antialiasing, after a centre crop to the target's aspect. `none`: they are of that size.
    """

    natural: tuple[int, int]
    target: tuple[int, int]
    method: str
    background: int = 0

    @property
    def crop(self) -> tuple[int, int, int, int] | None:
        """Top, left, height and width of the picture inside the padded one; None without padding."""
        if self.method != "pad":
            return None
        (height, width), (target_height, target_width) = self.natural, self.target
        return (target_height - height) // 2, (target_width - width) // 2, height, width


def frame(natural: tuple[int, int], *, size: int, sizes: Sequence[int], background: int | None) -> Framing:
    """Choose the size the networks see, and how the images get there.

    Images are padded when they have a background and the target is at most a quarter larger, so that 28 pixels
    become 32 untouched; everything else is resized.

    Args:
        natural: height and width of the images as they are.
        size: `data.size`; 0 for the images' own, or the least of `sizes` that holds them.
        sizes: what both models take; empty for any.
        background: the grey value a border may have, or None.

    Raises:
        UsageError: if no size fits, naming the setting to change.
    """
    if size and sizes and size not in sizes:
        raise UsageError(f"data.size is {size}; this model takes {_listed(sizes)} pixels")
    if not size and sizes:
        fitting = [candidate for candidate in sorted(sizes) if candidate >= max(natural)]
        if not fitting:
            raise UsageError(
                f"the images are {natural[0]}×{natural[1]} and the model takes at most {max(sizes)} pixels; "
                f"choose one with --set data.size={max(sizes)}"
            )
        size = fitting[0]
    target = (size, size) if size else natural
    if target == natural:
        return Framing(natural, target, "none")
    grows_little = all(have <= want <= have * 1.25 for have, want in zip(natural, target, strict=True))
    if background is not None and grows_little:
        return Framing(natural, target, "pad", background)
    return Framing(natural, target, "resize")


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(sizes)))


def prepare(
    source: ImageSource, framing: Framing, channels: int, *, say: Callable[[str], None] | None = None
) -> ImageSource:
    """The source's images at the size and with the channels that the networks see.

    In memory where they fit (see `ondemand.is_held`); else an `OnDemand`, or the memory map itself where nothing is to
    be done to its images. Either gives the same bytes.

    Args:
        source: the images as they are.
        framing, channels: what becomes of them.
        say: told which of the two it is, where they are large, and how far it is, where that takes long.
    """
    images, shape = source.images, (*framing.target, channels)
    size, is_changed = len(images) * prod(shape), shape != images.shape[1:]
    in_file = ondemand.in_file(images)
    if not is_changed and not in_file:
        return source
    framed = OnDemand(images, change=partial(reframe, framing=framing, channels=channels), shape=shape)
    if isinstance(images, OnDemand):
        framed = OnDemand(images.base, images.rows, _after(images.change, framed.change), shape)
    if ondemand.is_held(size, in_file=in_file, costly=is_changed):
        return replace(source, images=ondemand.read(framed, _progress(len(images), say)))
    if say is not None:
        say(
            f"the images take {size / 1e9:.1f} GB and stay where they are; each batch is read from there, the next one "
            "while the networks learn from it"
        )
    return replace(source, images=framed) if is_changed else source


def mirror(source: ImageSource) -> tuple[Images, np.ndarray | None]:
    """The images and, after them, each of them mirrored left to right.

    Returns:
        uint8 [2N,H,W,C], in memory where the images are and twice as many have room; labels int64 [2N], or None.
    """
    images, labels = source.images, source.labels
    twice = None if labels is None else np.concatenate([labels, labels])
    if not ondemand.in_file(images) and ondemand.is_held(2 * prod(images.shape), in_file=False):
        return np.concatenate([np.asarray(images), np.asarray(images)[:, :, ::-1]]), twice
    return Mirrored(images), twice


def reframe(images: np.ndarray, framing: Framing, channels: int) -> np.ndarray:
    """A batch of images, uint8 [N,H,W,C], framed; what becomes of one does not depend on the others."""
    if framing.method == "pad":
        top, left, height, width = framing.crop or (0, 0, 0, 0)
        bottom, right = framing.target[0] - height - top, framing.target[1] - width - left
        border = ((0, 0), (top, bottom), (left, right), (0, 0))
        images = np.pad(images, border, constant_values=framing.background)
    elif framing.method == "resize":
        images = resize(images, framing.target)
    if images.shape[3] > channels:
        # ITU-R BT.601 luma, as Pillow's mode L.
        images = np.rint(images @ np.array([[0.299], [0.587], [0.114]])).astype(np.uint8)
    elif images.shape[3] < channels:
        images = np.repeat(images, channels, axis=3)
    return images


def _after(
    first: Callable[[np.ndarray], np.ndarray] | None, second: Callable[[np.ndarray], np.ndarray] | None
) -> Callable[[np.ndarray], np.ndarray] | None:
    if first is None or second is None:
        return first or second
    return lambda images: second(first(images))


def _progress(count: int, say: Callable[[str], None] | None) -> Callable[[int], None] | None:
    """Says every few seconds how many images were read."""
    if say is None:
        return None
    since = [time.monotonic()]

    def told(done: int) -> None:
        if time.monotonic() - since[0] > SILENT and done < count:
            say(f"{done:,} of {count:,} images are read")
            since[0] = time.monotonic()

    return told


class Stream:
    """The endless stream of real images: image p is permutation(seed, p // N)[p mod N].

    Batches straddle epochs and none is short. The position is an integer, so nothing needs to be stored. The order
    of an epoch is held in memory, 8 bytes an image, and that of two while batches lie on their border.
    """

    def __init__(self, count: int, *, seed: int, purpose: str) -> None:
        if count < 1:
            raise DataError("there are no images to train on")
        self.count, self.seed, self.purpose = count, seed, purpose
        self._orders: dict[int, np.ndarray] = {}

    def indices(self, position: int, number: int) -> np.ndarray:
        """int64 [number]: which images stand at position, position + 1, …"""
        taken = []
        first = position // self.count
        self._orders = {epoch: order for epoch, order in self._orders.items() if epoch in (first, first + 1)}
        while number > 0:
            epoch, offset = divmod(position, self.count)
            piece = self._permutation(epoch)[offset : offset + number]
            taken.append(piece)
            position, number = position + len(piece), number - len(piece)
        return taken[0] if len(taken) == 1 else np.concatenate(taken)

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            self._orders[epoch] = philox(self.seed, self.purpose, epoch).permutation(self.count)
        return self._orders[epoch]
