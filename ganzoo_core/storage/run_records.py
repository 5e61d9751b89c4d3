"""Typed records of what a run is made with: data, networks, versions and configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ganzoo_core.storage.records import DIGEST_PATTERN, PRESET_PATTERN, RUN_ID_PATTERN, ImageCount, Label, SideLength

ShortText = Annotated[str, Meta(max_length=1000)]
LongText = Annotated[str, Meta(max_length=10_000)]
MAX_PIXELS = 100_000_000


class DataFacts(Struct, frozen=True):
    """The data of a run: how many images, their height, width and channels, and a digest of them."""

    images: ImageCount
    size: tuple[SideLength, SideLength, Literal[1, 3]]
    sha256: Annotated[str, Meta(pattern=DIGEST_PATTERN)] | None = None

    def __post_init__(self) -> None:
        if self.size[0] * self.size[1] > MAX_PIXELS:
            raise ValueError(f"size is {list(self.size)}; expected at most {MAX_PIXELS:,} pixels")


ClassCount = tuple[Label, ImageCount]
"""A class and its images."""


class ClassesSummary(Struct, frozen=True):
    """How many classes, those with the fewest and the most images, and all of them where they are not too many."""

    count: Annotated[int, Meta(ge=1, le=1_000_000)]
    smallest: ClassCount
    largest: ClassCount
    each: Annotated[list[ClassCount], Meta(max_length=1000)] = []


class SizesSummary(Struct, frozen=True):
    """Width and height of the pictures as they were found: how many different ones, and how many were enlarged."""

    count: Annotated[int, Meta(ge=1, le=10**15)]
    smallest: tuple[SideLength, SideLength]
    largest: tuple[SideLength, SideLength]
    commonest: tuple[SideLength, SideLength, ImageCount]
    enlarged: ImageCount


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

    images: ImageCount
    skipped: ImageCount
    sizes: SizesSummary
    framing: ShortText
    held_out: ImageCount | None = None
    classes: ClassesSummary | None = None


class NetworkFacts(Struct, frozen=True):
    """What the networks of a run were built for."""

    height: SideLength
    width: SideLength
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
        paths: by which its data are found again; see `building.collect_paths`.
    """

    id: Annotated[str, Meta(pattern=RUN_ID_PATTERN)] = ""
    ganzoo: ShortText = ""
    python: ShortText = ""
    numpy: ShortText = ""
    engine: Annotated[dict[ShortText, Any], Meta(max_length=100)] = {}
    parts: Annotated[dict[ShortText, ShortText], Meta(max_length=100)] = {}
    modifiers: Annotated[list[ShortText], Meta(max_length=100)] = []
    preset: Annotated[str, Meta(pattern=PRESET_PATTERN)] = ""
    data: DataFacts | None = None
    data_summary: DataSummary | None = None
    spec: NetworkFacts | None = None
    framing: Literal["none", "pad", "resize", ""] = ""
    background: Annotated[int, Meta(ge=0, le=255)] | None = None
    notes: Annotated[list[LongText], Meta(max_length=1000)] = []
    warnings: Annotated[list[LongText], Meta(max_length=1000)] = []
    length_from: LongText = ""
    licences: Annotated[list[LongText], Meta(max_length=1000)] | None = None
    parent: Annotated[dict[ShortText, Any], Meta(max_length=100)] = {}
    paths: Annotated[dict[ShortText, Annotated[str, Meta(max_length=4096)]], Meta(max_length=100)] = {}


class ConfigFacts(Struct, frozen=True):
    """`config.yaml`, as far as it holds facts."""

    run: RunFacts
