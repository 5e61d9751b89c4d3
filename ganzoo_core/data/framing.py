"""Bring images to the size and channels that the networks see: crop, pad, resize, mirror."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import numpy as np

from ganzoo_core.api import Images, ImageSource, Spec
from ganzoo_core.data import lazy
from ganzoo_core.data.conditions import Rows, is_picture, map_pictures
from ganzoo_core.data.lazy import LazyImages, MirroredImages
from ganzoo_core.data.pixels import resize
from ganzoo_core.errors import UsageError

PROGRESS_SECONDS = 5.0  # seconds between progress messages


@dataclass(frozen=True)
class Framing:
    """How images are brought to the size that the networks see.

    `pad`: a border of `background` is added, and generated images are cropped back. `resize`: they are resized with
    antialiasing. `none`: they already have that size.

    An image of another aspect is resized by `fit`: `crop` cuts out the middle first, `stretch` changes the aspect, and
    `pad` keeps it and adds a border, which is cropped from generated images.
    """

    original_size: tuple[int, int]
    target_size: tuple[int, int]
    method: str
    background: int = 0
    fit: str = "crop"

    @property
    def inner_size(self) -> tuple[int, int]:
        """Height and width of the picture inside the target, without a border."""
        if self.method == "pad":
            return self.original_size
        if self.method == "none" or self.fit != "pad":
            return self.target_size
        scale = min(target / side for target, side in zip(self.target_size, self.original_size, strict=True))
        height, width = (max(1, round(side * scale)) for side in self.original_size)
        return height, width

    @property
    def crop(self) -> tuple[int, int, int, int] | None:
        """Top, left, height and width of the picture inside the padded one; None without padding."""
        (height, width), (target_height, target_width) = self.inner_size, self.target_size
        if (height, width) == self.target_size:
            return None
        return (target_height - height) // 2, (target_width - width) // 2, height, width


def choose_framing(
    original_size: tuple[int, int], *, size: int, sizes: Sequence[int], background: int | None, fit: str = "crop"
) -> Framing:
    """Choose the size the networks see, and how the images are brought to it.

    Images are padded when they have a background and the target is at most a quarter larger, so that 28 pixels
    become 32 untouched; everything else is resized.

    Args:
        original_size: height and width of the original images.
        size: `data.size`; 0 for the images' own size, or the smallest of `sizes` that holds them.
        sizes: the sizes that both models take; empty for any.
        background: the grey value a border may have, or None.
        fit: `data.fit`; see `Framing`.

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
        return Framing(original_size, target, "none", fit=fit)
    grows_little = all(have <= want <= have * 1.25 for have, want in zip(original_size, target, strict=True))
    if background is not None and grows_little:
        return Framing(original_size, target, "pad", background)
    return Framing(original_size, target, "resize", (background or 0) if fit == "pad" else 0, fit)


def _format_sizes(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(sizes)))


def prepare(
    source: ImageSource, framing: Framing, channels: int, *, say: Callable[[str], None] | None = None
) -> ImageSource:
    """Bring the source's images to the size and channels that the networks see, and its conditions to that size.

    The result is in memory if it fits (see `lazy.should_hold_in_memory`); else a `LazyImages`, or the memory map itself
    if its images need no change. Either way the bytes are the same.

    Args:
        source: the original images.
        framing: the target size and the method.
        channels: the target channels, 1 or 3.
        say: receives a message if the images stay on the disk, and progress messages if reading takes long.
    """
    conditions = map_pictures(
        source.conditions,
        framing.original_size,
        lambda rows: _prepare_images(rows, framing, rows.shape[3], "condition", say),
    )
    return replace(
        source, images=_prepare_images(source.images, framing, channels, "images", say), conditions=conditions
    )


def _prepare_images(
    images: Images, framing: Framing, channels: int, what: str, say: Callable[[str], None] | None
) -> Images:
    """See `prepare`; `what` names the images in messages."""
    shape = (*framing.target_size, channels)
    size, is_changed = len(images) * prod(shape), shape != images.shape[1:]
    in_file = lazy.is_in_file(images)
    if not is_changed and not in_file:
        return images
    framed = LazyImages(images, transform=partial(apply_framing, framing=framing, channels=channels), shape=shape)
    if isinstance(images, LazyImages):
        framed = LazyImages(images.base, images.rows, _compose(images.transform, framed.transform), shape)
    if lazy.should_hold_in_memory(size, in_file=in_file, costly=is_changed):
        return lazy.read_all(framed, _make_progress(len(images), say))
    if say is not None:
        say(
            f"the {what} take {size / 1e9:.1f} GB and stay where they are; each batch is read from there, the next one "
            "while the networks learn from it"
        )
    return framed if is_changed else images


