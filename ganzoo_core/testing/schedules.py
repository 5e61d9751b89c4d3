"""Checks of schedules."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ganzoo_core.api import Spec
from ganzoo_core.discovery import answers, loading
from ganzoo_core.frameworks import get_default_framework
from ganzoo_core.testing.checks import Broken
from ganzoo_core.testing.subject import Subject, read_own_options

TOTAL_IMAGES = 100_000  # length of the run, in images
POINTS = 64
BASE_VALUES = {"lr_g": 1e-3, "lr_d": 2e-3, "beta2": 0.99, "ema_halflife": 1000}


def pure(subject: Subject) -> None:
    """The values depend only on the images seen: another object, called in another order, gives the same."""
    points = [int(point) for point in np.linspace(0, TOTAL_IMAGES, POINTS)]
    first, second = _make_schedule(subject), _make_schedule(subject)
    forward = {point: dict(first(point)) for point in points}
    for schedule in (first, second):
        for point in reversed(points):
            if dict(schedule(point)) != forward[point]:
                raise Broken(f"at {point:,} images it says {dict(schedule(point))}, and said {forward[point]} before")


def values(subject: Subject) -> None:
    """Values are usable and keep the same names, up to the end of the run and beyond it."""
    schedule = _make_schedule(subject)
    names = set(schedule(0))
    resolution = 0.0
    for point in (int(point) for point in np.linspace(0, 2 * TOTAL_IMAGES, 2 * POINTS)):
        values_now = schedule(point)
        if set(values_now) != names:
            raise Broken(f"at {point:,} images it names {sorted(values_now)}, and {sorted(names)} at the start")
        for name, value in values_now.items():
            if not math.isfinite(value) or (name in ("lr_g", "lr_d", "ema_halflife") and value < 0):
                raise Broken(f"{name} is {value} at {point:,} images")
        if "resolution" in values_now:
            if values_now["resolution"] < resolution or not math.log2(values_now["resolution"]).is_integer():
                raise Broken(f"resolution is {values_now['resolution']} at {point:,} images, after {resolution}")
            resolution = values_now["resolution"]


def gives(subject: Subject) -> None:
    """`gives` in the manifest names each value that wins over a setting: one that is the same whatever the setting."""
    points = [int(point) for point in np.linspace(0, TOTAL_IMAGES, POINTS)]
    first, second = _make_schedule(subject), _make_schedule(subject, factor=0.5)
    for name in BASE_VALUES.keys() & dict(first(0)).keys() - subject.part.gives.keys():
        if all(first(point)[name] == second(point)[name] for point in points):
            raise Broken(
                f"{name} is the same whatever the setting, options[{name!r}], says; write `gives.{name} = true` in its "
                "table, so that ganzoo can say which of the two wins"
            )


def _make_schedule(subject: Subject, *, factor: float = 1) -> Any:
    part = subject.part
    spec = Spec(height=32, width=32, channels=1, classes=0, latent_dim=16, framework=get_default_framework().name)
    base = {name: value * factor for name, value in BASE_VALUES.items()}
    options = {**base, **read_own_options(subject, "schedule")}
    arguments: dict[str, Any] = {
        "name": part.name,
        "spec": spec,
        "total_images": TOTAL_IMAGES,
        "options": options,
        "modifiers": {},
    }
    return loading.call_hook("schedule", part, answers.check_schedule, **arguments)
