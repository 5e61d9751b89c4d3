"""Give each file of an image folder or archive its class and its part."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile

import ganzoo_core as gz
from ganzoo_datasets.label_files import read_label_files

TRAIN_FOLDERS, TEST_FOLDERS = ("train", "training"), ("test", "testing", "val", "valid", "validation")
_PART_WORD = re.compile(r"(?<![a-z])(?:(train|training)|test|testing|val|valid|validation)(?![a-z])")
_MAX_NAMED = 5  # how many files or folders a message names


@dataclass(frozen=True)
class Placed:
    """An image file with its place in the dataset.

    Attributes:
        file: the image file.
        label: the name of its class, or "" without classes.
        split: `train` or `test` in a folder that has these two parts, else "".
        attributes: its numbers in the columns of `data.attributes`.
    """

    file: gz.ImageFile
    label: str
    split: str = ""
    attributes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Layout:
    """The place of all files.

    Attributes:
        files: the images of the dataset, sorted by path.
        class_names: in order.
        notes: for the user.
    """

    files: list[Placed]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def find_layout(
    scan: gz.ImageScan, *, column: str = "", attributes: Sequence[str] = (), skip_bad: bool = False
) -> Layout:
    """Find the parts and the classes.

    A folder that holds all others is entered. There are parts if sub-folders are called `train` or `training` and, for
    testing, `test`, `testing`, `val`, `valid` or `validation`, in any case. The classes are those of a label file, else
    the sub-folders.

    Args:
        scan: of the folder or archive.
        column: `data.label`.
        attributes: `data.attributes`.
        skip_bad: `data.skip_bad`; whether files that a label file names may be missing.

    Raises:
        DataError: if the layout is ambiguous, the parts have no class in common, a class has a name that cannot be
            kept, or a label file is damaged or names missing files.
        UsageError: if `column` or one of `attributes` does not exist.
    """
    labels = read_label_files(scan, column=column, attributes=attributes)
    notes, files = [*scan.notes, *labels.notes], scan.files
    if named := labels.by_file or labels.attributes:
        notes += _compare(files, named, skip_missing=skip_bad)
        files = [file for file in files if file.relative in named]
        if not files:
            raise gz.DataError("no image is named by the file of labels")
    paths = [file.relative.split("/")[:-1] for file in files]
    entered = find_common_folder(paths)
    if entered and not labels.is_read:
        notes.append(f"the images all lie in {gz.quote_name('/'.join(entered))}, which is entered")
    paths = [path[len(entered) :] for path in paths]
    splits = find_splits(paths)
    if any(splits):
        flat = next((file for file, split in zip(files, splits, strict=True) if not split), None)
        if flat is not None:
            _refuse_mixed(flat, next(file for file, split in zip(files, splits, strict=True) if split))
        doubled = {top for top in {path[0] for path in paths} if _is_doubled(top, paths)}
        paths = [path[2 if path[0] in doubled else 1 :] for path in paths]
        entered = find_common_folder(paths)
        paths = [path[len(entered) :] for path in paths]
    if labels.is_read:
        names = [labels.by_file.get(file.relative, "") for file in files]
        class_names = tuple(name for name in labels.class_names if name in set(names))
    else:
        names = [path[0] if path else "" for path in paths]
        class_names = tuple(sorted(set(names) - {""}))
        if not any(splits):
            _refuse_lone_part(paths)
        if class_names and "" in names:
            deep = next(file for file, name in zip(files, names, strict=True) if name)
            _refuse_mixed(files[names.index("")], deep)
    check_class_names(class_names)
    notes += _compare_parts(names, splits)
    placed = [
        Placed(file, name, split, labels.attributes.get(file.relative, ()))
        for file, name, split in zip(files, names, splits, strict=True)
    ]
    return Layout(placed, class_names, tuple(notes))


def find_common_folder(paths: Sequence[list[str]]) -> list[str]:
    """The folders that lead to all files."""
    levels = zip(*paths, strict=False)
    return [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]


def find_splits(paths: Sequence[list[str]], *, others_are: str = "a folder a class") -> list[str]:
    """The part of each file by its top folder: `train` or `test`; "" for all if there are no parts.

    Args:
        paths: the folders of each file.
        others_are: what folders are that are no parts, for messages.

    Raises:
        DataError: if it is not clear which folders are parts.
    """
    tops = {path[0] for path in paths if path}
    trains = sorted(top for top in tops if top.lower() in TRAIN_FOLDERS)
    tests = sorted(top for top in tops if top.lower() in TEST_FOLDERS)
    others = sorted(tops - {*trains, *tests})
    if tests and not trains and len(tests) > 1 and not others:
        raise gz.DataError(
            f"it holds the parts {list_names(tests)} and no folder `train`; expected `train` beside them, or "
            f"{others_are}"
        )
    if not (trains and tests):
        _refuse_other_parts(sorted(tops))
        return [""] * len(paths)
    if len({top.lower() for top in tops}) < len(tops):
        raise gz.DataError(f"its folders {list_names(sorted(tops))} differ only in case; expected one for each part")
    if len(trains) > 1:
        raise gz.DataError(f"its folders {list_names(trains)} are both the train part; expected one of them")
    if others:
        raise gz.DataError(
            f"it holds the parts {list_names([*trains, *tests])} beside the folders {list_names(others)}; expected "
            f"only parts, or only {others_are}: move or rename the others"
        )
    return [("train" if path[0] in trains else "test") if path else "" for path in paths]


def _is_doubled(top: str, paths: Sequence[list[str]]) -> bool:
    """Whether all images of a part lie in one more folder of its name, as some archives are unpacked."""
    return all(path[1:2] and path[1].lower() == top.lower() for path in paths if path[0] == top)


def _refuse_other_parts(tops: Sequence[str]) -> None:
    """Refuse folders such as `training_set` with `test_set`, which would become classes."""
    found: dict[str, dict[bool, str]] = {}
    for top in tops:
        word = _PART_WORD.search(top.lower())
        if word:
            found.setdefault(_PART_WORD.sub("", top.lower()), {})[bool(word[1])] = top
    for pair in found.values():
        if len(pair) > 1:
            raise gz.DataError(
                f"its folders {list_names(sorted(pair.values()))} are called like parts and would be read as classes; "
                "rename them `train` and `test`"
            )


def _refuse_lone_part(paths: Sequence[list[str]]) -> None:
    """Refuse a part without its counterpart that holds folders and lies beside others: all would become classes."""
    tops = sorted({path[0] for path in paths if path})
    for top in tops:
        inner = [path[1:2] for path in paths if path[:1] == [top]]
        if top.lower() in (*TRAIN_FOLDERS, *TEST_FOLDERS) and len(tops) > 1 and all(inner):
            held, others = sorted(set(chain.from_iterable(inner))), [other for other in tops if other != top]
            raise gz.DataError(
                f"its folder {top} is called like a part, holds the folders {list_names(held)}, and lies beside "
                f"{list_names(others)}; expected `train` with `test`, or only a folder a class: rename it, or give it "
                "alone"
            )


def check_class_names(class_names: Sequence[str]) -> None:
    """Raise DataError for a name that no generator's card could hold."""
    for name in class_names:
        if any("\ud800" <= letter <= "\udfff" for letter in name):  # the bytes of another encoding, in a path
            raise gz.DataError(f"the class {name!r} has a name that is not Unicode text; rename it")
        if len(name) > gz.MAX_CLASS_NAME:
            raise gz.DataError(
                f"the class {gz.quote_name(name, 41)} has a name of {len(name):,} characters; expected at most "
                f"{gz.MAX_CLASS_NAME:,}"
            )


