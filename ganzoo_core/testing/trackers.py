"""Checks of trackers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.data import picture_files, pixels
from ganzoo_core.runs import layout
from ganzoo_core.terminal.progress import Reporter
from ganzoo_core.testing.checks import Broken
from ganzoo_core.testing.subject import Subject, read_own_options
from ganzoo_core.training.trackers import Trackers


def watches(subject: Subject) -> None:
    """Every hook is called as in a run, and none fails."""
    failures = _simulate_run(subject)["failures"]
    if failures:
        raise Broken(failures[0])


def own_folder(subject: Subject) -> None:
    """The tracker writes only below `run.own`."""
    seen = _simulate_run(subject)
    strange = sorted(seen["after"] - seen["before"] - seen["own"])
    if strange:
        raise Broken(f"it wrote {strange[0]}; files of its own belong into run.own")


class _RecordingReporter(Reporter):
    """Records the warnings about trackers."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def _simulate_run(subject: Subject) -> dict[str, Any]:
    """Call the tracker's hooks for a simulated run with two reports; cached."""
    if "watched" in subject.cache:
        result: dict[str, Any] = subject.cache["watched"]
        return result
    part, run, reporter = subject.part, subject.folder / "run", _RecordingReporter()
    grid, saved = run / layout.SAMPLES / layout.grid_at(64), run / layout.CHECKPOINTS / layout.saved_at(64)
    for folder in (grid.parent, saved):
        folder.mkdir(parents=True)
    grid.write_bytes(picture_files.encode_png(pixels.grid(np.zeros((4, 8, 8, 1), np.uint8))))
    before = set(_list_files(run)) | set(_list_files(Path.cwd()))
    trackers = Trackers(
        [part],
        options={part.name: read_own_options(subject, f"track.{part.name}")},
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
        trackers.notify("on_report", line=line)
    trackers.notify("on_samples", images=64, path=grid)
    trackers.notify("on_checkpoint", images=64, path=saved)
    trackers.notify("on_run_end", status="done")
    own_files = set(_list_files(run / layout.TRACKERS / part.name))
    after = set(_list_files(run)) | set(_list_files(Path.cwd()))
    subject.cache["watched"] = {"failures": reporter.warnings, "before": before, "after": after, "own": own_files}
    return _simulate_run(subject)


def _list_files(folder: Path) -> Iterator[str]:
    return (str(path) for path in folder.rglob("*") if path.is_file())
