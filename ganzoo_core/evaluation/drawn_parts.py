"""Draw images in parts, so that one is looked at while the next is drawn; the scores are those of all at once."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ganzoo_core.engines import DRAW_BATCH_SIZE
from ganzoo_core.processes import Child, Say

PART_IMAGES = 500  # images in a part, about: fewer wait less for the first and the last part, more for each message
ARRAYS = ("images", "labels", "targets")  # of a part, each in an .npy file
PartFiles = Mapping[str, str | None]  # the paths of `ARRAYS`; None for what there is not


def choose_part_size(batch: int) -> int:
    """Images in a part: whole batches of what draws and of what extracts, so that both compute as without parts.

    Args:
        batch: of the extractor; 0 if it does not say, so that there is one part.
    """
    if not batch:
        return sys.maxsize
    whole = math.lcm(DRAW_BATCH_SIZE, batch)
    return max(1, round(PART_IMAGES / whole)) * whole


def draw_parts(
    child: Child, request: Mapping[str, Any], folder: Path, size: int, facts: dict[str, Any], say: Say
) -> Iterator[PartFiles]:
    """Let a drawing process draw images; yield each part's files while it draws the next.

    Args:
        child: runs `drawing_worker`; it has no request to answer.
        request: to it, without a part and paths.
        folder: where the files are written; the caller removes them.
        size: images in a part.
        facts: receives those of the answers.
        say: receives progress messages.
    """
    first, count = 0, request["n"]

    def name_files(first: int) -> dict[str, str]:
        return {name: str(folder / f"{name}-{first}.npy") for name in ARRAYS}

    child.send({**request, **name_files(0), "part": [0, size]})
    while first < count:
        facts.update(child.receive(say))
        paths, count = name_files(first), facts["count"]
        first += size
        if first < count:
            child.send({**request, **name_files(first), "part": [first, first + size]})
        there = {"images": True, "labels": facts["conditional"], "targets": facts["paired"]}
        yield {name: path if there[name] else None for name, path in paths.items()}
