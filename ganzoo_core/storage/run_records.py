"""Typed records of a run's data, networks, versions and configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ganzoo_core.storage.records import (
    DIGEST_PATTERN,
    MAX_CONDITIONS,
    PRESET_PATTERN,
    RUN_ID_PATTERN,
    ConditionName,
    ImageCount,
    Label,
    SideLength,
)

ShortText = Annotated[str, Meta(max_length=1000)]
LongText = Annotated[str, Meta(max_length=10_000)]
MAX_PIXELS = 100_000_000


class DataFacts(Struct, frozen=True):
    """The data of a run: the number of images, their height, width and channels, and their digest."""

    images: ImageCount
    size: tuple[SideLength, SideLength, Literal[1, 3]]
    sha256: Annotated[str, Meta(pattern=DIGEST_PATTERN)] | None = None

    def __post_init__(self) -> None:
        if self.size[0] * self.size[1] > MAX_PIXELS:
            raise ValueError(f"size is {list(self.size)}; expected at most {MAX_PIXELS:,} pixels")


ClassCount = tuple[Label, ImageCount]
"""The name of a class and its number of images."""


class ClassesSummary(Struct, frozen=True):
    """The number of classes, those with the fewest and the most images, and each class unless there are too many.

    `empty` is the number of classes without training images, and `first_empty` the names of the first of them.
    """

    count: Annotated[int, Meta(ge=1, le=1_000_000)]
    smallest: ClassCount
    largest: ClassCount
    each: Annotated[list[ClassCount], Meta(max_length=1000)] = []
    empty: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    first_empty: Annotated[list[Label], Meta(max_length=1000)] = []


class SizesSummary(Struct, frozen=True):
    """Original widths and heights of the pictures: the number of different sizes, and of pictures enlarged."""

    count: Annotated[int, Meta(ge=1, le=10**15)]
    smallest: tuple[SideLength, SideLength]
    largest: tuple[SideLength, SideLength]
    commonest: tuple[SideLength, SideLength, ImageCount]
    enlarged: ImageCount


class DataSummary(Struct, frozen=True):
    """The summary of its data that a run shows before training.

    Attributes:
        images: the number of training images.
        skipped: the number of files left out.
        held_out: images of the set that are not trained on; None if the dataset does not say.
        classes: None without labels.
        sizes: the original sizes of the pictures.
        framing: cropping and resizing, such as `640×480 → crop 480² → 64×64`.
        cut: the share of the pictures' area that was cropped away.
        conditions: name -> the shape of each condition and its origin, in words.
    """

    images: ImageCount
    skipped: ImageCount
    sizes: SizesSummary
    framing: ShortText
    held_out: ImageCount | None = None
    classes: ClassesSummary | None = None
    cut: Annotated[float, Meta(ge=0, le=1)] = 0.0
    conditions: Annotated[dict[ConditionName, ShortText], Meta(max_length=2 * MAX_CONDITIONS)] = {}


class NetworkFacts(Struct, frozen=True):
    """The image size and number of classes that a run's networks were built for."""

    height: SideLength
    width: SideLength
    channels: Literal[1, 3]
    classes: Annotated[int, Meta(ge=0, le=1_000_000)]


class RunFacts(Struct, frozen=True):
    """The facts under `run` in `config.yaml`, next to the settings. Further keys are allowed.

    Attributes:
        id: the run's id.
        ganzoo, python, numpy: versions.
        engine: framework, version, device and similar.
        parts: for each slot `DISTRIBUTION/NAME VERSION`, or `(object)` for an object passed from Python.
        modifiers: in the same form.
        preset: the preset's name; "" for none.
        data, data_summary, spec: None if not recorded.
        framing: how the images were brought to the networks' size.
        background: the grey value of padding; None for the default.
        notes, warnings: sentences.
        length_from: the origin of `train.length` when the run began or was last made longer.
        licences: the licences of all pictures that the run and its initial weights were trained on; None if not
            recorded.
        parent: the run whose checkpoint or weights it started from.
        paths: paths for finding its data again; see `building.collect_paths`.
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
    """The facts in `config.yaml`, without the settings."""

    run: RunFacts
