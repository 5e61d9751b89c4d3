"""The contract, part 1: the types that plugins receive and return.

They are frozen dataclasses and protocols that depend on no framework. Part 2, the hooks themselves, is in
`hookspecs.py`.

Array shapes name their axes: N samples, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:  # importing numpy would double the time of commands that only list what is installed
    import numpy as np

from ganzoo_core.errors import DataError
from ganzoo_core.messages import format_value, quote_name

API = 1
"""The version of this contract. A manifest states the version it was written for (`api = 1`)."""
MAX_CLASS_NAME = 1000
"""Characters of a class's name, at most."""
Tensor = Any
"""An array of the framework in use: `torch.Tensor`, `tf.Tensor` or `numpy.ndarray`."""
Options = Mapping[str, Any]
"""A part's own settings with the prefix removed: `model.width` arrives as `options["width"]`."""


@dataclass(frozen=True)
class Spec:
    """The sizes that a part is built for. A model takes its shapes from here, never from a constant.

    Attributes:
        height, width: the size of the images the networks see, in pixels.
        channels: 1 or 3.
        classes: the number of classes of a conditional model; 0 for an unconditional one.
        latent_dim: the length of z; 0 for a generator without noise (`latent = "none"`), whose z is [N,0].
        framework: the name of the framework, such as `"torch"`; `"numpy"` outside of training, for arrays.
        conditions: name -> shape of one row, of the conditions that the network takes as keywords beside the labels:
            `()` for a whole number, `(F,)` for a vector, `(H,W,C)` for a picture, in every framework. Of a
            discriminator that takes z (`discriminator_takes = ["latent"]`) also `latent`.
    """

    height: int
    width: int
    channels: int
    classes: int
    latent_dim: int
    framework: str
    conditions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


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


RESERVED_CONDITIONS = ("self", "z", "x", "images", "labels", "latent", "training", "mask", "resolution", "fade")
"""Names that a condition may not have: arguments of networks that mean something else."""
MAX_CONDITION_CHANNELS = 4  # of a picture, such as colours and a mask
MAX_CONDITION_NAME = 100  # characters


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


