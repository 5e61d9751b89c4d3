"""One length for those runs of a sweep that are equally fast, where it was asked for in minutes.

Each would measure its own speed, and noise would give each another length, so that they could not be compared. So the
first of them measures, and the others are given its length in images.

SWEEP/lengths.json   those lengths, for the runs that begin later
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
# Of train.*, what decides the speed of a step; an average or a momentum of 0 costs nothing, any other the same.
DECIDING = (LENGTH, "train.batch_size", "train.optimizer", "train.critic_steps", "train.updates")
COSTS_UNLESS_0 = ("train.ema_halflife", "train.momentum")
WITHOUT_COST = ("use.track", "data.holdout")


def speed_group(values: Mapping[str, str], settings: Settings) -> str | None:
    """A text that is the same for those runs of a sweep that are equally fast; None where the length is not in minutes.

    Args:
        values: what the run has of each key that is swept.
        settings: all settings of the run.
    """
    if parse_minutes(settings[LENGTH]) is None:
        return None
    found = []
    for written, text in values.items():
        # "preset" is no setting, and one of what a preset brings may not be there yet.
        key = next(iter(find_matches(written, settings)), written)
        is_weight = isinstance(settings.get(key), float) and key.startswith(("loss.", "with."))
        if is_weight or key in COSTS_UNLESS_0:
            found.append(f"{key} {'above' if settings[key] else 'is'} 0")
        elif key in WITHOUT_COST or (key.startswith("train.") and key not in DECIDING):
            continue
        else:
            found.append(f"{key}={text}")
    return ", ".join(found)


def read_lengths(folder: Path) -> dict[str, MeasuredLength]:
    """The lengths that a sweep has found so far, by the group of runs that are equally fast.

    Raises:
        UsageError: if the file is damaged.
    """
    path = folder / LENGTHS
    return dict(decoding.read_record(path, SweepLengths).lengths) if files.describe(path) else {}


def record_length(folder: Path, group: str, name: str) -> int | None:
    """Keep the length of a run that measured it; its images, or None while the run has none yet."""
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
