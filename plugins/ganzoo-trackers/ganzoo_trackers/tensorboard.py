"""The hooks of the tracker `tensorboard`: numbers by images seen, sample grids, and settings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ganzoo_core as gz
from ganzoo_trackers import history

RUN_COLUMNS = ("step", "epoch", "seconds", "images_per_second")
HPARAM_TABLES = ("use", "loss", "schedule", "with", "model", "generator", "discriminator", "train", "data")


@gz.hookimpl
def on_run_start(run: gz.TrackedRun) -> None:
    """Open a new event file; for a resumed run, discard records after its checkpoint."""
    from ganzoo_trackers.event_file import EventFile

    file = run.memory["file"] = EventFile(run.own)
    last_images = 0
    if run.images and not file.is_first:
        last_images = max((line["images"] for line in history.read_reports(run)), default=0)
        # A run that was killed, or interrupted during a report, has written records after its checkpoint.
        file.discard_from(last_images + 1)
    for images, what in history.list_events(run, after=last_images):
        if isinstance(what, Path):
            on_samples(run, images, what)
        else:
            on_report(run, what)
    file.add_text("settings", _format_table(run.settings), run.images)
    file.add_text("facts", _format_table(run.facts), run.images)


@gz.hookimpl
def on_report(run: gz.TrackedRun, line: Mapping[str, Any]) -> None:
    file = run.memory["file"]
    if file.is_first and "compared" not in run.memory:
        # Not earlier, since the names of the loss's terms are known only now.
        run.memory["compared"] = True
        file.add_hyperparameters(_select_hyperparameters(run.settings), [name for name in line if "/" in name])
    scalars = {_make_tag(name): value for name, value in line.items() if name != "images" and _is_number(value)}
    file.add_scalars(scalars, line["images"])


@gz.hookimpl
def on_samples(run: gz.TrackedRun, images: int, path: Path) -> None:
    run.memory["file"].add_png("samples", path.read_bytes(), images)


@gz.hookimpl
def on_run_end(run: gz.TrackedRun, status: str) -> None:
    file = run.memory.pop("file")
    if status != "interrupted":  # an interrupted run may be resumed
        file.write_run_end(success=status == "done")
    file.close()


def _make_tag(name: str) -> str:
    """Name a tag; TensorBoard groups tags by the part before the slash."""
    return name if "/" in name else f"{'run' if name in RUN_COLUMNS else 'schedule'}/{name}"


def _select_hyperparameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that affect a run's result, the picks first, since TensorBoard shows only the first few."""
    plain = {name: value for name, value in settings.items() if isinstance(value, str | bool | int | float)}
    return {name: plain[name] for table in HPARAM_TABLES for name in sorted(plain) if name.split(".")[0] == table}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _format_table(values: Mapping[str, Any]) -> str:
    """Format names and values as a Markdown table."""
    cells = {name: json.dumps(value, ensure_ascii=False, default=str) for name, value in sorted(values.items())}
    rows = [f"| {name} | {cell.replace('|', '&#124;')} |" for name, cell in cells.items() if cell != "null"]
    return "\n".join(["| | |", "|---|---|", *rows])
