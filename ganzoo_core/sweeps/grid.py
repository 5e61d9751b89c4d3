"""The jobs of a sweep, their names and the sweep's folder."""

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
MAX_RUNS = 1000  # runs in a sweep
_COMMA = re.compile(r",(?![^\[]*\])")  # a comma outside [ ]


@dataclass(frozen=True)
class Job:
    """One run of a sweep: its name, and its value of each swept key."""

    name: str
    values: Mapping[str, str]

    def to_arguments(self) -> list[str]:
        """Return the values as arguments of `ganzoo run`."""
        arguments: list[str] = []
        for key, value in self.values.items():
            arguments += ["--preset", value] if key == "preset" else ["--set", f"{key}={value}"]
        return arguments


@dataclass(frozen=True)
class Sweep:
    """A sweep on disk.

    Attributes:
        folder: of all its runs.
        arguments: the arguments of `ganzoo run` that all runs share.
        jobs: the runs.
        groups: for runs whose length is in minutes: name of the run -> key shared by equally fast runs.
    """

    folder: Path
    arguments: tuple[str, ...]
    jobs: tuple[Job, ...]
    groups: Mapping[str, str] = field(default_factory=dict)

    def folder_of(self, job: Job) -> Path:
        """A run's folder."""
        return self.folder / job.name

    def make_command(self, job: Job, *, extra_arguments: Sequence[str] = ()) -> list[str]:
        """Return the command that starts a run, or resumes it if it has started."""
        folder = self.folder_of(job)
        files.check_folder(folder)
        place = str(folder.absolute())  # one that begins with a hyphen would be an option
        words = ["resume", place]
        if not files.list_numbered(folder / layout.CHECKPOINTS):  # stopped before its first checkpoint
            words.append("--restart")
        if not files.is_file(folder / layout.CONFIG):
            words = ["run", *self.run_words(job), *extra_arguments, "--out", place]
        return [sys.executable, "-P", "-m", "ganzoo_core", *words, "--quiet"]

    def run_words(self, job: Job) -> list[str]:
        """Return a run's arguments of `ganzoo run`; the length is in images once an equally fast run measured it."""
        words = [*self.arguments, *job.to_arguments()]
        measured = read_lengths(self.folder).get(self.groups.get(job.name, "")) if job.name in self.groups else None
        if measured is None:
            return words
        if "--minutes" in words:
            index = words.index("--minutes")
            del words[index : index + 2]
        return [*words, "--set", f"{LENGTH}={measured.images}"]

    def unmeasured(self, jobs: Iterable[Job]) -> set[str]:
        """Return those groups of these runs whose length in images is not known yet."""
        groups = {self.groups[job.name] for job in jobs if job.name in self.groups}
        return groups - read_lengths(self.folder).keys() if groups else groups

    def record_lengths(self, jobs: Iterable[Job]) -> list[str]:
        """Record the lengths that these runs have measured; return a sentence for each new one."""
        jobs, sentences = list(jobs), []
        missing = self.unmeasured(jobs)
        for job in jobs:
            group = self.groups.get(job.name)
            if group not in missing or group is None:
                continue
            if (images := record_length(self.folder, group, job.name)) is not None:
                missing.remove(group)
                others = [
                    name for name, other_group in self.groups.items() if other_group == group and name != job.name
                ]
                if others:
                    sentences.append(
                        f"{job.name}: its length is {pluralise(images, 'image')} by the speed that it measured; "
                        f"given to {pluralise(len(others), 'run')} more, as fast as it"
                    )
        return sentences

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
        UsageError: for a text of another form, a repeated key or a repeated value.
    """
    axes: dict[str, list[str]] = {}
    for text in texts:
        key, equals, rest = (part.strip() for part in text.partition("="))
        values = [value.strip() for value in _COMMA.split(rest)]
        if not key or not equals or not all(values):
            raise UsageError(f"--over {text!r} is no list of values; write --over KEY=A,B, such as --over seed=0,1,2")
        if key in axes:
            raise UsageError(f"--over {key} is said twice; name all its values in one")
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise UsageError(f"--over {key} names {twice[0]} twice")
        axes[key] = values
    return axes


def make_jobs(over: Mapping[str, Sequence[str]]) -> tuple[Job, ...]:
    """Return a job for every combination of values, the last key changing fastest.

    Raises:
        UsageError: for more than 1,000 runs.
    """
    size = math.prod(map(len, over.values()))
    if size > MAX_RUNS:
        raise UsageError(f"the grid has {size:,} runs; a sweep has at most {MAX_RUNS:,}")
    jobs: list[Job] = []
    name_counts: Counter[str] = Counter()
    for chosen in itertools.product(*over.values()):
        values = dict(zip(over, chosen, strict=True))
        name = "_".join(f"{key.rpartition('.')[2]}-{to_folder_name(value)}" for key, value in values.items())[:120]
        name_counts[name.lower()] += 1  # some file systems ignore case
        count = name_counts[name.lower()]
        jobs.append(Job(name if count == 1 else f"{name}-{count}", values))
    return tuple(jobs)


def to_folder_name(value: str) -> str:
    """Turn a value into a part of a folder's name."""
    return re.sub(r"[^\w.+-]+", "-", value).strip("-.") or "none"


def open_sweep(out: Path | None, model: str, arguments: Sequence[str], over: Mapping[str, Sequence[str]]) -> Sweep:
    """Open the folder of the same sweep to resume it, or create a new one.

    Args:
        out: the folder; None for the newest `runs/MODEL-sweep-N` with this very sweep, else the next N.
        model: for the folder's name.
        arguments: that all runs share.
        over: the values of each swept key; a sweep in `out` may get more values than it had.

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
            command = to_one_line(f"`run {shlex.join(former.words)}` over {', '.join(former.over)}")
            raise UsageError(f"{out} is a sweep of {command[:500]}; say the same, or choose another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_file(folder / PLAN_FILE, msgspec.json.format(msgspec.json.encode(plan), indent=1))
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}; choose another --out") from None
    return Sweep(folder, tuple(arguments), jobs)


def has_plan(path: Path, plan: SweepPlan) -> bool:
    try:
        return decoding.read_record(path, SweepPlan) == plan
    except UsageError:  # damaged, so not this sweep
        return False


def _is_numbered(path: Path) -> bool:
    return re.fullmatch("[0-9]{1,9}", path.parent.name.rpartition("-")[2]) is not None
