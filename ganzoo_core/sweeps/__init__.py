"""Keep a grid of runs in one folder: which there are, how each stands, and working through those that are left.

SWEEP/sweep.json   what is swept, and the words that all runs share
SWEEP/lengths.json of a length in minutes, the images that it became
SWEEP/NAME/        one run
SWEEP/NAME.log     what it said
"""

from ganzoo_core.sweeps.export import make_shell_lines, write_slurm
from ganzoo_core.sweeps.grid import Job, Sweep, make_jobs, open_sweep, parse_axes, to_folder_name
from ganzoo_core.sweeps.shared_length import speed_group
from ganzoo_core.sweeps.work import EXIT_INTERRUPTED, Outcome, run_jobs

__all__ = [
    "EXIT_INTERRUPTED",
    "Job",
    "Outcome",
    "Sweep",
    "make_jobs",
    "make_shell_lines",
    "open_sweep",
    "parse_axes",
    "run_jobs",
    "speed_group",
    "to_folder_name",
    "write_slurm",
]
