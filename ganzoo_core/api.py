"""The contract, part 1: the types that cross it.

Everything a plugin receives or hands back is here: frozen dataclasses and protocols, without a framework.
Part 2, the hooks themselves, is in `hookspecs.py`.

Arrays are written with their axes: N a sample, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:  # importing it takes as long as all else that looking at what is installed needs
    import numpy as np

from ganzoo_core.errors import DataError
from ganzoo_core.messages import format_value

API = 1
"""The version of this contract. A manifest states the one it was written for (`api = 1`)."""
Tensor = Any
"""An array of whatever framework runs: `torch.Tensor`, `tf.Tensor` or `numpy.ndarray`."""
Options = Mapping[str, Any]
"""A part's own settings with the prefix removed: `model.width` arrives as `options["width"]`."""


@dataclass(frozen=True)
class Spec:
    """What a part is built for. Shapes come from here and never from a constant in a model.

    Attributes:
        height, width: the size of the images the networks see, in pixels.
        channels: 1 or 3.
        classes: the number of classes of a conditional model; 0 for an unconditional one.
        latent_dim: the length of z.
        framework: `"torch"` or `"tensorflow"`.
    """

    height: int
    width: int
    channels: int
    classes: int
    latent_dim: int
    framework: str


@runtime_checkable
class Images(Protocol):
    """What images that are read on demand have in common with an array: `gz.hold_out` makes some of a memory map."""

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
    """A set of images, whole, in no framework.

    Attributes:
        images: uint8 [N,H,W,C], C being 1 or 3: an array, a memory map, or what `gz.hold_out` makes of a large one,
            which has a shape and a length, and of which `images[order]` is an array.
        labels: int64 [N] with values 0 to K-1, or None.
        class_names: K names; empty when the images have no labels.
        background: the grey value (0 to 255) that may be laid around the images to enlarge them a little,
            or None where a border would not look like part of the picture: then they are resized.
        notes: facts worth keeping with a run, such as a checksum that differs or a count of skipped files.
        whole: how many images there were before `gz.hold_out` kept some back; 0 where nothing was held out by it.
        sizes: int64 [N,2], height and width of each image before the dataset cut out the middle of it, with the aspect
            of `images`, and resized that; None where it did nothing of the kind. This and what follows is told before
            a run trains.
        held_out: images of the set that are not among these, since they are its other part; None if not known.
        skipped: files or records that were left out, since they cannot be read.
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

    def __post_init__(self) -> None:
        """Raise DataError unless shapes, types and labels are as described above."""
        _check_source(self)


def _check_source(source: ImageSource) -> None:
    """Raise DataError unless shapes, types and labels of a source are as `ImageSource` describes them."""
    import numpy as np

    from ganzoo_core.arguments import is_integer

    images, labels, sizes = source.images, source.labels, source.sizes
    if not isinstance(images, np.ndarray | Images) or images.dtype != np.uint8 or images.ndim != 4:
        found = f"{images.dtype} {list(images.shape)}" if isinstance(images, Images) else type(images).__name__
        raise DataError(f"images are {found}; expected a uint8 array [N,H,W,C]")
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
    for name, number in (("held_out", source.held_out or 0), ("skipped", source.skipped)):
        if not is_integer(number) or number < 0:
            raise DataError(f"{name} is {format_value(number)}; expected a whole number of images, 0 or more")
    if not is_integer(source.whole) or (source.whole != 0 and source.whole < len(images)):
        raise DataError(
            f"whole is {format_value(source.whole)}; expected 0, or how many images there were before some were held "
            "out, "
            f"{len(images)} or more"
        )
    if labels is None:
        return
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        raise DataError(f"labels must be an int64 array [N] with N = {len(images)}, one for each image")
    if len(source.class_names) == 0:
        raise DataError("images with labels need `class_names`, one name for each class")
    if labels.min() < 0 or labels.max() >= len(source.class_names):
        raise DataError(
            f"labels run from {labels.min()} to {labels.max()}, but there are {len(source.class_names)} class names; "
            f"labels must be 0 to {len(source.class_names) - 1}"
        )


class Ops(Protocol):
    """The arithmetic a loss is written on, supplied by each engine, so that it runs in every framework.

    `+ - * / **` and comparison work on tensors as they are. Reductions return float32.
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
        """The least of all elements, a scalar."""

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
        """x, as a constant to differentiation."""

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Float32 in [0, 1), drawn from the run's seed and step."""

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Float32, mean 0 and standard deviation 1, drawn from the run's seed and step."""

    def score_and_gradient(self, D: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """One forward of D at x: the scores [N] and the gradient of their sum by x, shaped as x.

        The gradient can be differentiated again by D's parameters. Batch norm, dropout and the vectors of
        spectral normalisation move once, as in any other call of D.
        """


class BoundDiscriminator(Protocol):
    """A discriminator with the labels and the schedule's values already given."""

    def __call__(self, images: Tensor) -> Tensor:
        """Images in [-1, 1], shaped as the framework has them -> raw scores [N] or patches [N, ...], no sigmoid."""

    def outputs(self, images: Tensor) -> Mapping[str, Tensor]:
        """Everything D returns: `scores`, and `classes` [N,K] or `features` where it has them."""


@dataclass(frozen=True)
class Step:
    """What a loss sees, in both phases.

    Attributes:
        D, G: the networks, labels and values bound. `step.G(z)` returns images.
        real: images in [-1, 1]; in the generator's phase None unless the loss `needs = ["real_in_generator_step"]`.
        fake: G(z), the same shape. In the discriminator's phase a constant to differentiation.
        labels: int64 [N], or None for an unconditional model.
        z: float32 [N, latent_dim].
        values: the schedule's values at this point of the run.
        ops: the arithmetic.
        memory: the scalars that the loss keeps from step to step, by name; see `Loss`.
    """

    D: BoundDiscriminator
    G: Callable[[Tensor], Tensor]
    real: Tensor
    fake: Tensor
    labels: Tensor | None
    z: Tensor
    values: Mapping[str, float]
    ops: Ops
    memory: MutableMapping[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Loss(Protocol):
    """Named terms for each network; the engine sums, differentiates and logs them.

    A term whose name ends in `penalty` is checked at the first step: it must have a gradient in D.

    A loss that remembers something, such as a moving average of scores, has an attribute `memory`: name -> the number
    that it starts with. In a step `step.memory[name]` is a scalar tensor, a constant to differentiation, and assigning
    to it keeps a new value for the steps to come. The engine saves it with each checkpoint.
    """

    def discriminator(self, step: Step) -> Mapping[str, Tensor]:
        """What D minimises: scalars such as `{"adversarial": …, "gradient_penalty": …}`."""

    def generator(self, step: Step) -> Mapping[str, Tensor]:
        """What G minimises."""


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of the run that it watches.

    Attributes:
        folder: the run's folder.
        name: its last component.
        settings: every resolved setting by its full name: `settings["train.lr"]`.
        facts: what `config.yaml` keeps beside them: parts with their versions, data, spec, notes.
        images: real images seen when it began; above 0 where a run goes on from a checkpoint.
        own: a folder for the tracker's own files, which outlives the process. The tracker makes it if it needs it.
        memory: what the tracker keeps from hook to hook. It is gone when the process ends.
    """

    folder: Path
    name: str
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    images: int
    own: Path
    memory: dict[str, Any] = field(default_factory=dict)


class Schedule(Protocol):
    """A pure function of the images seen; it keeps no state, so resuming needs none."""

    def __call__(self, images: int) -> Mapping[str, float]:
        """Images seen so far -> named values, each of which wins over the setting of that name.

        The engine acts on `lr_g`, `lr_d`, `beta2`, `ema_halflife` and `resolution`; the rest reaches the
        networks that ask for it (`takes`) and the loss (`step.values`).
        """


@dataclass(frozen=True)
class Features:
    """What an extractor found in a set of images.

    Attributes:
        features: float32 [N,F].
        logits: float32 [N,K], scores of classes before a softmax, or None.
        labels: int64 [N], the classes of real images, and those that a conditional model was asked for; or None.
        class_names: K names of the data's classes, empty where it has none. `logits` are of these classes where the
            extractor's manifest says `has.classes = true`.
    """

    features: np.ndarray
    logits: np.ndarray | None = None
    labels: np.ndarray | None = None
    class_names: Sequence[str] = ()


@runtime_checkable
class Extractor(Protocol):
    """Images -> the numbers that scores are computed from.

    Attributes:
        facts: what these numbers depend on, as JSON can hold it, to be kept with each score: `weights`, the SHA-256
            of its weights; `resizer`, how it changes the size of images, by name; and whatever else decides.
    """

    facts: Mapping[str, Any]

    def extract(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """uint8 images [N,H,W,C] of the data's own size -> features float32 [N,F], and logits [N,K] or None."""


class Metric(Protocol):
    """Features of real and of generated images -> scores by name: a number, or a number for each class by its name."""

    def __call__(self, real: Features, fake: Features, seed: int) -> Mapping[str, float | Mapping[str, float]]:
        """The same arguments give the same scores; all random numbers come from `seed`.

        Raises:
            UsageError: in a sentence, where there is nothing to score by, such as too few images.
        """
