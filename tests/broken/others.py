"""A modifier, schedules, datasets and trackers, each broken in one way; the name is the check that must catch it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping

import numpy as np

import ganzoo_core as gz


@gz.hookimpl
def schedule(name: str, options: gz.Options) -> Callable[[int], Mapping[str, float]]:
    calls = itertools.count()

    def values(images: int) -> Mapping[str, float]:
        if name == "pure":
            return {"lr_g": options["lr_g"] / (1 + next(calls))}
        if name == "gives":
            return {"lr_g": 1e-3}
        return {"lr_g": options["lr_g"] * (1 - images / 150_000)}  # below zero behind the end

    return values


@gz.hookimpl
def dataset(name: str, split: str) -> gz.ImageSource:
    count = {"train": 16, "test": 4, "all": 20}[split]
    if name == "images" and split == "all":
        count = 16
    pixels = np.zeros((count, 8, 8, 1), np.uint8)
    if name == "same-images":
        # One number for all pixels would be the same twice in one of 256 tests.
        pixels = np.frombuffer(os.urandom(pixels.size), np.uint8).reshape(pixels.shape)
    return gz.ImageSource(pixels, np.zeros(count, np.int64), ["one"])


@gz.hookimpl
def on_run_start(name: str, run: gz.TrackedRun) -> None:
    if name == "own-folder":
        (run.folder / "mine.txt").write_text("here I am")


@gz.hookimpl
def on_report(name: str) -> None:
    if name == "watches":
        raise ConnectionError("nobody listens")
