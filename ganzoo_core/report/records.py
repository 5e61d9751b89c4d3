"""Typed records of what a report measures with the networks: nearest neighbours and the latent walk."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ganzoo_core.storage.records import PICTURE, Images, Label, Side
from ganzoo_core.storage.run_records import Sentence

Picture = Annotated[str, Meta(pattern=PICTURE)]
Distances = Annotated[list[Annotated[float, Meta(ge=0, le=1e6)]], Meta(max_length=100_000)]


class Neighbour(Struct, frozen=True):
    """A training image beside a drawn one, and how far they are apart."""

    uri: Picture
    distance: Annotated[float, Meta(ge=0, le=1e6)]
    index: Images


class Shown(Struct, frozen=True):
    """A drawn image and the training images nearest to it."""

    uri: Picture
    ratio: Annotated[float, Meta(ge=0, le=1e6)]
    neighbours: Annotated[list[Neighbour], Meta(max_length=100)]


class Nearest(Struct, frozen=True):
    """See `report.measured.nearest`."""

    shown: Annotated[list[Shown], Meta(max_length=100)]
    drawn: Distances
    ratios: Distances
    training: Distances
    about: Sentence = ""


class Walk(Struct, frozen=True):
    """See `report.measured.walk`."""

    frames: Annotated[list[Picture], Meta(max_length=1000)]
    size: tuple[Side, Side]
    about: Sentence = ""


class Measured(Struct, frozen=True):
    """`report/measured.json`: what a report shows that takes the networks, or in `notes` why it does not."""

    format: Literal[1] = 1
    images: Images | None = None
    notes: Annotated[dict[Label, Sentence], Meta(max_length=100)] = {}
    walk: Walk | None = None
    nearest: Nearest | None = None
