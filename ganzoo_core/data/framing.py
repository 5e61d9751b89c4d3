"""From an image source to what the networks see: the held-out part, the size, the endless stream of batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import numpy as np

from ganzoo_core.api import Images, ImageSource
from ganzoo_core.data import lazy
from ganzoo_core.data.lazy import LazyImages, MirroredImages
from ganzoo_core.data.pixels import resize
from ganzoo_core.errors import UsageError

PROGRESS_SECONDS = 5.0  # seconds; whatever takes longer says how far it is


@dataclass(frozen=True)
class Framing:
    """How images of one size become images of the size that the networks see.

    `pad`: a border of `background` is laid around; what is generated is cropped back. `resize`: with
    antialiasing, after a centre crop to the target's aspect. `none`: they are of that size.
    """

    original_size: tuple[int, int]
    target_size: tuple[int, int]
    method: str
    background: int = 0

    @property
    def crop(self) -> tuple[int, int, int, int] | None:
        """Top, left, height and width of the picture inside the padded one; None without padding."""
        if self.method != "pad":
            return None
        (height, width), (target_height, target_width) = self.original_size, self.target_size
        return (target_height - height) // 2, (target_width - width) // 2, height, width


def choose_framing(
    original_size: tuple[int, int], *, size: int, sizes: Sequence[int], background: int | None
) -> Framing:
    """Choose the size the networks see, and how the images get there.

    Images are padded when they have a background and the target is at most a quarter larger, so that 28 pixels
    become 32 untouched; everything else is resized.

    Args:
        original_size: height and width of the images as they are.
        size: `data.size`; 0 for the images' own, or the least of `sizes` that holds them.
        sizes: what both models take; empty for any.
        background: the grey value a border may have, or None.

    Raises:
        UsageError: if no size fits, naming the setting to change.
    """
    if size and sizes and size not in sizes:
        raise UsageError(f"data.size is {size}; this model takes {_format_sizes(sizes)} pixels")
    if not size and sizes:
        fitting = [candidate for candidate in sorted(sizes) if candidate >= max(original_size)]
        if not fitting:
            raise UsageError(
                f"the images are {original_size[0]}×{original_size[1]} and the model takes at most {max(sizes)} "
                "pixels; "
                f"choose one with --set data.size={max(sizes)}"
            )
        size = fitting[0]
    target = (size, size) if size else original_size
    if target == original_size:
        return Framing(original_size, target, "none")
    grows_little = all(have <= want <= have * 1.25 for have, want in zip(original_size, target, strict=True))
    if background is not None and grows_little:
        return Framing(original_size, target, "pad", background)
    return Framing(original_size, target, "resize")


def _format_sizes(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(sizes)))


def prepare(
    source: ImageSource, framing: Framing, channels: int, *, say: Callable[[str], None] | None = None
) -> ImageSource:
    """The source's images at the size and with the channels that the networks see.

    In memory where they fit (see `lazy.should_hold_in_memory`); else an `OnDemand`, or the memory map itself where
    nothing is to
    be done to its images. Either gives the same bytes.

    Args:
        source: the images as they are.
        framing, channels: what becomes of them.
        say: told which of the two it is, where they are large, and how far it is, where that takes long.
    """
    images, shape = source.images, (*framing.target_size, channels)
    size, is_changed = len(images) * prod(shape), shape != images.shape[1:]
    in_file = lazy.is_in_file(images)
    if not is_changed and not in_file:
        return source
    framed = LazyImages(images, transform=partial(apply_framing, framing=framing, channels=channels), shape=shape)
    if isinstance(images, LazyImages):
        framed = LazyImages(images.base, images.rows, _compose(images.transform, framed.transform), shape)
    if lazy.should_hold_in_memory(size, in_file=in_file, costly=is_changed):
        return replace(source, images=lazy.read_all(framed, _make_progress(len(images), say)))
    if say is not None:
        say(
            f"the images take {size / 1e9:.1f} GB and stay where they are; each batch is read from there, the next one "
            "while the networks learn from it"
        )
    return replace(source, images=framed) if is_changed else source


def add_mirrored(source: ImageSource) -> tuple[Images, np.ndarray | None]:
    """The images and, after them, each of them mirrored left to right.

    Returns:
        uint8 [2N,H,W,C], in memory where the images are and twice as many have room; labels int64 [2N], or None.
    """
    images, labels = source.images, source.labels
    twice = None if labels is None else np.concatenate([labels, labels])
    if not lazy.is_in_file(images) and lazy.should_hold_in_memory(2 * prod(images.shape), in_file=False):
        return np.concatenate([np.asarray(images), np.asarray(images)[:, :, ::-1]]), twice
    return MirroredImages(images), twice


def apply_framing(images: np.ndarray, framing: Framing, channels: int) -> np.ndarray:
    """A batch of images, uint8 [N,H,W,C], framed; what becomes of one does not depend on the others."""
    if framing.method == "pad":
        top, left, height, width = framing.crop or (0, 0, 0, 0)
        bottom, right = framing.target_size[0] - height - top, framing.target_size[1] - width - left
        border = ((0, 0), (top, bottom), (left, right), (0, 0))
        images = np.pad(images, border, constant_values=framing.background)
    elif framing.method == "resize":
        images = resize(images, framing.target_size)
    if images.shape[3] > channels:
        # ITU-R BT.601 luma, as Pillow's mode L.
        images = np.rint(images @ np.array([[0.299], [0.587], [0.114]])).astype(np.uint8)
    elif images.shape[3] < channels:
        images = np.repeat(images, channels, axis=3)
    return images


def _compose(
    first: Callable[[np.ndarray], np.ndarray] | None, second: Callable[[np.ndarray], np.ndarray] | None
) -> Callable[[np.ndarray], np.ndarray] | None:
    if first is None or second is None:
        return first or second
    return lambda images: second(first(images))


def _make_progress(count: int, say: Callable[[str], None] | None) -> Callable[[int], None] | None:
    """Says every few seconds how many images were read."""
    if say is None:
        return None
    since = [time.monotonic()]

    def told(done: int) -> None:
        if time.monotonic() - since[0] > PROGRESS_SECONDS and done < count:
            say(f"{done:,} of {count:,} images are read")
            since[0] = time.monotonic()

    return told


def crop_padding(images: np.ndarray, box: tuple[int, int, int, int] | None, size: tuple[int, int]) -> np.ndarray:
    """Cut the padding away: images [N,H,W,C], box top, left, height, width of images of the full size.

    Images of another size come from a network that is still growing; they stay as they are.
    """
    if box is None or images.shape[1:3] != size:
        return images
    top, left, height, width = box
    return images[:, top : top + height, left : left + width]


def count_halvings(size: tuple[int, int], resolution: int) -> int:
    """How often real images of this size (height, width) are halved to reach a growing network's resolution.

    Raises:
        UsageError: if they cannot be.
    """
    times = max(0, (max(size) // max(resolution, 1)).bit_length() - 1)
    if max(size) != resolution << times or any(side % (1 << times) for side in size):
        raise UsageError(
            f"the schedule asks for a resolution of {resolution}, which images of {size[0]}×{size[1]} pixels do not "
            "have when they are halved; choose a power of two, such as --set data.size=32"
        )
    return times
