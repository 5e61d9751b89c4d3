"""The contract's type for data: images, with what belongs to each of them, and the checks that they go through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:  # importing numpy would double the time of commands that only list what is installed
    import numpy as np

from ganzoo_core.errors import DataError
from ganzoo_core.messages import format_value, quote_name

MAX_CLASS_NAME = 1000
"""Characters of a class's name, at most."""
RESERVED_CONDITIONS = ("self", "z", "x", "images", "labels", "latent", "training", "mask", "resolution", "fade")
"""Names that a condition may not have: arguments of networks that mean something else."""
MAX_CONDITION_CHANNELS = 4  # of a picture, such as colours and a mask
MAX_CONDITION_NAME = 100  # characters


@runtime_checkable
class Images(Protocol):
    """The array interface of images that are read on demand, such as those `gz.hold_out` makes from a memory map.

    Only `images[order]` is asked of a dataset's own, with `order` int64 [N] from 0; it gives uint8 [N,H,W,C]. What an
    extractor is given takes any index.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def ndim(self) -> int: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> np.ndarray: ...
    def __array__(self) -> np.ndarray: ...


@dataclass(frozen=True)
class ImageSource:
    """A whole set of images, independent of any framework.

    Attributes:
        images: uint8 [N,H,W,C], C being 1 or 3: an array, a memory map, or images that are read on demand (see
            `Images`), such as `gz.hold_out` makes from a large map.
        labels: int64 [N] with values 0 to K-1, or None.
        class_names: K names of at most `MAX_CLASS_NAME` characters; empty when the images have no labels.
        background: the grey value (0 to 255) with which small images may be padded to the networks' size,
            or None if a border would not look like part of the picture: then they are resized.
        notes: facts to record with a run, such as a checksum mismatch or a count of skipped files.
        whole: the number of images before `gz.hold_out` split the set; 0 if it did not.
        sizes: int64 [N,2], original height and width of each image, before the dataset centre-cropped it to the aspect
            of `images` and resized it; None if the dataset did neither. This, `held_out` and `skipped` are shown to
            the user before training.
        held_out: the number of images in the other split, which are not among these; None if not known.
        skipped: the number of files or records left out because they cannot be read.
        split_keys: float64 [N] from 0 to below 1, from which `gz.hold_out` chooses the images of the test part; None to
            choose them by their place among all.
        conditions: name -> rows aligned with the images, for models that take them: float32 [N,F] (attributes, an
            embedding), uint8 [N,H,W,C] with 1 to 4 channels (a picture, also on demand), or int64 [N]. The networks see
            a picture in [-1, 1]; one of the images' size is framed and mirrored with its image.
        stacked: the grey pictures with labels that the channels of these were taken from, if each channel is a picture
            of its own; None otherwise. Then the label of an image has its channels' labels as digits, the first
            foremost: of ten classes, channels of 4, 0 and 7 make 407. A classifier is trained on these and shown one
            channel at a time.
        digests: uint64 [N,2], a digest of each image that changes when its pixels do, from which the data's fingerprint
            is taken; None to take it from the pixels, for which all images are read. Who changes the images of a source
            drops them.
    """

    images: Images
    labels: np.ndarray | None = None
    class_names: Sequence[str] = ()
    background: int | None = None
    notes: Sequence[str] = field(default_factory=tuple)
    whole: int = 0
    sizes: np.ndarray | None = None
    held_out: int | None = None
    skipped: int = 0
    split_keys: np.ndarray | None = None
    conditions: Mapping[str, Images | np.ndarray] = field(default_factory=dict)
    stacked: ImageSource | None = None
    digests: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Raise DataError unless shapes, types and labels are as described above."""
        _check_source(self)


