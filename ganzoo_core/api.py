"""The contract, part 1: the types that plugins receive and return.

They are frozen dataclasses and protocols that depend on no framework. Part 2, the hooks themselves, is in
`hookspecs.py`.

Array shapes name their axes: N samples, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:  # importing numpy would double the time of commands that only list what is installed
    import numpy as np

from ganzoo_core.api_version import API as API
from ganzoo_core.errors import PluginError
from ganzoo_core.frameworks import FRAMEWORKS
from ganzoo_core.image_source import Images as Images
from ganzoo_core.image_source import ImageSource as ImageSource
from ganzoo_core.ops import Ops as Ops
from ganzoo_core.ops import Tensor as Tensor

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

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of an image as the networks see it, such as a loss that remembers images declares."""
        framework = FRAMEWORKS.get(self.framework)
        if framework is not None and framework.channels_first:
            return self.channels, self.height, self.width
        return self.height, self.width, self.channels


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
class Memory:
    """What a loss remembers under a name, where a number or an array alone does not say enough.

    Attributes:
        initial: what it starts with: an array, whose shape and dtype it keeps (float16, float32, float64, int32, int64,
            uint8 or bool), or a number, which is a float32.
        across: how the processes of a distributed run keep it. `mean`: averaged over them after each phase, so that it
            is the same in all; whole numbers are rounded. `rank`: each has its own, such as a pool of images that it
            drew. All are saved, and only a run on as many processes can resume from them.
    """

    initial: float | np.ndarray
    across: Literal["mean", "rank"] = "mean"


class StepServices(Protocol):
    """What an engine does for `Step.every`, `Step.log` and `Step.weights`."""

    def every(self, n: int, term: Callable[[], Tensor]) -> Tensor: ...
    def log(self, name: str, value: Tensor) -> None: ...
    def weights(self, network: str) -> Mapping[str, Tensor]: ...


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
        memory: what the loss keeps from step to step, by name; see `Loss`.
        conditions: name -> rows, of all conditions that either network takes: int64 [N], float32 [N,F], and pictures
            float32 in [-1, 1] in the framework's layout. They belong to `real`, and `fake` is drawn from them.
        step: the number of rounds before this one, the same in all phases of a round. An int; an int64 scalar tensor in
            TensorFlow, and in PyTorch where the step is compiled. `ops.cast` makes it a float32.
        images: the number of real images seen before this round, for which `values` are the schedule's; as `step`.
        services: the engine's, for the methods below; a step that is made without them is a whole round by itself.
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
    step: Tensor = 0
    images: Tensor = 0
    services: StepServices | None = field(default=None, repr=False)

    def every(self, n: int, term: Callable[[], Tensor]) -> Tensor:
        """n · term() in every n-th round, beginning with the first, else 0 without a call of `term`: a lazy term.

        Its mean over the rounds is that of a term that is computed each time. Of several D updates in a round it is in
        the first only; the report's mean of a term that is such a result is over the rounds.

        Args:
            n: at least 1.
            term: returns a scalar. It may read and write `memory`; scores that it asks for do not count for D's
                accuracies. In TensorFlow it is traced into a branch of the graph: what it assigns to variables of
                Python is of no use outside of it.

        Raises:
            PluginError: if n is no whole number of at least 1, if the term is no scalar or calls `every` or `log`.
        """
        if self.services is not None:
            return self.services.every(n, term)
        return n * term() if int(self.step) % n == 0 else self.ops.cast(0.0, "float32")

    def log(self, name: str, value: Tensor) -> None:
        """Report a scalar that is not minimised, as `discriminator/NAME` or `generator/NAME`, like the terms.

        The report's mean is over the calls. Like a term it must stay finite.

        Raises:
            PluginError: if the value is no scalar, or the phase reports something else by this name.
        """
        if self.services is not None:
            self.services.log(name, value)

    def weights(self, network: Literal["generator", "discriminator"]) -> Mapping[str, Tensor]:
        """Name -> tensor of all weights that the network learns, for penalties of them.

        The names and shapes are the framework's. In the phase of the other network they are constants.

        Raises:
            PluginError: for another name, and where no network is trained.
        """
        if self.services is None:
            raise PluginError("step.weights is available only in training; this step has no networks")
        return self.services.weights(network)


@runtime_checkable
class Loss(Protocol):
    """Named terms for each network; the engine sums, differentiates and logs them.

    A term whose name ends in `penalty` is checked when it is first there: it must have a gradient in D.

    A loss with state, such as a moving average of scores, has an attribute `memory`: name -> what it starts with, a
    number, an array or a `Memory`. In a step `step.memory[name]` is a tensor of that shape and dtype, a constant in
    differentiation; assigning to it sets the value for the following steps. The engine saves it with each checkpoint.
    A modifier that wraps a loss has a `memory` of its own, which is merged with that of the loss; no name may be in
    both.
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
            of the weights; `resizer`, the name of the resizing method; and any others. One that computes on a GPU says
            its name as `device`: cached features and those of several ranks are of one device, and scores of two are
            still comparable.
        batch: optional: how many images `extract` looks at together, counted from its first. Where it is known, images
            are extracted in parts of a multiple of it, while further ones are drawn, and their features are the same
            to the last bit. Without it all are extracted at once.
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
