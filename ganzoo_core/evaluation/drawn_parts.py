"""Draw images in parts, so that one can be looked at while the next is drawn; the scores are those of all at once."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ganzoo_core.data.cores import count_available_cores
from ganzoo_core.distributed.ranks import Rank
from ganzoo_core.engines import DRAW_BATCH_SIZE
from ganzoo_core.processes import Child, Say

LEAST_CORES = 4  # on two, `benchmarks/scoring.py` found drawing ahead slower than taking turns
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


def is_drawn_ahead() -> bool:
    """Whether a part is drawn while the one before is looked at: both take all cores, and few are not worth sharing."""
    return count_available_cores() >= LEAST_CORES


def name_files(folder: Path, first: int) -> dict[str, str]:
    """The paths of the part in a folder that begins with image `first`."""
    return {name: str(folder / f"{name}-{first}.npy") for name in ARRAYS}


def select_files(paths: Mapping[str, str], *, conditional: bool, paired: bool) -> PartFiles:
    """Those of a part's files that there are, as the drawing process says."""
    there = {"images": True, "labels": conditional, "targets": paired}
    return {name: path if there[name] else None for name, path in paths.items()}


def draw_parts(
    child: Child,
    request: Mapping[str, Any],
    folder: Path,
    size: int,
    facts: dict[str, Any],
    say: Say,
    rank: Rank = Rank(),  # noqa: B008  (frozen)
) -> Iterator[PartFiles]:
    """Let a drawing process draw images; yield each part's files, while it draws the next if cores are left for that.

    Args:
        child: runs `drawing_worker`; it has no request to answer.
        request: to it, without a part and paths.
        folder: where the files are written; the caller removes them.
        size: images in a part.
        facts: receives those of the answers.
        say: receives progress messages.
        rank: of this process, which draws every so many parts only, from that of its number on.
    """
    first, step, count = size * rank.number, size * rank.world_size, request["n"]

    def ask() -> None:
        child.send({**request, **name_files(folder, first), "part": [first, first + size]})

    if first < count:
        ask()
    while first < count:
        facts.update(child.receive(say))
        paths, count = name_files(folder, first), facts["count"]
        if first >= count:
            return
        first += step
        if first < count and is_drawn_ahead():
            ask()
        yield select_files(paths, conditional=facts["conditional"], paired=facts["paired"])
        if first < count and not is_drawn_ahead():
            ask()
