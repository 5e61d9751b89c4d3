"""How many CPU threads a run takes, and whether other processes hold the cores.

The number decides the order in which sums are made, so it is chosen once, said, recorded with the run and kept when
that is resumed.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from ganzoo_core.data.cores import count_available_cores, measure_busy_cores
from ganzoo_core.distributed.ranks import Rank
from ganzoo_core.errors import UsageError
from ganzoo_core.storage import atomic, decoding, files, paths

MOST_THREADS = 4_096


@dataclass(frozen=True)
class ThreadChoice:
    """A number of threads and what chose it, in words; "" for the cores at hand."""

    number: int
    reason: str = ""


class TunedThreads(Struct):
    """What `ganzoo doctor --tune` found best: threads by framework."""

    threads: dict[str, Annotated[int, Meta(ge=1, le=MOST_THREADS)]]


class TunedMachines(Struct):
    """The file `threads.json` of the cache: choices by machine, as `describe_machine` names it."""

    machines: dict[str, TunedThreads]


def choose_threads(settings: Mapping[str, Any], framework: str, rank: Rank | None = None) -> ThreadChoice:
    """Choose the number of threads: the setting, `OMP_NUM_THREADS`, what was tuned, or the cores of this process.

    torchrun sets `OMP_NUM_THREADS` to 1 where nobody set it, for several processes on a machine; there that is not the
    user's word. srun gives each of its tasks as many cores as `--cpus-per-task` says.

    Args:
        settings: `engine.threads`, 0 for a choice.
        framework: a name in `frameworks.FRAMEWORKS`.
        rank: of this process; the ranks on a machine share its cores.
    """
    if settings["engine.threads"]:
        return ThreadChoice(settings["engine.threads"])
    ranks_here = 1 if rank is None else rank.local_world_size
    asked = read_omp_threads()
    under_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    if asked and not (asked == 1 and ranks_here > 1 and under_torchrun):
        return ThreadChoice(asked, "OMP_NUM_THREADS")
    cores, task_cores = count_available_cores(), _read_number("SLURM_CPUS_PER_TASK")
    if task_cores and ranks_here > 1 and not under_torchrun:
        return ThreadChoice(min(task_cores, cores), "SLURM_CPUS_PER_TASK")
    tuned = read_tuned_threads().get(framework, 0)
    if tuned and ranks_here == 1:
        return ThreadChoice(min(tuned, cores), "ganzoo doctor --tune")
    return ThreadChoice(max(1, cores // ranks_here))


def read_omp_threads() -> int:
    """The number in `OMP_NUM_THREADS`, the first of several; 0 without a valid one."""
    return _read_number("OMP_NUM_THREADS")


def _read_number(variable: str) -> int:
    word = os.environ.get(variable, "").partition(",")[0].strip()
    return min(int(word), MOST_THREADS) if word.isascii() and word.isdecimal() else 0


def describe_machine() -> str:
    """This machine as `threads.json` names it: its processor and the cores that this process may use."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{named[0] if named else processor}, {count_available_cores()} cores"


def find_tuned_file() -> Path:
    """Where `ganzoo doctor --tune` keeps its choices."""
    return paths.find_cache_folder() / "threads.json"


def read_tuned_threads() -> dict[str, int]:
    """The threads that were found best on this machine, by framework; empty before `ganzoo doctor --tune`.

    Raises:
        UsageError: if the file is not what it writes.
    """
    path = find_tuned_file()
    if not files.describe(path):
        return {}
    try:
        known = decoding.read_record(path, TunedMachines).machines.get(describe_machine())
    except UsageError as error:
        raise UsageError(f"{error}; delete it, or `ganzoo doctor --tune` writes it anew") from None
    return {} if known is None else dict(known.threads)


def write_tuned_threads(threads: Mapping[str, int]) -> Path:
    """Keep the choices for this machine beside those for others; return the file."""
    path = find_tuned_file()
    try:
        machines = decoding.read_record(path, TunedMachines).machines if files.describe(path) else {}
    except UsageError:
        machines = {}
    known = machines.get(describe_machine(), TunedThreads({})).threads
    machines[describe_machine()] = TunedThreads({**known, **threads})
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machines": {machine: {"threads": tuned.threads} for machine, tuned in machines.items()}}
    atomic.write_file(path, json.dumps(content, indent=1).encode())
    return path


def warn_of_busy_cores(threads: int) -> str:
    """A note if other processes hold cores that this one's threads would wait for; else ""."""
    cores, busy = count_available_cores(), measure_busy_cores()
    free = cores - busy + 0.5
    if threads <= free:
        return ""
    held = f"other processes keep {busy:.1f} of {cores} cores busy"
    if threads == 1:
        return f"{held}, so this run is slower than it could be"
    return f"{held}, and a step waits for its slowest thread; --set engine.threads={max(1, int(free))} may be faster"
