"""The cores that this process may use, and how many of them other processes hold."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

SAMPLE_SECONDS = 0.1  # that the cores are watched
CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def count_available_cores() -> int:
    """The number of cores this process may use, from its affinity mask and the quotas of its control groups."""
    cores = len(_list_allowed_cores())
    for quota in _read_quotas():
        cores = min(cores, max(1, int(quota)))
    return cores


def _list_allowed_cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _read_quotas() -> Iterator[float]:
    """Cores that each control group of this process allows, the outer ones too, by version 2 or 1 of their files."""
    try:
        lines = OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    groups = [line.split(":", 2)[1:] for line in lines if line.count(":") >= 2] or [["", "/"]]
    for controllers, path in groups:
        if controllers and "cpu" not in controllers.split(","):
            continue
        place = CGROUPS / controllers if controllers else CGROUPS
        inner = Path(path.lstrip("/"))
        for group in (place / inner, *(place / outer for outer in inner.parents)):
            if cores := _read_quota(group):
                yield cores


def _read_quota(group: Path) -> float:
    """Cores that one group allows; 0 without a limit."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = [word for name in names for word in (group / name).read_text(encoding="ascii").split()]
            quota, period = (int(word) for word in words)
        except (OSError, ValueError):  # no such file, or `max`
            continue
        if quota > 0 and period > 0:
            return quota / period
    return 0.0


def measure_busy_cores() -> float:
    """How many of the cores that this process may use others keep busy now; 0 where the system does not tell.

    Where a quota leaves it fewer cores than it may run on, others are taken to keep to the rest first.
    """
    allowed = set(_list_allowed_cores())
    rest = len(allowed) - count_available_cores()
    started, busy, own = time.monotonic(), _read_busy_seconds(allowed), _read_own_seconds()
    if busy is None:
        return 0.0
    time.sleep(SAMPLE_SECONDS)
    later, own_later = _read_busy_seconds(allowed), _read_own_seconds()
    seconds = time.monotonic() - started
    return 0.0 if later is None else max(0.0, (later - busy - (own_later - own)) / seconds - rest)


def _read_own_seconds() -> float:
    return sum(os.times()[:4])


def _read_busy_seconds(allowed: set[int]) -> float | None:
    """Seconds for which these cores were busy since the machine started; None where the system does not tell."""
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
        rows = [line.split() for line in lines if line.startswith("cpu") and line[3:4].isdecimal()]
        ticks = [sum(map(int, row[1:9])) - sum(map(int, row[4:6])) for row in rows if int(row[0][3:]) in allowed]
    except (OSError, ValueError, IndexError):
        return None
    return sum(ticks) / os.sysconf("SC_CLK_TCK") if ticks else None
