"""`--data shards:PATH`: tar shards as webdataset writes them, read where they lie, for sets that no memory holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets.content_split import digests_to_keys
from ganzoo_datasets.folder_layout import TEST_FOLDERS, TRAIN_FOLDERS, check_class_names, list_names
from ganzoo_datasets.paths import resolve_path
from ganzoo_datasets.shard_files import Shard, ShardFiles, find_shards, index_shards, measure_unindexed

NAMES_FILE = "class_names.txt"
MAX_NAMES_BYTES = 100_000_000
MAX_DESCRIBED_BYTES = 2**30  # of shards that are indexed to describe them, as `--dry-run` asks


@gz.hookimpl
def dataset(name: str, argument: str, split: str, options: gz.Options) -> gz.ImageSource:
    """Images [size,size,C] that stay encoded in their shards; C is `channels`, else 1 if all are grey and 3 otherwise.

    The parts are those of `find_parts`; without, some images are held out by their content.

    Raises:
        DataError: if a shard or a picture cannot be used.
        UsageError: if an option is invalid.
    """
    path = resolve_path(name, argument)
    return split_shards(find_shards(path), split, options, name=str(path))


@gz.hookimpl
def describe_dataset(name: str, argument: str, split: str, options: gz.Options) -> Mapping[str, Any]:
    """By the shards' index, which is made for it if that is quick; raises as `dataset` does."""
    path = resolve_path(name, argument)
    return describe_shards(find_shards(path), split, options, name=str(path))


def split_shards(shards: Sequence[Shard], split: str, options: gz.Options, **known: Any) -> gz.ImageSource:
    """The source of one part; see `open_shards`."""
    source, official = open_shards(shards, split, options, **known)
    return source if official else gz.hold_out(source, split, options)


def describe_shards(shards: Sequence[Shard], split: str, options: gz.Options, **known: Any) -> dict[str, int]:
    """What `describe_dataset` says of one part; nothing where that takes long. See `open_shards`."""
    index = {"field": options.get("label", ""), "decode": bool(options.get("skip_bad"))}
    if measure_unindexed(shards, **index) > MAX_DESCRIBED_BYTES:
        if measure_unindexed(shards[:1], **index) <= MAX_DESCRIBED_BYTES:
            index_shards(shards[:1], **index)  # which says what is wrong with it
        return {}
    source, _ = open_shards(shards, split, options, **known)
    count, height, width, channels = source.images.shape
    classes = len(source.class_names)
    return {"height": height, "width": width, "channels": channels, "classes": classes, "images": count}


def open_shards(
    shards: Sequence[Shard],
    split: str,
    options: gz.Options,
    *,
    name: str,
    class_names: tuple[str, ...] | None = None,
    notes: Sequence[str] = (),
) -> tuple[gz.ImageSource, bool]:
    """The images of one part, not decoded, and whether the set has parts.

    Args:
        shards: all of the set.
        split: `train`, `test` or `all`.
        options: of the dataset.
        name: of the set, for messages.
        class_names: of the classes that are numbers, empty if they have none; None for those of `read_names`.
        notes: for the user, which go before others.
    """
    title = gz.quote_name(name)
    skip_bad = bool(options.get("skip_bad"))
    indexes = index_shards(shards, field=options.get("label", ""), decode=skip_bad)
    files = ShardFiles(shards, indexes, skip_bad=skip_bad, name=title)
    part_of = np.array(find_parts(shards))[files.shard_of]
    official = bool((part_of != "").any())
    texts = [label for index in indexes for label in index.labels]
    known = read_names(shards) if class_names is None else class_names or None
    labels, names, labelled = number_classes(texts, files, known, skip_bad=skip_bad, name=title)
    chosen = labelled if split == "all" or not official else labelled & (part_of == split)
    rows = np.flatnonzero(chosen)
    if not len(rows):
        raise gz.DataError(f"{title} holds no picture of the part {split}")
    opened = gz.open_encoded(files, files.facts, options, rows=rows, name=name)
    found = [*notes, *files.notes, *opened.notes]
    if unlabelled := int((~labelled).sum()):
        found.append(f"left out, since they have no class: {unlabelled:,} pictures")
    keys = None
    if not official:
        digests = np.ascontiguousarray(files.facts["digest"][rows]).view(">u8").astype(np.uint64)
        keys = digests_to_keys(digests)
        if options.get("holdout", True):
            found.append("nearly equal images are not looked for in shards: edited copies may be in the test part")
    source = gz.ImageSource(
        images=opened.images,
        labels=None if labels is None else labels[rows],
        class_names=names,
        notes=tuple(found),
        sizes=opened.sizes,
        skipped=files.bad,
        split_keys=keys,
        digests=opened.digests,
        held_out=int(labelled.sum()) - len(rows) if official else None,
    )
    return source, official