def _check_source(source: ImageSource) -> None:
    """Raise DataError unless shapes, types and labels of a source are as `ImageSource` describes them."""
    import numpy as np

    from ganzoo_core.arguments import is_integer

    images, labels, sizes = source.images, source.labels, source.sizes
    if not isinstance(images, np.ndarray | Images) or images.dtype != np.uint8 or images.ndim != 4:
        actual = f"{images.dtype} {list(images.shape)}" if isinstance(images, Images) else type(images).__name__
        raise DataError(f"images are {actual}; expected a uint8 array [N,H,W,C]")
    if images.shape[3] not in (1, 3):
        raise DataError(f"images have {images.shape[3]} channels; expected 1 (grey) or 3 (RGB)")
    if 0 in images.shape:
        raise DataError(f"images have the shape {list(images.shape)}: there is nothing to train on")
    if sizes is not None and (
        not isinstance(sizes, np.ndarray)
        or sizes.dtype != np.int64
        or sizes.shape != (len(images), 2)
        or sizes.min() < 1
    ):
        raise DataError(f"sizes must be an int64 array [N,2] with N = {len(images)}: height and width of each, above 0")
    keys = source.split_keys
    if keys is not None and (
        not isinstance(keys, np.ndarray)
        or keys.dtype != np.float64
        or keys.shape != images.shape[:1]
        or not ((keys >= 0) & (keys < 1)).all()
    ):
        raise DataError(f"split_keys must be a float64 array [N] with N = {len(images)}: numbers from 0 to below 1")
    digests = source.digests
    if digests is not None and (
        not isinstance(digests, np.ndarray) or digests.dtype != np.uint64 or digests.shape != (len(images), 2)
    ):
        raise DataError(f"digests must be a uint64 array [N,2] with N = {len(images)}")
    for name, number in (("held_out", source.held_out or 0), ("skipped", source.skipped)):
        if not is_integer(number) or number < 0:
            raise DataError(f"{name} is {format_value(number)}; expected a whole number of images, 0 or more")
    if not is_integer(source.whole) or (source.whole != 0 and source.whole < len(images)):
        raise DataError(
            f"whole is {format_value(source.whole)}; expected 0, or how many images there were before some were held "
            "out, "
            f"{len(images)} or more"
        )
    for name, rows in source.conditions.items():
        _check_condition(name, rows, len(images))
    if source.stacked is not None and (source.stacked.labels is None or source.stacked.images.shape[3] != 1):
        raise DataError("stacked are no grey images with labels; each channel of an image is one of them")
    if labels is None:
        return
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        raise DataError(f"labels must be an int64 array [N] with N = {len(images)}, one for each image")
    if len(source.class_names) == 0:
        raise DataError("images with labels need `class_names`, one name for each class")
    longest = max(map(str, source.class_names), key=len)
    if len(longest) > MAX_CLASS_NAME:
        raise DataError(
            f"the class {quote_name(longest, 41)} has a name of {len(longest):,} characters; expected at most "
            f"{MAX_CLASS_NAME:,}"
        )
    if labels.min() < 0 or labels.max() >= len(source.class_names):
        raise DataError(
            f"labels run from {labels.min()} to {labels.max()}, but there are {len(source.class_names)} class names; "
            f"labels must be 0 to {len(source.class_names) - 1}"
        )


def is_condition_name(name: Any) -> bool:
    """Whether a condition may be called so: networks take it as a keyword, and a generator's card records it."""
    is_identifier = isinstance(name, str) and name.isidentifier() and name.isascii() and not iskeyword(name)
    return is_identifier and len(name) <= MAX_CONDITION_NAME and name not in RESERVED_CONDITIONS


def _check_condition(name: str, rows: Any, count: int) -> None:
    """Raise DataError unless a condition is named and shaped as `ImageSource` describes it."""
    import numpy as np

    label = format_value(name)
    if not is_condition_name(name):
        raise DataError(
            f"the condition {label} needs a name that is a Python identifier of ASCII letters, and none of "
            f"{', '.join(RESERVED_CONDITIONS)}"
        )
    if not isinstance(rows, np.ndarray | Images):
        raise DataError(f"the condition {label} is a {type(rows).__name__}; expected an array, a row for each image")
    shape, kind = tuple(rows.shape), str(rows.dtype)
    fits = {
        "int64": len(shape) == 1,
        "float32": len(shape) == 2 and 0 not in shape[1:],
        "uint8": len(shape) == 4 and 0 not in shape[1:] and 1 <= shape[3] <= MAX_CONDITION_CHANNELS,
    }
    if not fits.get(kind, False):
        raise DataError(
            f"the condition {label} is {kind} {list(shape)}; expected float32 [N,F], int64 [N], or uint8 [N,H,W,C] "
            f"with 1 to {MAX_CONDITION_CHANNELS} channels"
        )
    if len(rows) != count:
        raise DataError(f"the condition {label} has {len(rows):,} rows for {count:,} images; expected one for each")
    if kind == "float32" and isinstance(rows, np.ndarray) and not np.isfinite(rows).all():
        raise DataError(f"the condition {label} holds numbers that are not finite")
