"""Cards: what a manifest says about a part, and the problems found in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ganzoo_core.messages import pluralise

KINDS = ("models", "losses", "schedules", "datasets", "modifiers", "trackers", "extractors", "metrics")
_SINGULAR = ("model", "loss", "schedule", "dataset", "modifier", "tracker", "extractor", "metric")
BOUNDS = ("above", "at_least", "below")
"""The fields of a card with the bounds of its settings, as `settings.Setting` has them."""
DATA_FEATURES = ("labels",)  # what an extractor may need of the data: a class for every image
SINGULAR = dict(zip(KINDS, _SINGULAR, strict=True))


@dataclass(frozen=True)
class Suits:
    """When a preset is suitable, according to its manifest.

    Attributes:
        max_images: the preset is picked for data of at most this many images, unless the data has its own preset.
        machine: `laptop`: suggested if a run would take long without a GPU. "" for none.
    """

    max_images: int | None = None
    machine: str = ""

    def __str__(self) -> str:
        few = "" if self.max_images is None else f"for up to {pluralise(self.max_images, 'image')}"
        return ", ".join(filter(None, (few, self.machine and f"for a {self.machine}")))


@dataclass(frozen=True)
class Part:
    """A card: everything known about a part without importing it.

    `defaults`, `choices`, `above`, `at_least`, `below`, `help` and each preset are flat, keyed by the setting's full
    name; `suits` says when a preset is suitable. `frameworks` empty means all. `decision` is the score above which D
    classifies an image as real: a number, `"pair"`, or None; `probability` is the function that turns D's score into a
    probability. `generators` names the trained generators included in a model's package. `license` is the licence of a
    dataset's pictures, with attribution. `lower` and `higher` name the scores of a metric for which lower or higher is
    better; the best generator has the lowest value of the first `lower` score of the `main` metric. Scores of a metric
    mean little with fewer than `min_images` real or generated images; of several `main` metrics the most demanding one
    that has enough counts. One that `needs` training images is left out by default where there are more than
    `max_training_images`. An extractor `needs` features of the data (`DATA_FEATURES`). `calms_divergence` marks a
    modifier that is recommended if training diverges. `takes` names the schedule's values that a network is called
    with, or that a loss or modifier reads in place of its setting of that name; `gives` those that a schedule gives in
    place of settings, each true or depending on a setting as in `has`. `warnings` are about fields that this core
    ignored. `conditional` is true, false, or depends on a setting as in `has`; a model's networks are called with its
    `conditions`, its discriminator also with what it names in `discriminator_takes`. `drawn_alone` marks a generator
    whose noise is dropout: each image is drawn by itself, in training mode, so with dropout and with its own batch
    statistics. `bfloat16` names the presets in which a model trains as well in bfloat16 as in float32, as its author
    measured: preset -> how many times as fast. `contract` names the model on which the contract of checks tries a loss
    that needs more than the contract's own tiny networks.
    """

    kind: str
    name: str
    title: str
    hooks: str
    distribution: str
    version: str
    package: str
    location: str = ""
    frameworks: tuple[str, ...] = ()
    paper: str = ""
    aliases: tuple[str, ...] = ()
    default: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    suits: Mapping[str, Suits] = field(default_factory=dict)
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    above: Mapping[str, float] = field(default_factory=dict)
    at_least: Mapping[str, float] = field(default_factory=dict)
    below: Mapping[str, float] = field(default_factory=dict)
    help: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    has: Mapping[str, Any] = field(default_factory=dict)
    doubles: tuple[str, ...] = ()
    conditional: bool | Mapping[str, Any] = False
    output: str = "tanh"
    latent: str = "normal"
    image_sizes: tuple[int, ...] = ()
    takes: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    discriminator_takes: tuple[str, ...] = ()
    drawn_alone: bool = False
    bfloat16: Mapping[str, float] = field(default_factory=dict)
    contract: str = ""
    gives: Mapping[str, Any] = field(default_factory=dict)
    generators: tuple[str, ...] = ()
    decision: float | str | None = None
    probability: str | None = None
    clip_discriminator: float | str | None = None
    image: Mapping[str, int] | None = None
    argument: str = "none"
    license: str = ""
    lower: tuple[str, ...] = ()
    higher: tuple[str, ...] = ()
    main: bool = False
    min_images: int = 0
    max_training_images: int = 0
    calms_divergence: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def qualified_name(self) -> str:
        """The unambiguous name: `distribution/name`."""
        return f"{self.distribution}/{self.name}"

    @property
    def label(self) -> str:
        """The part with its distribution and version, for messages."""
        return f"{self.name} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class Problem:
    """An installed plugin or part that cannot be used, or a warning about a plugin that can.

    `state` names the problem, `reason` explains it and the fix.
    """

    state: str
    reason: str
    distribution: str
    version: str
    kind: str = ""
    name: str = ""


class Manifest(NamedTuple):
    """What a manifest holds: usable parts, problems of the others, and warnings that concern no single part."""

    parts: list[Part]
    problems: list[Problem]
    warnings: list[Problem]
