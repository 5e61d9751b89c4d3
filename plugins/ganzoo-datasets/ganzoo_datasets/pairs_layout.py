"""Find the pairs in a folder or archive: two folders with equal names, or pictures that hold both side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import ganzoo_core as gz
from ganzoo_datasets.folder_layout import find_common_folder, find_splits, list_names

SIDES = (("a", "b"), ("source", "target"), ("input", "target"), ("input", "output"))
"""Names of the two folders, A before B, in any case."""
_PART_AND_SIDE = re.compile(r"(train|training|test|testing|val|valid|validation)[ _-]?(a|b)", re.IGNORECASE)
_OTHERS_ARE = "two folders with pictures of equal names"
_EXPECTED = "expected two folders with pictures of equal names, or pictures that hold both side by side"


@dataclass(frozen=True)
class Pair:
    """Two pictures that belong together.

    Attributes:
        a, b: the files; the same file for two pictures side by side, A on the left.
        split: `train` or `test` in a folder that has these two parts, else "".
    """

    a: gz.ImageFile
    b: gz.ImageFile
    split: str = ""


@dataclass(frozen=True)
class PairLayout:
    """All pairs of a folder or archive.

    Attributes:
        pairs: sorted by the path of A.
        side_by_side: whether each file holds both.
        alone: the files without a partner.
        notes: for the user.
    """

    pairs: list[Pair]
    side_by_side: bool
    alone: list[gz.ImageFile]
    notes: tuple[str, ...]


def find_pairs(scan: gz.ImageScan) -> PairLayout:
    """Find the parts, the two sides and the pairs.

    A folder that holds all others is entered. There are parts as in `folder_layout.find_layout`, above the two sides or
    in both of them, or folders such as `trainA` and `trainB`. The sides are two folders, whose names may be those of
    `SIDES`; without folders, each picture holds both sides.

    Raises:
        DataError: if the layout is ambiguous, or two pictures of one side differ by their ending only.
    """
    files, notes = scan.files, list(scan.notes)
    if scan.label_files:
        notes.append(f"passed over: {list_names([file.relative for file in scan.label_files])}, since pairs need none")
    paths = [file.relative.split("/")[:-1] for file in files]
    entered = find_common_folder(paths)
    if entered:
        notes.append(f"the images all lie in {gz.quote_name('/'.join(entered))}, which is entered")
    paths = [path[len(entered) :] for path in paths]
    paths, splits = _split(paths)
    if not any(paths):
        lone = entered[-1] if entered else ""
        if lone.lower() in {side for sides in SIDES for side in sides}:
            raise gz.DataError(f"it holds the folder {gz.quote_name(lone)} alone; {_EXPECTED}")
        pairs = [Pair(file, file, split) for file, split in zip(files, splits, strict=True)]
        return PairLayout(pairs, True, [], (*notes, "each picture holds a pair side by side, A on the left"))
    first, second = _find_sides(files, paths, notes)
    kept = [row for row, path in enumerate(paths) if path[0] in (first, second)]
    files, splits, tops = [files[row] for row in kept], [splits[row] for row in kept], [paths[row][0] for row in kept]
    paths = [paths[row][1:] for row in kept]
    if not any(splits):
        paths, splits = _split(paths)
    sides: dict[str, dict[tuple[str, ...], tuple[gz.ImageFile, str]]] = {first: {}, second: {}}
    for file, top, path, split in zip(files, tops, paths, splits, strict=True):
        key = (split, *path, PurePosixPath(file.relative).stem)
        other = sides[top].setdefault(key, (file, split))[0]
        if other is not file:
            raise gz.DataError(
                f"{other.title} and {file.title} have one name apart from the ending; expected one picture of a name"
            )
    return _join(sides[first], sides[second], notes)


def _join(
    first: Mapping[tuple[str, ...], tuple[gz.ImageFile, str]],
    second: Mapping[tuple[str, ...], tuple[gz.ImageFile, str]],
    notes: Sequence[str],
) -> PairLayout:
    """Pair the files of two sides by their keys."""
    pairs = [Pair(file, second[key][0], split) for key, (file, split) in first.items() if key in second]
    alone = [file for key, (file, _) in (*first.items(), *second.items()) if not (key in first and key in second)]
    return PairLayout(pairs, False, alone, tuple(notes))


def _split(paths: Sequence[list[str]]) -> tuple[list[list[str]], list[str]]:
    """Find the parts by the top folders; return the paths below them, and the part of each file, "" without parts.

    Folders such as `trainA` become the folder of the side; so `trainA/x` is `A/x` of the train part.
    """
    matches = [_PART_AND_SIDE.fullmatch(path[0]) if path else None for path in paths]
    if all(matches):
        split_of = [match[1] for match in matches if match]
        below = [[match[2].upper(), *path[1:]] for match, path in zip(matches, paths, strict=True) if match]
        return below, _to_parts(split_of)
    splits = find_splits(paths, others_are=_OTHERS_ARE)
    if not any(splits):
        return list(paths), splits
    if not all(splits):
        parts = sorted({path[0] for path in paths if path})
        raise gz.DataError(f"it holds images flat beside the parts {list_names(parts)}; expected all of them in a part")
    below = [path[1:] for path in paths]
    entered = find_common_folder(below)
    return [path[len(entered) :] for path in below], splits


def _to_parts(words: Sequence[str]) -> list[str]:
    """`train` or `test` for each word; "" for all if they are one part."""
    parts = ["train" if word.lower().startswith("train") else "test" for word in words]
    return parts if len(set(parts)) > 1 else [""] * len(parts)


def _find_sides(files: Sequence[gz.ImageFile], paths: Sequence[list[str]], notes: list[str]) -> tuple[str, str]:
    """The top folders of A and of B; others that lie beside a known pair are noted.

    Raises:
        DataError: if there are no two such folders.
    """
    tops = sorted({path[0] for path in paths if path})
    flat = next((file for file, path in zip(files, paths, strict=True) if not path), None)
    if flat is not None:
        raise gz.DataError(
            f"it holds images both flat ({flat.title}) and in the folders {list_names(tops)}; {_EXPECTED}"
        )
    by_name = {top.lower(): top for top in tops}
    known = [sides for sides in SIDES if set(sides) <= set(by_name)]
    if len(by_name) < len(tops):
        raise gz.DataError(f"its folders {list_names(tops)} differ only in case; {_EXPECTED}")
    if len(known) == 1:
        first, second = (by_name[side] for side in known[0])
        others = [top for top in tops if top not in (first, second)]
        if others:
            notes.append(f"passed over: the folders {list_names(others)} beside {first} and {second}")
        return first, second
    if len(tops) != 2:
        raise gz.DataError(f"it holds the folder{'s' if len(tops) > 1 else ''} {list_names(tops)}; {_EXPECTED}")
    first, second = tops
    notes.append(
        f"A is {gz.quote_name(first)} and B {gz.quote_name(second)}, by the order of their names; --set "
        "data.direction=BtoA turns them round"
    )
    return first, second