def _compare_parts(names: Sequence[str], splits: Sequence[str]) -> list[str]:
    """Compare the classes of the train part and of the test part; return notes.

    Raises:
        DataError: if they have none in common.
    """
    train, test = (
        {name for name, each in zip(names, splits, strict=True) if name and each == split}
        for split in ("train", "test")
    )
    if train and test and not train & test:
        raise gz.DataError(
            f"the train part has the classes {list_names(sorted(train))} and the test part "
            f"{list_names(sorted(test))}, none in common; expected the same classes in both: rename them, or "
            "give the train part's folder alone"
        )
    unknown = sorted(test - train) if train else []
    if not unknown:
        return []
    what = "1 class" if len(unknown) == 1 else f"{len(unknown):,} classes"
    return [f"the test part has {what} of which the train part has no image: {list_names(unknown)}"]


def _compare(files: Sequence[gz.ImageFile], named: Collection[str], *, skip_missing: bool) -> list[str]:
    """Compare the images that there are with those that a label file names; return notes."""
    there = {file.relative for file in files}
    missing, unnamed = sorted(set(named) - there), sorted(there - set(named))
    notes = []
    if missing:
        counted = f"{len(missing):,} of {len(named):,} images that have a label are not there: {list_names(missing)}"
        if not skip_missing:
            raise gz.DataError(f"{counted}; correct the labels, or leave them out with --set data.skip_bad=true")
        notes.append(counted)
    if unnamed:
        notes.append(f"{len(unnamed):,} of {len(there):,} images have no label and are left out: {list_names(unnamed)}")
    return notes


def _refuse_mixed(flat: gz.ImageFile, deep: gz.ImageFile) -> None:
    raise gz.DataError(
        f"it holds images both flat ({flat.title}) and in sub-folders "
        f"({deep.title}); expected one or the other: move the flat ones into a folder of their class"
    )


def list_names(names: Sequence[str]) -> str:
    listed = ", ".join(map(gz.quote_name, names[:_MAX_NAMED]))
    return listed + (f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else "")
