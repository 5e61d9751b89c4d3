"""Checks of parts that are in no framework: schedules, datasets, trackers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core import building, loader
from ganzoo_core import images as pictures
from ganzoo_core.api import DataError, ImageSource, Spec
from ganzoo_core.console import Reporter
from ganzoo_core.mix import Mix
from ganzoo_core.settings import CORE, Settings, Value
from ganzoo_core.testing.checks import Broken, NotApplicable
from ganzoo_core.testing.subject import Subject
from ganzoo_core.trackers import Trackers

TOTAL = 100_000  # images of a schedule's run
POINTS = 64
BASE = {"lr_g": 1e-3, "lr_d": 2e-3, "beta2": 0.99, "ema_halflife": 1000}
SPLITS = ("train", "test", "all")


def pure(subject: Subject) -> None:
    """Asked again, in another order and of another object, it says the same."""
    points = [int(point) for point in np.linspace(0, TOTAL, POINTS)]
    first, second = _schedule(subject), _schedule(subject)
    forward = {point: dict(first(point)) for point in points}
    for schedule in (first, second):
        for point in reversed(points):
            if dict(schedule(point)) != forward[point]:
                raise Broken(f"at {point:,} images it says {dict(schedule(point))}, and said {forward[point]} before")


def values(subject: Subject) -> None:
    """Numbers that can be used, of the same names all along, before the end and after it."""
    schedule = _schedule(subject)
    names = set(schedule(0))
    resolution = 0.0
    for point in (int(point) for point in np.linspace(0, 2 * TOTAL, 2 * POINTS)):
        found = schedule(point)
        if set(found) != names:
            raise Broken(f"at {point:,} images it names {sorted(found)}, and {sorted(names)} at the start")
        for name, value in found.items():
            if not math.isfinite(value) or (name in ("lr_g", "lr_d", "ema_halflife") and value < 0):
                raise Broken(f"{name} is {value} at {point:,} images")
        if "resolution" in found:
            if found["resolution"] < resolution or not math.log2(found["resolution"]).is_integer():
                raise Broken(f"resolution is {found['resolution']} at {point:,} images, after {resolution}")
            resolution = found["resolution"]


def _schedule(subject: Subject) -> Any:
    part = subject.part
    spec = Spec(height=32, width=32, channels=1, classes=0, latent_dim=16, framework="torch")
    options = {**BASE, **_own(subject, "schedule")}
    mix = Mix({"schedule": part}, (), Settings({}), "", "")
    asked = {"name": part.name, "spec": spec, "total_images": TOTAL, "options": options, "modifiers": {}}
    return loader.call(mix, "schedule", loader.check_schedule, **asked)


def _own(subject: Subject, namespace: str) -> dict[str, Any]:
    """The part's own settings, with the author's over them."""
    prefix = f"{namespace}."
    found = {key[len(prefix) :]: value for key, value in subject.part.defaults.items() if key.startswith(prefix)}
    given = {key[len(prefix) :]: value for key, value in subject.settings.items() if key.startswith(prefix)}
    return {**found, **{key: value for key, value in given.items() if key in found}}


def images(subject: Subject) -> None:
    """All three splits can be read; train and test make up all, and have the same classes."""
    found = {split: _source(subject, split) for split in SPLITS}
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
    source = _source(subject, "train")
    _, height, width, channels = source.images.shape
    found = {"height": height, "width": width, "channels": channels, "classes": len(source.class_names)}
    for name, value in found.items():
        if said[name] != value:
            raise Broken(f"the manifest says {name} = {said[name]}, and the images have {value}")


def same_images(subject: Subject) -> None:
    """A second reading is the first."""
    one, other = (_read(subject, "train") for _ in range(2))
    if not np.array_equal(one.images, other.images):
        raise Broken("read twice, it gives other images; draw them from a fixed seed")
    labels = [None if source.labels is None else source.labels.tolist() for source in (one, other)]
    if labels[0] != labels[1]:
        raise Broken("read twice, it gives other labels")


def _source(subject: Subject, split: str) -> ImageSource:
    kept = subject.kept.setdefault("sources", {})
    if split not in kept:
        kept[split] = _read(subject, split)
    found: ImageSource = kept[split]
    return found


def _read(subject: Subject, split: str) -> ImageSource:
    part = subject.part
    if part.argument in ("required", "path") and not subject.argument:
        raise NotApplicable(f"it needs an argument; say arguments = {{{part.name!r}: …}}")
    core = {key: setting.default for key, setting in CORE.items() if key.startswith("data.")}
    own = {f"data.{key}": value for key, value in _own(subject, "data").items()}
    entries = {key: Value(value, "contract") for key, value in {**core, **own, "data.split": split}.items()}
    try:
        return building.load_data(Mix({"data": part}, (), Settings(entries), subject.argument, ""))
    except DataError as error:
        raise NotApplicable(f"the images are not here: {error}") from None


def watches(subject: Subject) -> None:
    """Every hook is called as a run does, and none fails."""
    failures = _watched(subject)["failures"]
    if failures:
        raise Broken(failures[0])


def own_folder(subject: Subject) -> None:
    """Files appear below `run.own` alone."""
    seen = _watched(subject)
    strange = sorted(seen["after"] - seen["before"] - seen["own"])
    if strange:
        raise Broken(f"it wrote {strange[0]}; files of its own belong into run.own")


class _Ears(Reporter):
    """Keeps what a run would tell of its trackers."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.heard: list[str] = []

    def warn(self, text: str) -> None:
        self.heard.append(text)


def _watched(subject: Subject) -> dict[str, Any]:
    """A made-up run of two reports, told to the tracker."""
    if "watched" in subject.kept:
        found: dict[str, Any] = subject.kept["watched"]
        return found
    part, run, reporter = subject.part, subject.folder / "run", _Ears()
    grid, saved = run / "samples" / "64.png", run / "checkpoints" / "64"
    for folder in (grid.parent, saved):
        folder.mkdir(parents=True)
    grid.write_bytes(pictures.png_bytes(pictures.grid(np.zeros((4, 8, 8, 1), np.uint8))))
    before = set(_files(run)) | set(_files(Path.cwd()))
    trackers = Trackers(
        [part],
        options={part.name: _own(subject, f"track.{part.name}")},
        folder=run,
        settings={"train.lr": 1e-3, "use.model": "a-model", "train.betas": [0.5, 0.999]},
        facts={"ganzoo": "0", "parts": {"generator": "a-model 1.0"}, "notes": []},
        reporter=reporter,
    )
    trackers.start(0)
    for step in (1, 2):
        line: Mapping[str, Any] = {
            "images": 32 * step, "step": step, "epoch": 0, "seconds": 0.1 * step, "images_per_second": 320.0,
            "discriminator/adversarial": 1.4 - 0.1 * step, "generator/adversarial": 0.7, "lr_g": 1e-3,
        }  # fmt: skip
        trackers.tell("on_report", line=line)
    trackers.tell("on_samples", images=64, path=grid)
    trackers.tell("on_checkpoint", images=64, path=saved)
    trackers.tell("on_run_end", status="done")
    own = set(_files(run / "trackers" / part.name))
    after = set(_files(run)) | set(_files(Path.cwd()))
    subject.kept["watched"] = {"failures": reporter.heard, "before": before, "after": after, "own": own}
    return _watched(subject)


def _files(folder: Path) -> Iterator[str]:
    return (str(path) for path in folder.rglob("*") if path.is_file())
