"""Detect multi-task launches (TF_CONFIG, Slurm), which not every framework supports."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from ganzoo_core.errors import UsageError
from ganzoo_core.frameworks import get_framework, name_distributed_frameworks


def check_cluster(framework: str, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a run of one process that a cluster starts once per task: all tasks would write to one folder.

    Raises:
        UsageError: if `TF_CONFIG` or Slurm's srun started several tasks, and the framework trains in one process.
    """
    tasks, teller = count_tasks(environment)
    entry = get_framework(framework)
    if not entry.trains_in_several_processes and tasks > 1:
        raise UsageError(
            f"{teller} tells of {tasks} tasks, and a run in {entry.title} has one process (docs/machines.md says why). "
            f"Pick a model in {name_distributed_frameworks()} and start it by torchrun, or train several runs beside "
            "each other: by `ganzoo sweep`, or as a job array of Slurm"
        )


def count_tasks(environment: Mapping[str, str]) -> tuple[int, str]:
    """The number of tasks started together, at least 1, and the environment variable it comes from.

    Raises:
        UsageError: if `TF_CONFIG` does not describe a cluster in JSON.
    """
    try:
        config: Any = json.loads(environment.get("TF_CONFIG") or "{}")
        members = config.get("cluster", {}).values()
        cluster_tasks = sum(len(each) for each in members if isinstance(each, list | dict))
    except (AttributeError, ValueError):
        raise UsageError("the environment's TF_CONFIG is no JSON of a cluster; unset it, or correct it") from None
    if cluster_tasks > 1:
        return cluster_tasks, "TF_CONFIG"
    # The tasks of this srun step. SLURM_NTASKS counts those of the whole job, where a single process may run alone.
    step_tasks = environment.get("SLURM_STEP_NUM_TASKS", "")
    count = int(step_tasks) if re.fullmatch("[0-9]{1,9}", step_tasks) else 1
    return (count, "SLURM_STEP_NUM_TASKS") if count > 1 else (1, "")


def note_unused_gpus(framework: str, count: int) -> tuple[str, ...]:
    """A note for the user if a framework whose runs use one GPU sees several.

    Args:
        framework: its name.
        count: visible GPUs.
    """
    if count < 2:
        return ()
    return (
        f"{get_framework(framework).title} sees {count} GPUs, and this run uses the first (docs/machines.md says why). "
        "Start other runs on the others, with CUDA_VISIBLE_DEVICES=1 and so on, or pick a model in "
        f"{name_distributed_frameworks()} and start it by torchrun",
    )
