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
    """All three splits can be read; train and test together are all, and have the same classes."""
    sources = {split: _load_source(subject, split) for split in SPLITS}
    counts = {split: len(source.images) for split, source in sources.items()}
    if counts["train"] + counts["test"] != counts["all"]:
        raise Broken(f"train and test have {counts['train']} and {counts['test']} images, and all has {counts['all']}")
    names = {tuple(source.class_names) for source in sources.values()}
    if len(names) > 1 or len({source.labels is None for source in sources.values()}) > 1:
        raise Broken("its splits have different classes")


def card(subject: Subject) -> None:
    """Size, channels and classes match the manifest."""
    declared = subject.part.image
    if declared is None:
        return
    source = _load_source(subject, "train")
    _, height, width, channels = source.images.shape
    actual = {"height": height, "width": width, "channels": channels, "classes": len(source.class_names)}
    for name, value in actual.items():
        if declared[name] != value:
            raise Broken(f"the manifest says {name} = {declared[name]}, and the images have {value}")


def same_images(subject: Subject) -> None:
    """Reading twice gives the same images and labels."""
    first, second = (_read_source(subject, "train") for _ in range(2))
    if not np.array_equal(first.images, second.images):
        raise Broken("read twice, it gives other images; draw them from a fixed seed")
    labels = [None if source.labels is None else source.labels.tolist() for source in (first, second)]
    if labels[0] != labels[1]:
        raise Broken("read twice, it gives other labels")


def _load_source(subject: Subject, split: str) -> ImageSource:
    sources = subject.cache.setdefault("sources", {})
    if split not in sources:
        sources[split] = _read_source(subject, split)
    source: ImageSource = sources[split]
    return source


def _read_source(subject: Subject, split: str) -> ImageSource:
    part = subject.part
    if part.argument in ("required", "path") and not subject.argument:
        raise NotApplicable(f"it needs an argument; say arguments = {{{part.name!r}: …}}")
    core = {
        key.removeprefix("data."): setting.default for key, setting in CORE_SETTINGS.items() if key.startswith("data.")
    }
    try:
        source: ImageSource = call_hook(
            "dataset",
            part,
            answers.check_source,
            name=part.name,
            argument=subject.argument,
            root=building.find_data_root(None),
            split=split,
            options={**core, **read_own_options(subject, "data"), "split": split},
            modifiers={},
        )
    except DataError as error:
        raise NotApplicable(f"the images are not here: {error}") from None
    return source
