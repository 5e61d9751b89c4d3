"""Typed records of report data that needs the generator or the training set: nearest neighbours and latent walk."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ganzoo_core.storage.records import PICTURE_PATTERN, ImageCount, Label, SideLength
from ganzoo_core.storage.run_records import LongText

PictureUri = Annotated[str, Meta(pattern=PICTURE_PATTERN)]
Distances = Annotated[list[Annotated[float, Meta(ge=0, le=1e6)]], Meta(max_length=100_000)]


class Neighbour(Struct, frozen=True):
    """A training image and its distance to a generated one."""

    uri: PictureUri
    distance: Annotated[float, Meta(ge=0, le=1e6)]
    index: ImageCount


class DrawnImage(Struct, frozen=True):
    """A generated image and its nearest training images."""

    uri: PictureUri
    ratio: Annotated[float, Meta(ge=0, le=1e6)]
    neighbours: Annotated[list[Neighbour], Meta(max_length=100)]


class Nearest(Struct, frozen=True):
    """See `nearest_and_walk.find_nearest`."""

    shown: Annotated[list[DrawnImage], Meta(max_length=100)]
    drawn: Distances
    ratios: Distances
    training: Distances
    about: LongText = ""


class Walk(Struct, frozen=True):
    """See `nearest_and_walk.draw_walk`."""

    frames: Annotated[list[PictureUri], Meta(max_length=1000)]
    size: tuple[SideLength, SideLength]
    about: LongText = ""


class Measurements(Struct, frozen=True):
    """`report/measured.json`: report data that needs the generator or the training set; `notes` explain gaps."""

    format: Literal[1] = 1
    images: ImageCount | None = None
    notes: Annotated[dict[Label, LongText], Meta(max_length=100)] = {}
    walk: Walk | None = None
    nearest: Nearest | None = None
