"""Cards: what is known of a part, or of a fault, without importing anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ganzoo_core.messages import pluralise

KINDS = ("models", "losses", "schedules", "datasets", "modifiers", "trackers", "extractors", "metrics")
_SINGULAR = ("model", "loss", "schedule", "dataset", "modifier", "tracker", "extractor", "metric")
SINGULAR = dict(zip(KINDS, _SINGULAR, strict=True))


@dataclass(frozen=True)
class Suits:
    """When a preset is the right one, as its manifest says.

    Attributes:
        max_images: the preset is picked for data of at most so many images, where the data has no preset of its own.
        machine: `laptop`: it is advised where a run would take long without a GPU. "" for none.
    """

    max_images: int | None = None
    machine: str = ""

    def __str__(self) -> str:
        few = "" if self.max_images is None else f"for up to {pluralise(self.max_images, 'image')}"
        return ", ".join(filter(None, (few, self.machine and f"for a {self.machine}")))


@dataclass(frozen=True)
class Part:
    """A card: all that is known of a part without importing it.

    `defaults`, `choices`, `help` and each preset are flat, keyed by the setting's full name; `suits` says when a
    preset is the right one. `frameworks` empty means all. `decision` is where D calls an image real: a number,
    `"pair"`, or None; `probability` says what makes a probability of its score. `generators` names the trained ones
    that a model's package carries. `license` is what a dataset's pictures are under, and whom to name. `lower` and
    `higher` name the scores of a metric that are better so; the best generator is the one with the least of the first
    `lower` of the `main` metric. `calms_divergence` marks a modifier that is advised where training diverges.
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
    help: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    has: Mapping[str, Any] = field(default_factory=dict)
    doubles: tuple[str, ...] = ()
    conditional: bool = False
    output: str = "tanh"
    latent: str = "normal"
    image_sizes: tuple[int, ...] = ()
    takes: tuple[str, ...] = ()
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
    calms_divergence: bool = False

    @property
    def qualified_name(self) -> str:
        """The name that always works: `distribution/name`."""
        return f"{self.distribution}/{self.name}"

    @property
    def label(self) -> str:
        """The part and where it comes from, for a message."""
        return f"{self.name} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class Problem:
    """Something installed that cannot be used: `state` names the problem, `reason` says it and what to do."""

    state: str
    reason: str
    distribution: str
    version: str
    kind: str = ""
    name: str = ""
