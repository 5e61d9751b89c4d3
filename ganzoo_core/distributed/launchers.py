"""Detect multi-task launches (TF_CONFIG, Slurm), which TensorFlow runs do not support."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from ganzoo_core.errors import UsageError


def check_cluster(framework: str, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a TensorFlow run that a cluster starts once per task: all tasks would write to one folder.

    Raises:
        UsageError: for a TensorFlow mix if `TF_CONFIG` or Slurm's srun started several tasks.
    """
    tasks, teller = count_tasks(environment)
    if framework == "tensorflow" and tasks > 1:
        raise UsageError(
            f"{teller} tells of {tasks} tasks, and a run in TensorFlow has one process (docs/machines.md says why). "
            "Pick a model in PyTorch and start it by torchrun, or train several runs beside each other: by "
            "`ganzoo sweep`, or as a job array of Slurm"
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


def note_unused_gpus(count: int) -> tuple[str, ...]:
    """A note for the user if TensorFlow sees several GPUs, of which a run uses one.

    Args:
        count: visible GPUs.
    """
    if count < 2:
        return ()
    return (
        f"TensorFlow sees {count} GPUs, and this run uses the first (docs/machines.md says why). Start other runs on "
        "the others, with CUDA_VISIBLE_DEVICES=1 and so on, or pick a model in PyTorch and start it by torchrun",
    )
