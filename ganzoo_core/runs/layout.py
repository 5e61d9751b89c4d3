"""The names of all files and folders in a run's folder; `folder.py` describes each.

Two formats also used outside of runs define their own names: `storage.atomic.MANIFEST`, in each folder that is written
atomically, and `data.fingerprint.RECORD_FILE` and `DIGESTS_FILE`, in `DATA`.
"""

from __future__ import annotations

import re

# Files of the run.
CONFIG, STATS, SCORES = "config.yaml", "stats.jsonl", "scores.jsonl"
REPORT, CURVES = "report.html", "curves.svg"
LOCK, SCORES_LOCK = ".lock", f".{SCORES}.lock"
RANKS = ".ranks"  # what the ranks of `evaluate` pass to each other, while it runs

# Folders.
DATA = "data"  # the fingerprint of the training data
CHECKPOINTS, SNAPSHOTS, GENERATOR = "checkpoints", "snapshots", "generator"
SAMPLES, TRACKERS = "samples", "trackers"
REPORT_FOLDER = "report"  # cached report data that is slow to compute
FOLDERS = (DATA, CHECKPOINTS, SNAPSHOTS, SAMPLES, GENERATOR, TRACKERS, REPORT_FOLDER)

# Files in them.
WEIGHTS, CARD = "generator.safetensors", "generator.json"  # of a saved generator
STATE, POSITION = "state.safetensors", "position.json"  # of a checkpoint
REAL_GRID, LATEST_GRID = "real.png", "latest.png"  # in `SAMPLES`
MEASURED = "measured.json"  # in `REPORT_FOLDER`: report data that needs the generator or the training set

# Prefixes of files and folders that were set aside.
BEFORE_RESTART_PREFIX = "before-restart-"  # generators of a run before its restart
DAMAGED_PREFIX = "damaged-"  # damaged checkpoints

_GRID = re.compile(r"(0|[1-9][0-9]{0,14})\.png")
_WORDS = (GENERATOR, DATA, CONFIG, STATS, SCORES, REPORT, CURVES, REAL_GRID, LATEST_GRID)
WRITTEN = re.compile(rf"[0-9]{{1,18}}(\.png)?|{'|'.join(map(re.escape, _WORDS))}")
"""Files and folders that a run writes under a temporary name first, which a crash may leave behind."""


def saved_at(images: int) -> str:
    """The folder name of the checkpoint or snapshot at a number of images."""
    return str(images)


def grid_at(images: int) -> str:
    """The file name of the sample grid at a number of images."""
    return f"{images}.png"


def drawing_of(seed: int) -> str:
    """The default file name of `ganzoo generate` in a run's folder."""
    return f"samples-{seed}.png"


def walk_of(seed: int) -> str:
    """The default file name of `ganzoo generate --walk` in a run's folder."""
    return f"walk-{seed}.gif"


def images_of_grid(name: str) -> int | None:
    """Images seen when a sample grid was drawn, from its file name; None if the name is not a sample grid's."""
    match = _GRID.fullmatch(name)
    return int(match[1]) if match else None
