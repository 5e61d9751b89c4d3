"""Time loops against each other: alternating blocks, medians, and what else the machine did meanwhile."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

BUSY_LOAD = 0.5  # where the kernel tells no more, a load above this before the start means that something else runs
BUSY_SHARE = 0.05  # of the cores that this process may use, taken by others
WARM_UP_STEPS = 2  # steps of each loop before the first block; a graph is traced in the first
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

Loop = Callable[[int], None]  # takes that many steps, and has finished them when it returns


def measure(loops: Mapping[str, Loop], *, images: int, block: float, pairs: int) -> dict[str, Any]:
    """Run blocks of each loop in turn.

    Args:
        loops: by name; the first says how many steps a block has. One of another process has its `pid`, and its
            `faults` of the last call.
        images: real images a step.
        block: seconds that a block of the first should take.
        pairs: blocks of each loop.

    Returns:
        `rates`: of each loop its images a second, a list with one entry a block. `faults`: of each loop
        the median of its minor page faults a step. `steps` a block, the load before and after, and `others`:
        how many cores other processes kept busy meanwhile, None where the kernel does not tell.
    """
    for loop in loops.values():
        loop(WARM_UP_STEPS)
    first, start = next(iter(loops.values())), time.perf_counter()
    first(WARM_UP_STEPS)
    steps = max(1, round(block * WARM_UP_STEPS / (time.perf_counter() - start)))
    rates: dict[str, list[float]] = {name: [] for name in loops}
    faults: dict[str, list[float]] = {name: [] for name in loops}
    pids = [loop.pid for loop in loops.values() if hasattr(loop, "pid")]
    load, began, busy = os.getloadavg()[0], time.perf_counter(), read_core_seconds(pids)
    for pair in range(pairs):
        # Each order half of the time, so that neither always runs on the warmer machine.
        for name in list(loops) if pair % 2 == 0 else list(loops)[::-1]:
            loop, before, start = loops[name], _count_faults(), time.perf_counter()
            loop(steps)
            rates[name].append(steps * images / (time.perf_counter() - start))
            faults[name].append(getattr(loop, "faults", _count_faults() - before) / steps)
    after, seconds = read_core_seconds(pids), time.perf_counter() - began
    others = None
    if busy is not None and after is not None:
        others = max(0.0, ((after[0] - busy[0]) - (after[1] - busy[1])) / seconds)
    return {
        "rates": rates,
        "faults": {name: sorted(found)[len(found) // 2] for name, found in faults.items()},
        "steps": steps,
        "load_before": load,
        "load_after": os.getloadavg()[0],
        "others": others,
    }


def explain_busy(found: Mapping[str, Any], *, before: float, cores: int) -> str:
    """How another process disturbed a measurement, in words; "" where none did.

    Args:
        found: as `measure` gave it.
        before: the load before the whole command.
        cores: that this process may use.
    """
    if found["others"] is None:
        return f"the load was {before:.2f} before the start" if before > BUSY_LOAD else ""
    if found["others"] > BUSY_SHARE * cores:
        return f"others kept {found['others']:.2f} of {cores} cores busy"
    return ""


def read_peak_memory() -> float:
    """MB that this process has had in memory at most so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if os.uname().sysname == "Darwin" else peak * 1024 / 1e6


def _count_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def read_core_seconds(pids: Iterable[int]) -> tuple[float, float] | None:
    """Seconds that this process's cores were busy since the machine's start, and those that it and `pids` took."""
    try:
        mine = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        lines = [line.split() for line in Path("/proc/stat").read_text(encoding="ascii").splitlines()]
        # user, nice, system, -, -, interrupts, soft ones: neither idle nor waiting.
        busy = sum(sum(int(line[field]) for field in (1, 2, 3, 6, 7)) for line in lines if line and line[0] in mine)
        own = sum(os.times()[:4])  # its children that have ended among it
        for pid in pids:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            own += (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
    except (AttributeError, OSError, ValueError, IndexError):  # not Linux, or not all of it
        return None
    return busy / TICKS_PER_SECOND, own
