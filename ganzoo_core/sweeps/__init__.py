"""Keep a grid of runs in one folder: which there are, how each stands, and working through those that are left.

SWEEP/sweep.json   what is swept, and the words that all runs share
SWEEP/NAME/        one run
SWEEP/NAME.log     what it said
"""

from ganzoo_core.sweeps.export import lines, write_slurm
from ganzoo_core.sweeps.grid import Job, Sweep, axes, grid, open_sweep, plain
from ganzoo_core.sweeps.work import INTERRUPTED, Outcome, work

__all__ = [
    "INTERRUPTED",
    "Job",
    "Outcome",
    "Sweep",
    "axes",
    "grid",
    "lines",
    "open_sweep",
    "plain",
    "work",
    "write_slurm",
]
