"""Detect multi-task launches (TF_CONFIG, Slurm), which TensorFlow runs do not support."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from ganzoo_core.errors import UsageError


def check_cluster(framework: str, environment: Mapping[str, str] = os.environ) -> None:
    """Let no TensorFlow run start once for each task of a cluster, all of them into one folder.

    Raises:
        UsageError: for a mix in TensorFlow where `TF_CONFIG` or Slurm's srun tell of several tasks.
    """
    tasks, teller = count_tasks(environment)
    if framework == "tensorflow" and tasks > 1:
        raise UsageError(
            f"{teller} tells of {tasks} tasks, and a run in TensorFlow has one process (docs/machines.md says why). "
            "Pick a model in PyTorch and start it by torchrun, or train several runs beside each other: by "
            "`ganzoo sweep`, or as a job array of Slurm"
        )


def count_tasks(environment: Mapping[str, str]) -> tuple[int, str]:
    """How many tasks were started together, at least 1, and which variable tells so."""
    try:
        config: Any = json.loads(environment.get("TF_CONFIG") or "{}")
        members = config.get("cluster", {}).values()
        named = sum(len(each) for each in members if isinstance(each, list | dict))
    except (AttributeError, ValueError):
        raise UsageError("the environment's TF_CONFIG is no JSON of a cluster; unset it, or correct it") from None
    if named > 1:
        return named, "TF_CONFIG"
    # Of the step that srun started. SLURM_NTASKS is that of the whole job, in which one process may be on its own.
    several = environment.get("SLURM_STEP_NUM_TASKS", "")
    count = int(several) if re.fullmatch("[0-9]{1,9}", several) else 1
    return (count, "SLURM_STEP_NUM_TASKS") if count > 1 else (1, "")


def note_unused_gpus(count: int) -> tuple[str, ...]:
    """What the user should know where TensorFlow sees several GPUs.

    Args:
        count: of GPUs that are visible.
    """
    if count < 2:
        return ()
    return (
        f"TensorFlow sees {count} GPUs, and this run uses the first (docs/machines.md says why). Start other runs on "
        "the others, with CUDA_VISIBLE_DEVICES=1 and so on, or pick a model in PyTorch and start it by torchrun",
    )
