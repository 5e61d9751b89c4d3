"""One length in images for equally fast runs of a sweep whose length is in minutes.

If each run measured its own speed, noise would give them different lengths and they could not be compared. So the first
run measures, and the others get its length in images.

SWEEP/lengths.json   the measured lengths, for runs that start later
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ganzoo_core.errors import GanzooError
from ganzoo_core.runs import layout
from ganzoo_core.settings import Settings, find_matches, read_run_config
from ganzoo_core.settings.lengths import parse_minutes
from ganzoo_core.storage import atomic, decoding, files, records
from ganzoo_core.storage.records import MeasuredLength, SweepLengths

LENGTHS = "lengths.json"
LENGTH = "train.length"
# The settings in train.* that change the speed of a step. A halflife or momentum of 0 costs nothing; any other value
# costs the same.
DECIDING = (
    LENGTH, "train.batch_size", "train.accumulate", "train.critic_steps", "train.updates",
    "train.optimizer", "train.optimizer_g", "train.optimizer_d",
)  # fmt: skip
COSTS_UNLESS_0 = (
    "train.ema_halflife",
    *(f"train.{name}{network}" for name in ("momentum", "clip_norm") for network in ("", "_g", "_d")),
)
WITHOUT_COST = ("use.track", "data.holdout", "data.share")


def speed_group(values: Mapping[str, str], settings: Settings) -> str | None:
    """Return a key shared by equally fast runs of a sweep; None if the length is not in minutes.

    Args:
        values: the run's value of each swept key.
        settings: all settings of the run.
    """
    if parse_minutes(settings[LENGTH]) is None:
        return None
    costs = []
    for written, text in values.items():
        # "preset" is not a setting, and a setting that a preset brings may be missing yet.
        key = next(iter(find_matches(written, settings)), written)
        is_weight = isinstance(settings.get(key), float) and key.startswith(("loss.", "with."))
        if is_weight or key in COSTS_UNLESS_0:
            costs.append(f"{key} {'above' if settings[key] else 'is'} 0")
        elif key in WITHOUT_COST or (key.startswith("train.") and key not in DECIDING):
            continue
        else:
            costs.append(f"{key}={text}")
    return ", ".join(costs)


def read_lengths(folder: Path) -> dict[str, MeasuredLength]:
    """Read the lengths measured so far, by group of equally fast runs.

    Raises:
        UsageError: if the file is damaged.
    """
    path = folder / LENGTHS
    return dict(decoding.read_record(path, SweepLengths).lengths) if files.describe(path) else {}


def record_length(folder: Path, group: str, name: str) -> int | None:
    """Record the length in images that a run measured, and return it; None if the run has none yet."""
    config = folder / name / layout.CONFIG
    if not files.is_file(config):
        return None
    try:
        text = str(read_run_config(config).get(LENGTH))
    except GanzooError:
        return None
    if not text.isdecimal() or not 0 < int(text) <= records.MAX_IMAGES:
        return None
    lengths = {**read_lengths(folder), group: MeasuredLength(int(text), name)}
    plan = SweepLengths(records.FORMAT, lengths)
    atomic.write_file(folder / LENGTHS, msgspec.json.format(msgspec.json.encode(plan), indent=1))
    return int(text)
