"""Typed records of what a run is made with: data, networks, versions and configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ganzoo_core.storage.records import DIGEST, PRESET, RUN_ID, Images, Label, Side

Fact = Annotated[str, Meta(max_length=1000)]
Sentence = Annotated[str, Meta(max_length=10_000)]
MOST_PIXELS = 100_000_000


class DataFacts(Struct, frozen=True):
    """The data of a run: how many images, their height, width and channels, and a digest of them."""

    images: Images
    size: tuple[Side, Side, Literal[1, 3]]
    sha256: Annotated[str, Meta(pattern=DIGEST)] | None = None

    def __post_init__(self) -> None:
        if self.size[0] * self.size[1] > MOST_PIXELS:
            raise ValueError(f"size is {list(self.size)}; expected at most {MOST_PIXELS:,} pixels")


Named = tuple[Label, Images]
"""A class and its images."""


class ClassesSummary(Struct, frozen=True):
    """How many classes, those with the fewest and the most images, and all of them where they are not too many."""

    count: Annotated[int, Meta(ge=1, le=1_000_000)]
    smallest: Named
    largest: Named
    each: Annotated[list[Named], Meta(max_length=1000)] = []


class SizesSummary(Struct, frozen=True):
    """Width and height of the pictures as they were found: how many different ones, and how many were enlarged."""

    count: Annotated[int, Meta(ge=1, le=10**15)]
    smallest: tuple[Side, Side]
    largest: tuple[Side, Side]
    commonest: tuple[Side, Side, Images]
    enlarged: Images


class DataSummary(Struct, frozen=True):
    """What a run said of its data before it trained.

    Attributes:
        images: trained on.
        skipped: files that were left out.
        held_out: images of the set that are not trained on; None where its dataset does not say.
        classes: None without.
        sizes: before anything was done to the pictures.
        framing: what was done, such as `640×480 → crop 480² → 64×64`.
    """

    images: Images
    skipped: Images
    sizes: SizesSummary
    framing: Fact
    held_out: Images | None = None
    classes: ClassesSummary | None = None


class NetworkFacts(Struct, frozen=True):
    """What the networks of a run were built for."""

    height: Side
    width: Side
    channels: Literal[1, 3]
    classes: Annotated[int, Meta(ge=0, le=1_000_000)]


class RunFacts(Struct, frozen=True):
    """What `config.yaml` keeps under `run`, beside the settings. Others than these may stand there.

    Attributes:
        id: of the run.
        ganzoo, python, numpy: versions.
        engine: framework, version, device and such.
        parts: by slot, `DISTRIBUTION/NAME VERSION`; `(object)` of one that was given in Python.
        modifiers: likewise.
        preset: its name; "" for none.
        data, data_summary, spec: None where a run does not say it.
        framing: how the images came to the networks' size.
        background: grey value of what pads them; None for the default.
        notes, warnings: sentences.
        length_from: where `train.length` came from when the run began, or was made longer.
        licences: of all pictures that it, and the weights that it began with, learnt from; None where it does not say.
        parent: the run that it comes from.
        paths: by which its data are found again; see `building.keep_paths`.
    """

    id: Annotated[str, Meta(pattern=RUN_ID)] = ""
    ganzoo: Fact = ""
    python: Fact = ""
    numpy: Fact = ""
    engine: Annotated[dict[Fact, Any], Meta(max_length=100)] = {}
    parts: Annotated[dict[Fact, Fact], Meta(max_length=100)] = {}
    modifiers: Annotated[list[Fact], Meta(max_length=100)] = []
    preset: Annotated[str, Meta(pattern=PRESET)] = ""
    data: DataFacts | None = None
    data_summary: DataSummary | None = None
    spec: NetworkFacts | None = None
    framing: Literal["none", "pad", "resize", ""] = ""
    background: Annotated[int, Meta(ge=0, le=255)] | None = None
    notes: Annotated[list[Sentence], Meta(max_length=1000)] = []
    warnings: Annotated[list[Sentence], Meta(max_length=1000)] = []
    length_from: Sentence = ""
    licences: Annotated[list[Sentence], Meta(max_length=1000)] | None = None
    parent: Annotated[dict[Fact, Any], Meta(max_length=100)] = {}
    paths: Annotated[dict[Fact, Annotated[str, Meta(max_length=4096)]], Meta(max_length=100)] = {}


class ConfigFacts(Struct, frozen=True):
    """`config.yaml`, as far as it holds facts."""

    run: RunFacts
