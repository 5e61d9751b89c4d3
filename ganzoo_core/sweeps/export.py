"""Export a sweep to run elsewhere: as shell lines, or as a job array for Slurm."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ganzoo_core.errors import UsageError
from ganzoo_core.runs import layout
from ganzoo_core.storage import atomic
from ganzoo_core.sweeps.grid import Sweep, to_folder_name

SCRIPT_FILE, LINES_FILE = "sweep.sbatch", "jobs.txt"
SAVE_SECONDS = 120  # seconds before the time limit at which Slurm signals a run to save


def make_shell_lines(sweep: Sweep, *, extra_arguments: Sequence[str] = ()) -> list[str]:
    """Return a shell line for each unfinished run, which starts or resumes it."""
    lines = []
    for job in sweep.jobs:
        if sweep.is_over(job):
            continue
        folder = sweep.folder_of(job).absolute()
        start = [sys.executable, "-P", "-m", "ganzoo_core"]
        fresh = shlex.join([*start, "run", *sweep.run_words(job), *extra_arguments, "--out", str(folder), "--quiet"])
        again = shlex.join([*start, "resume", str(folder)])
        config, saved = (shlex.quote(str(folder / name)) for name in (layout.CONFIG, layout.CHECKPOINTS))
        restart = f'$([ -n "$(ls -A {saved} 2>/dev/null)" ] || echo --restart)'  # stopped before its first checkpoint
        lines.append(
            f"cd {shlex.quote(str(Path.cwd()))}; if [ -f {config} ]; then exec {again} {restart} --quiet; "
            f"else exec {fresh}; fi"
        )
    return lines


def write_slurm(sweep: Sweep, *, at_once: int, extra_arguments: Sequence[str] = ()) -> tuple[Path, int]:
    """Write a Slurm job array: the script, and beside it the shell lines that it runs.

    Returns:
        The path of the script, and its number of jobs.

    Raises:
        UsageError: if every run is finished.
    """
    left = make_shell_lines(sweep, extra_arguments=extra_arguments)
    if not left:
        raise UsageError(f"every run of {sweep.folder} is over; say the same without --list for the comparison")
    jobs, folder = (sweep.folder / LINES_FILE).absolute(), sweep.folder.absolute()
    script = [
        "#!/bin/bash",
        f"#SBATCH --job-name={to_folder_name(folder.name)}",
        f"#SBATCH --array=0-{len(left) - 1}%{at_once}",
        f"#SBATCH --output={str(folder).replace('%', '%%')}/slurm-%A_%a.log",
        f"#SBATCH --signal=B:TERM@{SAVE_SECONDS}",
        "# Add what your cluster asks for: --time, --partition, --gres=gpu:1 …",
        f'line=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {shlex.quote(str(jobs))})',
        'exec bash -c "$line"',
    ]
    atomic.write_file(jobs, ("\n".join(left) + "\n").encode())
    path = sweep.folder / SCRIPT_FILE
    atomic.write_file(path, ("\n".join(script) + "\n").encode())
    return path, len(left)
