"""From an image source to what the networks see: the held-out part, the size, the endless stream of batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ganzoo_core.api import DataError, ImageSource, UsageError
from ganzoo_core.images import resize
from ganzoo_core.randomness import philox

HELD_OUT = 0.2
HELD_OUT_SEED = 20140610  # any fixed number: the split must be the same on every machine, for ever


def hold_out(source: ImageSource, split: str) -> ImageSource:
    """Split a set that has no official test part: a fixed, seeded 20 % is `test`, the rest `train`.

    Args:
        source: the whole set.
        split: `train`, `test` or `all`.

    Returns:
        The images of that split in their original order, with a note that says how they were chosen.
    """
    if split == "all":
        return source
    count = len(source.images)
    held = np.random.Generator(np.random.Philox(HELD_OUT_SEED)).permutation(count)[: max(1, int(count * HELD_OUT))]
    is_test = np.zeros(count, dtype=bool)
    is_test[held] = count > 1
    chosen = is_test if split == "test" else ~is_test
    note = (
        f"no official test part: a fixed {HELD_OUT:.0%} is held out; this is {split}, {chosen.sum()} of {count} images"
    )
    return replace(
        source,
        images=source.images[chosen],
        labels=None if source.labels is None else source.labels[chosen],
        notes=(*source.notes, note),
    )


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


def prepare(source: ImageSource, framing: Framing, channels: int) -> ImageSource:
    """The source's images at the size and with the channels that the networks see."""
    images = source.images
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
    return source if images is source.images else replace(source, images=images)


class Stream:
    """The endless stream of real images: image p is permutation(seed, p // N)[p mod N].

    Batches straddle epochs and none is short. The position is an integer, so nothing needs to be stored.
    """

    def __init__(self, count: int, *, seed: int, purpose: str) -> None:
        if count < 1:
            raise DataError("there are no images to train on")
        self.count, self.seed, self.purpose = count, seed, purpose
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def indices(self, position: int, number: int) -> np.ndarray:
        """int64 [number]: which images stand at position, position + 1, …"""
        taken = []
        while number > 0:
            epoch, offset = divmod(position, self.count)
            piece = self._permutation(epoch)[offset : offset + number]
            taken.append(piece)
            position, number = position + len(piece), number - len(piece)
        return taken[0] if len(taken) == 1 else np.concatenate(taken)

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            self._epoch, self._order = epoch, philox(self.seed, self.purpose, epoch).permutation(self.count)
        return self._order
