"""A sweep: a grid of runs in one folder, trained one after another or at once, and resumed by the same command.

SWEEP/sweep.json   the swept keys, and the arguments that all runs share
SWEEP/lengths.json for a length in minutes, the measured images
SWEEP/NAME/        one run
SWEEP/NAME.log     its output
"""

from ganzoo_core.sweeps.export import SlurmOptions, make_shell_lines, write_slurm
from ganzoo_core.sweeps.grid import Job, Sweep, make_jobs, open_sweep, parse_axes, to_folder_name
from ganzoo_core.sweeps.shared_length import speed_group
from ganzoo_core.sweeps.work import EXIT_INTERRUPTED, Outcome, run_jobs

__all__ = [
    "EXIT_INTERRUPTED",
    "Job",
    "Outcome",
    "SlurmOptions",
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
