"""The name of every file and folder in a run's folder; `folder.py` says what each is for.

Two formats that are used outside of runs as well keep their own: `storage.atomic.MANIFEST`, in each folder that is
written whole, and `data.fingerprint.ABOUT` and `DIGESTS`, in `DATA`.
"""

from __future__ import annotations

import re

# Files of the run.
CONFIG, STATS, SCORES = "config.yaml", "stats.jsonl", "scores.jsonl"
REPORT, CURVES = "report.html", "curves.png"
LOCK, SCORES_LOCK = ".lock", f".{SCORES}.lock"

# Folders.
DATA = "data"  # the fingerprint of what the run learns from
CHECKPOINTS, SNAPSHOTS, GENERATOR = "checkpoints", "snapshots", "generator"
SAMPLES, TRACKERS = "samples", "trackers"
REPORT_FOLDER = "report"  # what a report shows and takes long to compute
FOLDERS = (DATA, CHECKPOINTS, SNAPSHOTS, SAMPLES, GENERATOR, TRACKERS, REPORT_FOLDER)

# Files in them.
WEIGHTS, CARD = "generator.safetensors", "generator.json"  # of a saved generator
STATE, POSITION = "state.safetensors", "position.json"  # of a checkpoint
REAL_GRID, LATEST_GRID = "real.png", "latest.png"  # in `SAMPLES`
MEASURED = "measured.json"  # in `REPORT_FOLDER`: what took the networks or the data

# In front of what is set aside.
BEFORE_RESTART_PREFIX = "before-restart-"  # the generators of a run that was begun again
DAMAGED_PREFIX = "damaged-"  # a checkpoint

_GRID = re.compile(r"(0|[1-9][0-9]{0,14})\.png")
_WORDS = (GENERATOR, DATA, CONFIG, STATS, SCORES, REPORT, CURVES, REAL_GRID, LATEST_GRID)
WRITTEN = re.compile(rf"[0-9]{{1,18}}(\.png)?|{'|'.join(map(re.escape, _WORDS))}")
"""What a run writes under another name first, which a crash may leave behind."""


def saved_at(images: int) -> str:
    """The folder of the checkpoint, or of the snapshot, at a number of images."""
    return str(images)


def grid_at(images: int) -> str:
    """The file of the sample grid at a number of images."""
    return f"{images}.png"


def drawing_of(seed: int) -> str:
    """What `ganzoo generate` draws into a run's folder, where it is told no other place."""
    return f"samples-{seed}.png"


def walk_of(seed: int) -> str:
    """The same of `ganzoo generate --walk`."""
    return f"walk-{seed}.gif"


def images_of_grid(name: str) -> int | None:
    """The images seen when a sample grid was drawn, by its file's name; None for a file of another kind."""
    match = _GRID.fullmatch(name)
    return int(match[1]) if match else None
