"""The runs of a sweep, their names and their folder."""

from __future__ import annotations

import itertools
import math
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ganzoo_core.errors import GanzooError, UsageError
from ganzoo_core.messages import pluralise
from ganzoo_core.runs import layout
from ganzoo_core.runs.folder import RunFolder
from ganzoo_core.storage import atomic, decoding, files, records
from ganzoo_core.storage.records import SweepPlan
from ganzoo_core.sweeps.shared_length import LENGTH, read_lengths, record_length
from ganzoo_core.terminal.text import to_one_line

PLAN_FILE = "sweep.json"
MAX_RUNS = 1000  # runs of a sweep
_COMMA = re.compile(r",(?![^\[]*\])")  # a comma that is not inside [ ]


@dataclass(frozen=True)
class Job:
    """One run of a sweep: its name, and for each key that is swept the value that it has."""

    name: str
    values: Mapping[str, str]

    def to_arguments(self) -> list[str]:
        """What says so on the command line of `run`."""
        found: list[str] = []
        for key, value in self.values.items():
            found += ["--preset", value] if key == "preset" else ["--set", f"{key}={value}"]
        return found


@dataclass(frozen=True)
class Sweep:
    """A sweep on disk.

    Attributes:
        folder: of all its runs.
        arguments: what stands behind `ganzoo run` for each of them.
        jobs: the runs.
        groups: of runs whose length is in minutes: a run's name -> a text that equally fast ones share.
    """

    folder: Path
    arguments: tuple[str, ...]
    jobs: tuple[Job, ...]
    groups: Mapping[str, str] = field(default_factory=dict)

    def folder_of(self, job: Job) -> Path:
        """A run's folder."""
        return self.folder / job.name

    def make_command(self, job: Job, *, extra_arguments: Sequence[str] = ()) -> list[str]:
        """What begins a run, or goes on with it where it has begun."""
        place = self.folder_of(job)
        files.check_folder(place)
        words = ["resume", str(place)]
        if not files.list_numbered(place / layout.CHECKPOINTS):  # it was stopped before it saved anything
            words.append("--restart")
        if not files.is_file(place / layout.CONFIG):
            words = ["run", *self.run_words(job), *extra_arguments, "--out", str(place)]
        return [sys.executable, "-P", "-m", "ganzoo_core", *words, "--quiet"]

    def run_words(self, job: Job) -> list[str]:
        """What stands behind `ganzoo run` for a run: its length is in images once an equally fast one measured it."""
        words = [*self.arguments, *job.to_arguments()]
        measured = read_lengths(self.folder).get(self.groups.get(job.name, "")) if job.name in self.groups else None
        if measured is None:
            return words
        if "--minutes" in words:
            place = words.index("--minutes")
            del words[place : place + 2]
        return [*words, "--set", f"{LENGTH}={measured.images}"]

    def unmeasured(self, jobs: Iterable[Job]) -> set[str]:
        """The groups of these runs whose length in images is not known yet."""
        groups = {self.groups[job.name] for job in jobs if job.name in self.groups}
        return groups - read_lengths(self.folder).keys() if groups else groups

    def record_lengths(self, jobs: Iterable[Job]) -> list[str]:
        """Keep what these runs have measured since; a sentence for each length that is new."""
        jobs, found = list(jobs), []
        missing = self.unmeasured(jobs)
        for job in jobs:
            group = self.groups.get(job.name)
            if group not in missing or group is None:
                continue
            if (images := record_length(self.folder, group, job.name)) is not None:
                missing.remove(group)
                others = [name for name, other in self.groups.items() if other == group and name != job.name]
                if others:
                    found.append(
                        f"{job.name}: its length is {pluralise(images, 'image')} by the speed that it measured; "
                        f"given to {pluralise(len(others), 'run')} more, as fast as it"
                    )
        return found

    def is_over(self, job: Job) -> bool:
        """Whether a run has reached its length."""
        run = RunFolder(self.folder_of(job))
        try:
            files.check_folder(run.path)
            return run.is_finished()
        except GanzooError:
            return False


