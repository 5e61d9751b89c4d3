"""`--data pairs:PATH`: pairs of pictures, of which one is the condition `source` and the other the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets.cache import load_or_build
from ganzoo_datasets.content_split import make_split_keys
from ganzoo_datasets.folder import OTHER_OPTIONS, scan_folder, stamp_image_files
from ganzoo_datasets.folder_layout import list_names
from ganzoo_datasets.pairs_layout import Pair, PairLayout, find_pairs

CONDITION = "source"
_MAX_HEADERS = 128  # pairs that `describe_dataset` looks into
_MAX_STRETCH = 0.01  # of the aspects of two pictures of a pair, beyond the rounding to whole pixels


@gz.hookimpl
def dataset(name: str, argument: str, split: str, options: gz.Options) -> gz.ImageSource:
    """Images [size,size,C] and the condition `source` [size,size,C'], each with its own channels.

    C is `channels`, else 1 if every image is grey and 3 otherwise, and so is C' without `channels`. Pairs and parts are
    those of `find_pairs`. Without parts, some pairs are held out by the content of B.

    Raises:
        DataError: if there is nothing to read, if the layout is ambiguous, or, unless `skip_bad` is on, if files cannot
            be read, have no partner, or have another aspect than their partner.
        UsageError: if an option is invalid.
    """
    path, layout = _lay_out(name, argument, options)
    official = any(pair.split for pair in layout.pairs)
    part = split if official else "all"
    key = {
        "set": "pairs",
        "folder": str(path),
        "a": stamp_image_files([pair.a for pair in layout.pairs]),
        "b": stamp_image_files([pair.b for pair in layout.pairs]),
        "splits": [pair.split for pair in layout.pairs],
        "side_by_side": layout.side_by_side,
        "options": {key: value for key, value in options.items() if key not in OTHER_OPTIONS},
        "part": part,
    }
    source = load_or_build(key, partial(_build, path, layout, part=part, options=options))
    source = replace(source, notes=(*layout.notes, *source.notes), skipped=source.skipped + len(layout.alone))
    if not official:
        return gz.hold_out(source, split, options)
    return replace(source, held_out=sum(part not in ("all", pair.split) for pair in layout.pairs))


@gz.hookimpl
def describe_dataset(name: str, argument: str, split: str, options: gz.Options) -> Mapping[str, Any]:
    """Sizes and channels of both pictures, and the most pairs, by the names of all files and the first headers.

    Raises:
        DataError, UsageError: as `dataset` does.
    """
    path, layout = _lay_out(name, argument, options)
    chosen = [pair for pair in layout.pairs if pair.split in ("", split) or split == "all"]
    both = _Both(path, chosen[:_MAX_HEADERS], layout, options)
    height, width = both.find_size(range(len(both.pairs)))
    return {
        "height": height,
        "width": width,
        "channels": both.targets.channels,
        "classes": 0,
        "images": len(chosen),
        "conditions": {CONDITION: (height, width, both.sources.channels)},
    }


def _lay_out(name: str, argument: str, options: gz.Options) -> tuple[Path, PairLayout]:
    """The folder or archive and its pairs; raises DataError if there are none."""
    path, scan = scan_folder(name, argument, expected="pairs of pictures, in two folders or side by side")
    title = gz.quote_name(str(path))
    try:
        layout = find_pairs(scan)
    except gz.DataError as error:
        raise gz.DataError(f"{title}: {error}") from None
    if not layout.pairs:
        raise gz.DataError(
            f"{title}: no picture of either folder has a partner of its name in the other: "
            f"{list_names([file.relative for file in layout.alone])}"
        )
    if layout.alone:
        have, their, them = ("has", "its", "it") if len(layout.alone) == 1 else ("have", "their", "them")
        counted = (
            f"{len(layout.alone):,} of {2 * len(layout.pairs) + len(layout.alone):,} pictures {have} no partner of "
            f"{their} name: {list_names([file.relative for file in layout.alone])}"
        )
        if not options.get("skip_bad"):
            advice = f"add what is missing, or leave {them} out with --set data.skip_bad=true"
            raise gz.DataError(f"{title}: {counted}; {advice}")
        layout = replace(layout, notes=(*layout.notes, counted))
    return path, layout


class _Both:
    """The two sides of pairs: `sources` and `targets`, and the `pairs` of which both headers can be read."""

    def __init__(self, path: Path, pairs: Sequence[Pair], layout: PairLayout, options: gz.Options) -> None:
        options = {**options, "frames": "first"}
        halves = {"a": "left", "b": "right"} if layout.side_by_side else {"a": "", "b": ""}
        self.source_side, self.target_side = "ab" if options.get("direction", "AtoB") == "AtoB" else "ba"
        self.title = gz.quote_name(str(path))

        def read(side: str, **changed: Any) -> gz.ImageSet:
            files = [getattr(pair, side) for pair in pairs]
            return gz.ImageSet(files, {**options, **changed}, name=str(path), half=halves[side])

        self.sources, self.targets = read(self.source_side, channels=0), read(self.target_side)
        self._rows = {
            side: {file.relative: row for row, file in enumerate(images.files)}
            for side, images in ((self.source_side, self.sources), (self.target_side, self.targets))
        }
        self.pairs = [pair for pair in pairs if all(getattr(pair, side).relative in self._rows[side] for side in "ab")]
        self.notes: list[str] = []
        if self.targets.options.fit != "stretch":
            self._leave_out_other_aspects()

    def find_size(self, chosen: Sequence[int]) -> tuple[int, int]:
        """The height and width of both sides; raises DataError if their sizes differ and none is set."""
        sizes = [
            images.find_size(self.find_rows(side, chosen))
            for side, images in ((self.source_side, self.sources), (self.target_side, self.targets))
        ]
        if sizes[0] != sizes[1]:
            (height, width), (other_height, other_width) = sizes
            raise gz.DataError(
                f"{self.title}: the sources are {width}×{height} pixels and the targets {other_width}×{other_height}; "
                "data.size=0 keeps pictures that all have one size: say --set data.size=64"
            )
        return sizes[0]

    def find_rows(self, side: str, chosen: Sequence[int]) -> list[int]:
        """The rows of some pairs among the files of a side."""
        return [self._rows[side][getattr(self.pairs[index], side).relative] for index in chosen]

    def _leave_out_other_aspects(self) -> None:
        """Leave out pairs of two aspects, of which a crop would show different parts.

        Raises:
            DataError: if there are any and `skip_bad` is off, or no others.
        """
        everything = range(len(self.pairs))
        rows = [self.find_rows(side, everything) for side in (self.source_side, self.target_side)]
        unlike = []
        for index, source_row, target_row in zip(everything, *rows, strict=True):
            source, target = self.sources.headers[source_row], self.targets.headers[target_row]
            expected = source.width * target.height / source.height
            if abs(target.width - expected) > max(1, _MAX_STRETCH * target.width):
                sizes = f"({source.width}×{source.height} and {target.width}×{target.height} pixels)"
                unlike.append((index, f"{self.sources.files[source_row].title} {sizes}"))
        if not unlike:
            return
        are = "pair is" if len(unlike) == 1 else "pairs are"
        counted = f"{len(unlike):,} {are} of two aspects, such as {unlike[0][1]}"
        if not self.targets.options.skip_bad or len(unlike) == len(self.pairs):
            raise gz.DataError(
                f"{self.title}: {counted}; expected the same part of a scene in both: crop them, leave them out with "
                "--set data.skip_bad=true, or say --set data.fit=stretch"
            )
        self.notes.append(f"{counted}; left out")
        left_out = {index for index, _ in unlike}
        self.pairs = [pair for index, pair in enumerate(self.pairs) if index not in left_out]


def _build(path: Path, layout: PairLayout, *, part: str, options: gz.Options) -> gz.ImageSource:
    both = _Both(path, layout.pairs, layout, options)
    chosen = [index for index, pair in enumerate(both.pairs) if part in ("all", pair.split)]
    if not chosen:
        raise gz.DataError(f"{both.title} holds no pair of which both pictures can be read")
    size = both.find_size(chosen)
    sources, targets = (
        images.read(both.find_rows(side, chosen), size=size)
        for side, images in ((both.source_side, both.sources), (both.target_side, both.targets))
    )
    # Files that proved damaged when they were decoded are missing from one side.
    kept = [set(read.rows.tolist()) for read in (sources, targets)]
    rows = [
        (source, target)
        for source, target in zip(
            both.find_rows(both.source_side, chosen), both.find_rows(both.target_side, chosen), strict=True
        )
        if source in kept[0] and target in kept[1]
    ]
    if not rows:
        raise gz.DataError(f"{both.title} holds no pair of which both pictures can be read")
    places = [{row: place for place, row in enumerate(read.rows.tolist())} for read in (sources, targets)]
    at_source, at_target = (np.array([places[side][pair[side]] for pair in rows]) for side in (0, 1))
    images, source_images = targets.images[at_target], sources.images[at_source]
    keys: np.ndarray | None = None
    notes: list[str] = []
    if part == "all" and not any(pair.split for pair in both.pairs):
        is_target = both.target_side == "b"
        keys, notes = make_split_keys(
            (both.targets if is_target else both.sources).files,
            images if is_target else source_images,
            np.array([pair[is_target] for pair in rows]),
        )
    return gz.ImageSource(
        images=images,
        notes=(*dict.fromkeys((*both.targets.notes, *both.sources.notes)), *both.notes, *notes),
        sizes=targets.sizes[at_target],
        skipped=len(layout.pairs) - len(both.pairs) + len(chosen) - len(rows),
        split_keys=keys,
        conditions={CONDITION: source_images},
    )