def find_parts(shards: Sequence[Shard]) -> list[str]:
    """The part of each shard, `train` or `test`, by a word in its path, such as `imagenet-val-000000.tar`.

    Returns:
        "" for all if there are not both parts.

    Raises:
        DataError: if there are, and a shard belongs to neither.
    """
    parts = []
    for shard in shards:
        words = set(re.split(r"[^a-z]+", shard.relative.lower()))
        is_train, is_test = (not words.isdisjoint(names) for names in (TRAIN_FOLDERS, TEST_FOLDERS))
        if is_train and is_test:
            raise gz.DataError(f"{shard.title} is named like both parts, train and test; rename it")
        parts.append("train" if is_train else "test" if is_test else "")
    if not {"train", "test"} <= set(parts):
        return [""] * len(shards)
    others = [shard.relative for shard, part in zip(shards, parts, strict=True) if not part]
    if others:
        raise gz.DataError(
            f"there are shards of the parts train and test, and others: {list_names(others)}; expected `train` or "
            "`test` in the name of each: rename them, or move them away"
        )
    return parts


def read_names(shards: Sequence[Shard]) -> tuple[str, ...] | None:
    """The class names in `class_names.txt` beside the first shard, or above it in the folder that was named."""
    depth = len(PurePosixPath(shards[0].relative).parts)
    for folder in list(shards[0].path.parents)[:depth]:
        path = folder / NAMES_FILE
        if not path.is_file():
            continue
        try:
            if path.stat().st_size > MAX_NAMES_BYTES:
                raise ValueError(f"it takes more than {MAX_NAMES_BYTES:,} bytes")
            return tuple(path.read_text(encoding="utf-8").splitlines())
        except (OSError, ValueError) as error:
            raise gz.DataError(f"{path} cannot be read: {error}; expected a name a line, in UTF-8") from None
    return None


def number_classes(
    texts: Sequence[str | None], files: ShardFiles, names: tuple[str, ...] | None, *, skip_bad: bool, name: str
) -> tuple[np.ndarray | None, tuple[str, ...], np.ndarray]:
    """Number the classes.

    If all are numbers, they are indices into `names` if there are any, else classes of their own, sorted as numbers.
    Texts are the names of classes, sorted; without `names`, numbers beside them are names too.

    Returns:
        Labels int64 [N] or None, the class names, and bool [N], the pictures that are used.

    Raises:
        DataError: if some have a class and others none, and `skip_bad` is off; if a number has no name, or there are
            `names`, and numbers beside texts.
    """
    labelled = np.array([text is not None for text in texts])
    if not labelled.any():
        return None, (), np.ones(len(texts), bool)
    if not labelled.all() and not skip_bad:
        first = files[int(np.argmin(labelled))].title
        raise gz.DataError(
            f"{name}: {int((~labelled).sum()):,} of {len(texts):,} pictures have no class, such as {first}; give each "
            "one, or leave them out with --set data.skip_bad=true"
        )
    written = sorted({text for text in texts if text is not None})
    place: dict[str, int] = {text: int(text) for text in written if re.fullmatch(r"-?[0-9]{1,18}", text)}
    if names is not None and 0 < len(place) < len(written):
        number, text = next(iter(place)), next(text for text in written if text not in place)
        raise gz.DataError(
            f"{name}: {files[texts.index(number)].title} has the class {number} and {files[texts.index(text)].title} "
            f"the class {gz.quote_name(text)}; expected numbers alone, since there are {len(names):,} class names: "
            f"correct the second, or move {NAMES_FILE} away"
        )
    if len(place) < len(written):
        names, place = tuple(written), {text: index for index, text in enumerate(written)}
    elif names is None:
        values = {number: index for index, number in enumerate(sorted(set(place.values())))}
        names, place = tuple(map(str, values)), {text: values[number] for text, number in place.items()}
    wrong = next((text for text, index in place.items() if not 0 <= index < len(names)), None)
    if wrong is not None:
        raise gz.DataError(
            f"{name}: {files[texts.index(wrong)].title} has the class {wrong}; expected 0 to {len(names) - 1}, since "
            f"there are {len(names):,} class names"
        )
    check_class_names(names)
    labels = np.array([0 if text is None else place[text] for text in texts], np.int64)
    return labels, names, labelled