class Ops(Protocol):
    """The operations that losses are written with. Each engine supplies them, so a loss runs in every framework.

    `+ - * / **` and comparisons work on tensors directly. Reductions return float32.
    """

    def mean(self, x: Tensor) -> Tensor:
        """The mean of all elements, a scalar."""

    def sum(self, x: Tensor) -> Tensor:
        """The sum of all elements, a scalar."""

    def sum_per_sample(self, x: Tensor) -> Tensor:
        """[N, ...] -> [N]: the sum over all axes but the first."""

    def mean_over_samples(self, x: Tensor) -> Tensor:
        """[N, ...] -> [...]: the mean over the first axis, as feature matching compares it."""

    def min(self, x: Tensor) -> Tensor:
        """The smallest of all elements, a scalar."""

    def max(self, x: Tensor) -> Tensor:
        """The largest of all elements, a scalar."""

    def square(self, x: Tensor) -> Tensor: ...
    def sqrt(self, x: Tensor) -> Tensor: ...
    def abs(self, x: Tensor) -> Tensor: ...
    def relu(self, x: Tensor) -> Tensor: ...
    def sigmoid(self, x: Tensor) -> Tensor: ...
    def softplus(self, x: Tensor) -> Tensor:
        """log(1 + exp(x)), without overflow."""

    def lerp(self, start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
        """start + weight * (end - start)."""

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over N of -log softmax(logits [N,K])[labels [N]], a scalar."""

    def stop_gradient(self, x: Tensor) -> Tensor:
        """x, treated as a constant in differentiation."""

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Float32 in [0, 1), drawn from the run's seed and step."""

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Float32, mean 0 and standard deviation 1, drawn from the run's seed and step."""

    def score_and_gradient(self, D: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """One forward pass of D at x: the scores [N] and the gradient of their sum with respect to x, shaped as x.

        The gradient can be differentiated again with respect to D's parameters. Batch norm, dropout and the vectors
        of spectral normalisation are updated once, as in any other call of D.
        """


class BoundGenerator(Protocol):
    """A generator with the labels, the conditions and the schedule's values bound."""

    def __call__(self, z: Tensor, **replacements: Tensor) -> Tensor:
        """z [N, latent_dim] -> images. A keyword replaces what is bound: `labels`, a condition, a schedule's value.

        Raises:
            PluginError: for a keyword that the generator is not called with.
        """


class BoundDiscriminator(Protocol):
    """A discriminator with the labels, the conditions, the schedule's values and what else it takes bound.

    Keywords replace what is bound, in every method: `step.D(x, source=…)`, `labels=…`, and `latent=…` for a
    discriminator that takes z. Each raises PluginError for a keyword that D is not called with.
    """

    def __call__(self, images: Tensor, **replacements: Tensor) -> Tensor:
        """Images in [-1, 1], in the framework's layout -> raw scores [N] or patches [N, ...], no sigmoid.

        Scores of `step.real` and `step.fake` themselves, without replacements, are those from which D's accuracies are
        reported.
        """

    def outputs(self, images: Tensor, **replacements: Tensor) -> Mapping[str, Tensor]:
        """Everything D returns: `scores`, and `classes` [N,K] or `features` if it has them."""

    def call_as(self, images: Tensor, original: Tensor, **replacements: Tensor) -> Tensor:
        """Scores of `images`, reported as those of `original`, which is `step.real` or `step.fake`.

        For images that stand in for a batch: a copy to differentiate by, or an augmented one. Without it, D's
        accuracies would be missing from the report.
        """


@dataclass(frozen=True)
class Step:
    """The input of a loss, in both phases.

    Attributes:
        D, G: the networks, with labels, conditions and schedule values bound. `step.G(z)` returns images.
        real: images in [-1, 1]; in the generator's phase None unless the loss `needs = ["real_in_generator_step"]`, or
            `["same_real_in_generator_step"]` for those of the discriminator's phase, from which `fake` was drawn too.
        fake: G(z), the same shape. In the discriminator's phase it is a constant in differentiation.
        labels: int64 [N], or None for an unconditional model.
        z: float32 [N, latent_dim].
        values: the schedule's values at this point of the run.
        ops: the operations; see `Ops`.
        memory: the scalars that the loss keeps from step to step, by name; see `Loss`.
        conditions: name -> rows, of all conditions that either network takes: int64 [N], float32 [N,F], and pictures
            float32 in [-1, 1] in the framework's layout. They belong to `real`, and `fake` is drawn from them.
    """

    D: BoundDiscriminator
    G: BoundGenerator
    real: Tensor
    fake: Tensor
    labels: Tensor | None
    z: Tensor
    values: Mapping[str, float]
    ops: Ops
    memory: MutableMapping[str, Tensor] = field(default_factory=dict)
    conditions: Mapping[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Loss(Protocol):
    """Named terms for each network; the engine sums, differentiates and logs them.

    A term whose name ends in `penalty` is checked at the first step: it must have a gradient in D.

    A loss with state, such as a moving average of scores, has an attribute `memory`: name -> initial number. In a step
    `step.memory[name]` is a scalar tensor, a constant in differentiation; assigning to it sets the value for the
    following steps. The engine saves it with each checkpoint.
    """

    def discriminator(self, step: Step) -> Mapping[str, Tensor]:
        """What D minimises: scalars such as `{"adversarial": …, "gradient_penalty": …}`."""

    def generator(self, step: Step) -> Mapping[str, Tensor]:
        """What G minimises."""


@dataclass(frozen=True)
class TrackedRun:
    """The run that a tracker observes.

    Attributes:
        folder: the run's folder.
        name: the folder's last component.
        settings: every resolved setting by its full name: `settings["train.lr"]`.
        facts: the other content of `config.yaml`: parts with their versions, data, spec, notes.
        images: real images seen at the start; above 0 if the run resumes from a checkpoint.
        own: a folder for the tracker's own files, which outlives the process. The tracker creates it if it needs it.
        memory: state that the tracker keeps between hooks, lost when the process ends.
    """

    folder: Path
    name: str
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    images: int
    own: Path
    memory: dict[str, Any] = field(default_factory=dict)


class Schedule(Protocol):
    """A pure function of the images seen. It has no state, so none is saved for resuming."""

    def __call__(self, images: int) -> Mapping[str, float]:
        """Images seen so far -> named values, each of which overrides the setting of that name.

        The engine applies `lr_g`, `lr_d`, `beta2`, `ema_halflife` and `resolution`; other values are passed to the
        networks that ask for them (`takes`) and to the loss (`step.values`).
        """


@dataclass(frozen=True)
class Features:
    """An extractor's output for a set of images.

    Attributes:
        features: float32 [N,F].
        logits: float32 [N,K], class scores before a softmax, or None.
        labels: int64 [N], the classes of real images, or those that a conditional model was asked for; or None.
        class_names: K names of the data's classes, empty if it has none. `logits` are for these classes if the
            extractor's manifest says `has.classes = true`.
        targets: of images that were drawn from the conditions of real ones: the features of those real images, row by
            row, for a metric that says `needs = ["pairs"]`; else None.
        images: uint8 [N,H,W,C], as they were drawn, of images that have targets and of these; else None.
    """

    features: np.ndarray
    logits: np.ndarray | None = None
    labels: np.ndarray | None = None
    class_names: Sequence[str] = ()
    targets: Features | None = None
    images: np.ndarray | None = None


@runtime_checkable
class Extractor(Protocol):
    """Images -> the features that metrics are computed from.

    Attributes:
        facts: everything that the features depend on, as JSON values, recorded with each score: `weights`, the SHA-256
            of the weights; `resizer`, the name of the resizing method; and any others.
    """

    facts: Mapping[str, Any]

    def extract(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """uint8 images [N,H,W,C] at the data's own size -> features float32 [N,F], and logits [N,K] or None."""


class Metric(Protocol):
    """Features of real and generated images -> scores by name: each a number, or a number for each class name."""

    def __call__(self, real: Features, fake: Features, seed: int) -> Mapping[str, float | Mapping[str, float]]:
        """The same arguments give the same scores; all random numbers come from `seed`.

        A metric whose manifest says `needs = ["training_images"]` is called with two more keywords: `training`, the
        features of the images that the generator was trained on, and `held_out`, those of images that it was not
        trained on, or None if there are none.

        Raises:
            UsageError: in a sentence, if the score cannot be computed, such as for too few images.
        """
