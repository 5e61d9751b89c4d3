"""Checks of datasets."""

from __future__ import annotations

import numpy as np

from ganzoo_core import building
from ganzoo_core.api import ImageSource
from ganzoo_core.discovery import answers
from ganzoo_core.discovery.loading import call_hook
from ganzoo_core.errors import DataError
from ganzoo_core.settings import CORE_SETTINGS
from ganzoo_core.testing.checks import Broken, NotApplicable
from ganzoo_core.testing.subject import Subject, read_own_options

SPLITS = ("train", "test", "all")


def images(subject: Subject) -> None:
    """All three splits can be read; train and test make up all, and have the same classes."""
    found = {split: _load_source(subject, split) for split in SPLITS}
    counts = {split: len(source.images) for split, source in found.items()}
    if counts["train"] + counts["test"] != counts["all"]:
        raise Broken(f"train and test have {counts['train']} and {counts['test']} images, and all has {counts['all']}")
    names = {tuple(source.class_names) for source in found.values()}
    if len(names) > 1 or len({source.labels is None for source in found.values()}) > 1:
        raise Broken("its splits have different classes")


def card(subject: Subject) -> None:
    """Size, channels and classes are those of the manifest."""
    said = subject.part.image
    if said is None:
        return
    source = _load_source(subject, "train")
    _, height, width, channels = source.images.shape
    found = {"height": height, "width": width, "channels": channels, "classes": len(source.class_names)}
    for name, value in found.items():
        if said[name] != value:
            raise Broken(f"the manifest says {name} = {said[name]}, and the images have {value}")


def same_images(subject: Subject) -> None:
    """A second reading is the first."""
    one, other = (_read_source(subject, "train") for _ in range(2))
    if not np.array_equal(one.images, other.images):
        raise Broken("read twice, it gives other images; draw them from a fixed seed")
    labels = [None if source.labels is None else source.labels.tolist() for source in (one, other)]
    if labels[0] != labels[1]:
        raise Broken("read twice, it gives other labels")


def _load_source(subject: Subject, split: str) -> ImageSource:
    kept = subject.cache.setdefault("sources", {})
    if split not in kept:
        kept[split] = _read_source(subject, split)
    found: ImageSource = kept[split]
    return found


def _read_source(subject: Subject, split: str) -> ImageSource:
    part = subject.part
    if part.argument in ("required", "path") and not subject.argument:
        raise NotApplicable(f"it needs an argument; say arguments = {{{part.name!r}: …}}")
    core = {
        key.removeprefix("data."): setting.default for key, setting in CORE_SETTINGS.items() if key.startswith("data.")
    }
    try:
        found: ImageSource = call_hook(
            "dataset",
            part,
            answers.check_source,
            name=part.name,
            argument=subject.argument,
            root=building.find_data_root(None),
            split=split,
            options={**core, **read_own_options(subject, "data"), "split": split},
        )
    except DataError as error:
        raise NotApplicable(f"the images are not here: {error}") from None
    return found
