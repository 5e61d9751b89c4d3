"""Runs of several processes for the tests of both frameworks: started as each starter would, compared, and killed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.runs import layout
from ganzoo_core.runs.folder import RunFolder
from ganzoo_core.storage.tensors import read_all_tensors

SECONDS = 300  # that a run may take on a busy machine
CONSTANT = ["--schedule", "constant"]  # one that a longer run may go on from


def make_torchrun_command(*words: str | Path, processes: int = 2) -> list[str]:
    """Torchrun, with whatever each process is to run."""
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), *map(str, words)]


def make_environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}  # torchrun complains where it has to choose


def run_under_torchrun(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        make_torchrun_command(*words, **options), env=make_environment(), capture_output=True, text=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip


def describe_rank(starter: str, number: int, count: int, port: int) -> dict[str, str]:
    """The variables that a starter sets in one of `count` processes on this machine, which meet near a port."""
    if starter == "srun":
        return {
            "SLURM_JOB_ID": str(port),
            "SLURM_STEP_ID": "0",
            "SLURM_PROCID": str(number),
            "SLURM_LOCALID": str(number),
            "SLURM_STEP_NUM_TASKS": str(count),
            "SLURM_STEP_TASKS_PER_NODE": str(count),
            "SLURM_STEP_NODELIST": "127.0.0.1",
        }
    workers = [f"127.0.0.1:{port + each}" for each in range(count)]
    return {"TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": number}})}


def run_ranks(starter: str, *words: str | Path, missing: int = -1) -> list[tuple[int, str]]:
    """Start two processes as `srun` or as `TF_CONFIG` tells them; the exit code and stderr of each.

    The second is ended with the first, if that fails; `missing` is one that only sleeps.
    """
    port = 20_000 + os.getpid() % 9_000
    processes = [
        subprocess.Popen(
            [sys.executable, *(["-c", "import time; time.sleep(60)"] if number == missing else map(str, words))],
            env={**make_environment(), **describe_rank(starter, number, 2, port)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        said = [processes[0].communicate(timeout=SECONDS)[1]]
        if processes[0].returncode:
            with contextlib.suppress(subprocess.TimeoutExpired):
                processes[1].wait(timeout=2)
            processes[1].kill()
        said.append(processes[1].communicate(timeout=SECONDS)[1])
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def make_settings(small: dict[str, Any], **changed: object) -> list[str]:
    """Settings without the batch size, and what differs, as words of a command."""
    chosen = {name: value for name, value in small.items() if name != "train.batch_size"}
    chosen |= {name.replace("__", "."): value for name, value in changed.items()}
    return [word for name, value in chosen.items() for word in ("--set", f"{name}={value}")]


def read_end(run: Path) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """The state at the end, and the statistics."""
    newest = RunFolder(run).find_newest_checkpoint()
    assert newest is not None
    return read_all_tensors(newest / layout.STATE), RunFolder(run).read_stats()


def digest(run: Path) -> dict[str, str]:
    """Name -> SHA-256 of all that a run leaves, clock times left out."""
    found = {}
    for path in sorted(run.rglob("*")):
        if path.is_dir() or path.name in (".lock", "config.yaml", "manifest.json", "report.html"):
            continue
        content = path.read_bytes()
        if path.suffix in (".jsonl", ".json"):
            lines = content.splitlines() if path.suffix == ".jsonl" else [content]
            content = json.dumps([_without_times(json.loads(line)) for line in lines]).encode()
        found[str(path.relative_to(run))] = hashlib.sha256(content).hexdigest()
    return found


def _without_times(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in ("seconds", "images_per_second")}


def assert_near(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], name: str) -> None:
    """All weights and moments within 1e-5, relative to the largest where that is above 1."""
    assert ours.keys() == theirs.keys()
    for key in theirs:
        near = 1e-5 * max(1.0, float(np.abs(theirs[key]).max()))  # moments are as large as gradients
        np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-5, atol=near, err_msg=f"{name}: {key}")