def add_mirrored(source: ImageSource) -> ImageSource:
    """Append a copy of each image, mirrored left to right, with its label and its conditions.

    Pictures among the conditions that have the images' size are mirrored too. Images are in memory if they were and
    twice as many fit.
    """
    labels, size = source.labels, tuple(map(int, source.images.shape[1:3]))
    mirrored = map_pictures(source.conditions, (size[0], size[1]), _mirror_images)
    return ImageSource(
        _mirror_images(source.images),
        None if labels is None else np.concatenate([labels, labels]),
        source.class_names,
        source.background,
        conditions={
            name: rows if rows is not source.conditions[name] else _repeat_rows(rows) for name, rows in mirrored.items()
        },
    )


def _repeat_rows(rows: Rows) -> Rows:
    if is_picture(rows) and lazy.is_in_file(rows):
        return LazyImages(rows, np.tile(np.arange(len(rows)), 2))
    return np.concatenate([np.asarray(rows), np.asarray(rows)])


def _mirror_images(images: Images) -> Images:
    if not lazy.is_in_file(images) and lazy.should_hold_in_memory(2 * prod(images.shape), in_file=False):
        return np.concatenate([np.asarray(images), np.asarray(images)[:, :, ::-1]])
    return MirroredImages(images)


def apply_framing(images: np.ndarray, framing: Framing, channels: int) -> np.ndarray:
    """Frame a batch of images, uint8 [N,H,W,C] -> [N, *target_size, channels]; each image independently."""
    if framing.method == "resize":
        images = resize(images, framing.inner_size, crop=framing.fit == "crop")
    if framing.crop:
        top, left, height, width = framing.crop
        bottom, right = framing.target_size[0] - height - top, framing.target_size[1] - width - left
        border = ((0, 0), (top, bottom), (left, right), (0, 0))
        images = np.pad(images, border, constant_values=framing.background)
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
    """Make a function that reports every few seconds how many images were read; None without `say`."""
    if say is None:
        return None
    reported_at = [time.monotonic()]

    def report(done: int) -> None:
        if time.monotonic() - reported_at[0] > PROGRESS_SECONDS and done < count:
            say(f"{done:,} of {count:,} images are read")
            reported_at[0] = time.monotonic()

    return report


def crop_padding(images: np.ndarray, box: tuple[int, int, int, int] | None, size: tuple[int, int]) -> np.ndarray:
    """Crop away the padding of images [N,H,W,C].

    Images of another size than `size` come from a network that is still growing, and are returned unchanged.

    Args:
        images: [N,H,W,C].
        box: top, left, height and width of the picture; None without padding.
        size: height and width of padded images at full size.
    """
    if box is None or images.shape[1:3] != size:
        return images
    top, left, height, width = box
    return images[:, top : top + height, left : left + width]


def shrink_conditions(
    rows: Mapping[str, np.ndarray], size: tuple[int, int], values: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Bring pictures to a growing network's resolution as real images are: 2×2 means, and blended by `fade`.

    Args:
        rows: name -> N rows, in memory; only pictures of the images' size are changed.
        size: height and width of the images at full size.
        values: the schedule's; without `resolution` nothing changes.
    """
    if "resolution" not in values:
        return dict(rows)
    times, fade = count_halvings(size, int(values["resolution"])), float(values.get("fade", 1.0))
    if not times and fade == 1:
        return dict(rows)

    def shrink(pictures: np.ndarray) -> np.ndarray:
        reduced = _average_blocks(pictures.astype(np.float32), 2**times)
        if fade != 1 and min(reduced.shape[1:3]) >= 2:
            coarse = _average_blocks(reduced, 2).repeat(2, axis=1).repeat(2, axis=2)
            reduced = fade * reduced + (1 - fade) * coarse
        return np.rint(reduced).astype(np.uint8)

    return {
        name: shrink(array) if is_picture(array) and array.shape[1:3] == size else array for name, array in rows.items()
    }


def _average_blocks(images: np.ndarray, side: int) -> np.ndarray:
    """Means of side×side pixels, [N,H,W,C] -> [N,H/side,W/side,C]."""
    count, height, width, channels = images.shape
    return images.reshape(count, height // side, side, width // side, side, channels).mean(axis=(2, 4))


def shrink_spec(spec: Spec, values: Mapping[str, float]) -> Spec:
    """A growing network's spec with the shapes that its conditions have at a resolution; see `shrink_conditions`."""
    if "resolution" not in values:
        return spec
    size = spec.height, spec.width
    scale = 1 << count_halvings(size, int(values["resolution"]))
    shapes = {
        name: (shape[0] // scale, shape[1] // scale, shape[2]) if len(shape) == 3 and shape[:2] == size else shape
        for name, shape in spec.conditions.items()
    }
    return replace(spec, conditions=shapes)


def count_halvings(size: tuple[int, int], resolution: int) -> int:
    """The number of halvings from real images of this size (height, width) to a growing network's resolution.

    Raises:
        UsageError: if halving cannot reach it.
    """
    times = max(0, (max(size) // max(resolution, 1)).bit_length() - 1)
    if max(size) != resolution << times or any(side % (1 << times) for side in size):
        raise UsageError(
            f"the schedule asks for a resolution of {resolution}, which images of {size[0]}×{size[1]} pixels do not "
            "have when they are halved; choose a power of two, such as --set data.size=32"
        )
    return times