def parse_axes(texts: Sequence[str]) -> dict[str, list[str]]:
    """`KEY=A,B` texts -> the values of each key.

    A value that holds commas stands in brackets: `betas=[0,0.9],[0.5,0.9]`.

    Raises:
        UsageError: for a text that is none, a key said twice, or a value said twice.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, rest = (part.strip() for part in text.partition("="))
        values = [value.strip() for value in _COMMA.split(rest)]
        if not key or not equals or not all(values):
            raise UsageError(f"--over {text!r} is no list of values; write --over KEY=A,B, such as --over seed=0,1,2")
        if key in found:
            raise UsageError(f"--over {key} is said twice; name all its values in one")
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise UsageError(f"--over {key} names {twice[0]} twice")
        found[key] = values
    return found


def make_jobs(over: Mapping[str, Sequence[str]]) -> tuple[Job, ...]:
    """Every combination, the last key changing fastest.

    Raises:
        UsageError: for more than 1,000.
    """
    size = math.prod(map(len, over.values()))
    if size > MAX_RUNS:
        raise UsageError(f"the grid has {size:,} runs; a sweep has at most {MAX_RUNS:,}")
    jobs: list[Job] = []
    taken: Counter[str] = Counter()
    for chosen in itertools.product(*over.values()):
        values = dict(zip(over, chosen, strict=True))
        name = "_".join(f"{key.rpartition('.')[2]}-{to_folder_name(value)}" for key, value in values.items())[:120]
        taken[name.lower()] += 1  # there are disks that take two spellings for one
        count = taken[name.lower()]
        jobs.append(Job(name if count == 1 else f"{name}-{count}", values))
    return tuple(jobs)


def to_folder_name(value: str) -> str:
    """A value as a part of a folder's name."""
    return re.sub(r"[^\w.+-]+", "-", value).strip("-.") or "none"


def open_sweep(out: Path | None, model: str, arguments: Sequence[str], over: Mapping[str, Sequence[str]]) -> Sweep:
    """The folder of a sweep: that of the same one, which is gone on with, or a new one.

    Args:
        out: the folder; None for the newest of `runs/MODEL-sweep-N` that holds just this, or the next.
        model: for the name.
        arguments: of all runs.
        over: the axes; a sweep in `out` may be given more values than it had.

    Raises:
        UsageError: if `out` holds something else, or cannot be written.
    """
    jobs = make_jobs(over)
    plan = SweepPlan(records.FORMAT, list(arguments), {key: list(values) for key, values in over.items()})
    if out is None:
        known = [path for path in Path("runs").glob(f"{model}-sweep-*/{PLAN_FILE}") if files.is_file(path)]
        known.sort(key=lambda path: path.stat().st_mtime)
        same = [path.parent for path in known if has_plan(path, plan)]
        number = 1 + max((int(path.parent.name.rpartition("-")[2]) for path in known if _is_numbered(path)), default=0)
        folder = same[-1] if same else Path("runs") / f"{model}-sweep-{number}"
    else:
        folder = out
        former = decoding.read_record(out / PLAN_FILE, SweepPlan) if files.describe(out / PLAN_FILE) else None
        if former is None and out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"{out} is there already and holds no {PLAN_FILE}; choose another --out")
        if former is not None and (former.words, list(former.over)) != (plan.words, list(over)):
            said = to_one_line(f"`run {shlex.join(former.words)}` over {', '.join(former.over)}")
            raise UsageError(f"{out} is a sweep of {said[:500]}; say the same, or choose another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_file(folder / PLAN_FILE, msgspec.json.format(msgspec.json.encode(plan), indent=1))
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}; choose another --out") from None
    return Sweep(folder, tuple(arguments), jobs)


def has_plan(path: Path, plan: SweepPlan) -> bool:
    try:
        return decoding.read_record(path, SweepPlan) == plan
    except UsageError:  # of another sweep, which is not gone on with
        return False


def _is_numbered(path: Path) -> bool:
    return re.fullmatch("[0-9]{1,9}", path.parent.name.rpartition("-")[2]) is not None
