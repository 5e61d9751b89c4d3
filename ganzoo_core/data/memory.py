"""Measure the free memory, within the limits of the container that this process runs in."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

DEFAULT_FREE_BYTES = 4 * 2**30  # bytes assumed to be free if the system does not say


def measure_free_memory() -> int:
    """Free bytes of main memory: the smaller of the machine's and the container's."""
    sizes = [size for size in (_read_machine_memory(), _read_container_memory()) if size is not None]
    return min(sizes, default=DEFAULT_FREE_BYTES)


def _read_machine_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    if os.name == "nt":
        return _read_windows_memory()
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2  # assume that half of it is in use
    except (AttributeError, OSError, ValueError):
        return None


def _read_windows_memory() -> int | None:
    """`ullAvailPhys` of GlobalMemoryStatusEx."""
    status = (ctypes.c_uint64 * 8)(64)  # two 32-bit fields, the length first, and seven sizes
    windll = getattr(ctypes, "windll", None)
    if windll is None or not windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status[2])


def _read_container_memory(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Free bytes within the limit of the control group, version 2 or 1; None without a limit."""
    for limit, used, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, now = (int((root / name).read_text(encoding="ascii")) for name in (limit, used))
            stat = (root / limit).with_name("memory.stat").read_text(encoding="ascii").split()
        except (OSError, ValueError):  # ValueError: without a limit, `memory.max` holds `max`
            continue
        counts = dict(zip(stat[::2], stat[1::2], strict=False))
        return max(0, most - now + int(counts.get(cached, 0)))
    return None
