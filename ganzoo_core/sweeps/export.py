"""Export a sweep to run elsewhere: as shell lines, or as a job array for Slurm."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ganzoo_core.errors import UsageError
from ganzoo_core.runs import layout
from ganzoo_core.storage import atomic
from ganzoo_core.sweeps.grid import Job, Sweep, to_folder_name
from ganzoo_core.sweeps.work import EXIT_INTERRUPTED

SCRIPT_FILE, LINES_FILE = "sweep.sbatch", "jobs.txt"
SAVE_SECONDS = 120  # seconds before the time limit at which Slurm signals a run to save
EARLY_SECONDS = 60  # seconds by which Slurm may signal earlier than that
_TIME = re.compile(
    r"(?:(?P<days>\d{1,4})-(?P<of_day>\d{1,2}(?::\d{1,2}){0,2}))|(?P<plain>\d{1,6}(?::\d{1,2}){0,2})", re.ASCII
)
_PARTITIONS = re.compile(r"[\w.+-]+(?:,[\w.+-]+)*", re.ASCII)
_GPUS = re.compile(r"(?:[\w.+-]+:)?[1-9]\d{0,3}", re.ASCII)

# What follows the `#SBATCH` lines of a job array. Slurm sends USR1 to this shell alone, so a stop by the time limit is
# told from one by `scancel`, which must not queue the job again.
_TASK = """\
line=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {lines})
saved={folder}/${{line##* # }}/{checkpoints}
newest() {{ ls "$saved" 2>/dev/null | sort -n | tail -n 1; }}
before=$(newest)
bash -c "$line" & run=$!
trap 'stopped=yes; kill -TERM $run' USR1
wait $run; code=$?
if [ "$stopped" ]; then wait $run; code=$?; fi
if [ "$stopped" ] && [ $code = {interrupted} ]; then
    if [ "$(newest)" != "$before" ]; then
        scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
    else
        echo "nothing was saved within the time limit, so this is not queued again; allow a longer --time" >&2
    fi
fi
exit $code
"""


@dataclass(frozen=True)
class SlurmOptions:
    """What each job asks Slurm for; None for the cluster's default.

    Attributes:
        time: the limit of one job, which goes on in the next: minutes, `hours:minutes:seconds` or `days-hours`.
        partition: names of partitions, with commas.
        gpus: how many GPUs, or `type:count`.
    """

    time: str | None = None
    partition: str | None = None
    gpus: str | None = None

    def check(self) -> None:
        """Raise UsageError for text that Slurm would refuse, and for a time that leaves none to train."""
        if self.time is not None:
            least = SAVE_SECONDS + EARLY_SECONDS
            if (seconds := to_seconds(self.time)) is None:
                raise UsageError(
                    f"--time {self.time!r} is no time of Slurm's; say minutes (90), hours:minutes:seconds (8:00:00) or "
                    "days-hours (2-12)"
                )
            if seconds <= least:
                raise UsageError(
                    f"--time {self.time} is {seconds} seconds; Slurm asks a run to save up to {least} seconds before "
                    f"the limit, so say more than {least // 60} minutes"
                )
        if self.partition is not None and not _PARTITIONS.fullmatch(self.partition):
            raise UsageError(f"--partition {self.partition!r} is no name of a partition; say one that `sinfo` shows")
        if self.gpus is not None and not _GPUS.fullmatch(self.gpus):
            raise UsageError(f"--gpus {self.gpus!r} is no number of GPUs; say --gpus 1, or with a type --gpus a100:1")

    def to_lines(self) -> list[str]:
        """Return a line of the script for each that is given."""
        given = [(part.name, getattr(self, part.name)) for part in fields(self)]
        return [f"#SBATCH --{name}={value}" for name, value in given if value is not None]


def to_seconds(time: str) -> int | None:
    """Return the seconds of a time as Slurm writes it; None for another text."""
    match = _TIME.fullmatch(time)
    if match is None:
        return None
    numbers = [int(part) for part in (match["of_day"] or match["plain"]).split(":")]
    if match["days"] is None and len(numbers) < 3:  # minutes, minutes:seconds
        numbers.insert(0, 0)
    hours, minutes, seconds = [*numbers, 0, 0][:3]
    return ((int(match["days"] or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def make_shell_lines(sweep: Sweep, *, extra_arguments: Sequence[str] = ()) -> list[str]:
    """Return a shell line for each unfinished run, which starts or resumes it."""
    return [_make_line(sweep, job, extra_arguments) for job in sweep.jobs if not sweep.is_over(job)]


def _make_line(sweep: Sweep, job: Job, extra_arguments: Sequence[str]) -> str:
    folder = sweep.folder_of(job).absolute()
    start = [sys.executable, "-P", "-m", "ganzoo_core"]
    fresh = shlex.join([*start, "run", *sweep.run_words(job), *extra_arguments, "--out", str(folder), "--quiet"])
    again = shlex.join([*start, "resume", str(folder)])
    config, saved = (shlex.quote(str(folder / name)) for name in (layout.CONFIG, layout.CHECKPOINTS))
    restart = f'$([ -n "$(ls -A {saved} 2>/dev/null)" ] || echo --restart)'  # stopped before its first checkpoint
    return (
        f"cd {shlex.quote(str(Path.cwd()))}; if [ -f {config} ]; then exec {again} {restart} --quiet; "
        f"else exec {fresh}; fi"
    )


def write_slurm(
    sweep: Sweep, *, at_once: int, options: SlurmOptions | None = None, extra_arguments: Sequence[str] = ()
) -> tuple[Path, int]:
    """Write a Slurm job array: the script, and beside it the shell lines that it runs.

    A run that reaches the time limit saves and is queued again, until it is done or fails.

    Returns:
        The path of the script, and its number of jobs.

    Raises:
        UsageError: if every run is finished, or an option is none of Slurm's.
    """
    options = options or SlurmOptions()
    options.check()
    left = [job for job in sweep.jobs if not sweep.is_over(job)]
    if not left:
        raise UsageError(f"every run of {sweep.folder} is over; say the same without --list for the comparison")
    jobs, folder = (sweep.folder / LINES_FILE).absolute(), sweep.folder.absolute()
    lines = [f"{_make_line(sweep, job, extra_arguments)} # {job.name}" for job in left]
    head = [
        "#!/bin/bash",
        f"#SBATCH --job-name={to_folder_name(folder.name)}",
        f"#SBATCH --array=0-{len(left) - 1}%{at_once}",
        f"#SBATCH --output={str(folder).replace('%', '%%')}/slurm-%A_%a.log",
        "#SBATCH --open-mode=append",
        "#SBATCH --requeue",
        f"#SBATCH --signal=B:USR1@{SAVE_SECONDS}",
        *options.to_lines(),
        "# Options of sbatch that your cluster asks for besides stand here, or before the script's name.",
    ]
    task = _TASK.format(
        lines=shlex.quote(str(jobs)),
        folder=shlex.quote(str(folder)),
        checkpoints=layout.CHECKPOINTS,
        interrupted=EXIT_INTERRUPTED,
    )
    atomic.write_file(jobs, ("\n".join(lines) + "\n").encode())
    path = sweep.folder / SCRIPT_FILE
    atomic.write_file(path, ("\n".join(head) + "\n\n" + task).encode())
    return path, len(left)
