"""What the compared runs draw: from equal noise, or from the same pictures; or the last grids that they left."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganzoo_core.data import picture_files, pixels, side_by_side
from ganzoo_core.errors import GanzooError
from ganzoo_core.html import markup
from ganzoo_core.messages import pluralise
from ganzoo_core.processes import Child, Say
from ganzoo_core.report import pictures
from ganzoo_core.report.run_groups import Comparison, RunGroup
from ganzoo_core.runs import generators, layout
from ganzoo_core.runs.folder import read_card

IMAGES_PER_ROW = 16  # images drawn per row


@dataclass(frozen=True)
class SampleSheet:
    """Images drawn by a row's first run, with a caption, or the reason why there are none."""

    uri: str = ""
    caption: str = ""
    reason: str = ""


def find_last_grid(group: RunGroup) -> SampleSheet:
    """The last sample grid of a group's first run."""
    run = group.runs[0]
    grids = pictures.find_grids(run.folder / layout.SAMPLES)
    chosen = pictures.choose_pictures(grids[-1:], max_bytes=pictures.MAX_PAGE_BYTES // 20)
    if not chosen.uris:
        return SampleSheet(reason="This run left no grid.")
    return SampleSheet(chosen.uris[0], f"{run.folder.name}, {pluralise(grids[-1].images, 'image')}")


def draw_sheets(
    comparison: Comparison, *, seed: int, device: str, say: Say, settings: Mapping[str, Any] | None = None
) -> list[SampleSheet]:
    """Draw from the first run of each group with the same noise, in one child process per framework.

    Args:
        comparison: the groups.
        seed: of the noise.
        device: as `engine.device`.
        say: receives progress messages.
        settings: of `engine.*`.

    Returns:
        A sheet for each group, with the reason if it cannot be drawn.
    """
    sheets: dict[int, SampleSheet] = {}
    by_framework: dict[str, list[tuple[int, Path, RunGroup]]] = {}
    for index, group in enumerate(comparison.groups):
        try:
            folder = generators.find_generator(group.runs[0].folder)
            framework = read_card(folder).spec.framework
        except GanzooError as error:
            sheets[index] = SampleSheet(reason=f"Nothing can be drawn: {error}.")
        else:
            by_framework.setdefault(framework, []).append((index, folder, group))
    request = {"n": IMAGES_PER_ROW, "seed": seed, "device": device, "settings": dict(settings or {})}
    for entries in by_framework.values():
        with (
            Child("ganzoo_core.evaluation.drawing_worker", "draws the images") as child,
            tempfile.TemporaryDirectory() as box,
        ):
            for index, folder, group in entries:
                sheets[index] = _draw_sheet(child, folder, group, Path(box), request, say)
    return [sheets[index] for index in range(len(comparison.groups))]


def _draw_sheet(
    child: Child, folder: Path, group: RunGroup, box: Path, request: Mapping[str, Any], say: Say
) -> SampleSheet:
    paths = {"images": str(box / "images.npy"), "labels": str(box / "labels.npy"), "columns": str(box / "columns.npz")}
    Path(paths["columns"]).unlink(missing_ok=True)  # of the run before
    try:
        facts = child.ask({**request, **paths, "generator": str(folder.resolve())}, say)
        sheet = _make_sheet(np.load(paths["images"], allow_pickle=False), Path(paths["columns"]))
    except (GanzooError, OSError, ValueError) as error:
        return SampleSheet(reason=f"Nothing can be drawn: {error}.")
    source = ", drawn from the test part" if Path(paths["columns"]).exists() else ""
    return SampleSheet(
        markup.make_data_uri(picture_files.encode_png(sheet)),
        f"{group.runs[0].folder.name}, {pluralise(facts['images'], 'image')}{source}",
    )


def _make_sheet(drawn: np.ndarray, columns: Path) -> Image.Image:
    """A grid of images, or rows of what they were drawn from, what was drawn, and the target."""
    if not columns.exists():
        return pixels.enlarge(pixels.grid(drawn), least=320)
    with np.load(columns, allow_pickle=False) as arrays:
        return side_by_side.make_sheet(dict(arrays))
