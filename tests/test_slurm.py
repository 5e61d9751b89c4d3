"""What ganzoo writes for Slurm, and the script of docs/machines.md, in a cluster of four nodes that Slurm itself runs.

`pytest -m slurm` takes eight minutes, and wants root and `apt install slurm-wlm munge`; it is skipped elsewhere.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import Site
from .slurm_cluster import Cluster, describe_missing, run_cluster
from .test_resume import digest

pytestmark = pytest.mark.slurm
STEPS, BATCH = 70, 12
# Each step waits, so that the runs are longer than the time limit on any machine.
PAUSE = {"TESTS_PAUSE": "2"}  # seconds
LIMIT = ("--time=3", "--signal=B:USR1@45")  # minutes, seconds; the signal comes 105 to 135 seconds after the start
PAUSED = """\
import os, time
import ganzoo_core as gz

@gz.hookimpl
def schedule(options):
    def values(images):
        time.sleep(float(os.environ.get("TESTS_PAUSE", "0")) if images else 0)
        return {"lr_g": options["lr_g"], "lr_d": options["lr_d"]}
    return values
"""
MANIFEST = """\
api = 1
[schedules.paused]
title = "Constant, with a pause before each step"
hooks = "paused.hooks"
"""
SETTINGS = {
    "generator.width": 4, "discriminator.width": 4, "model.latent_dim": 8, "model.norm": "layer", "data.size": 16,
    "train.report_every": "3steps", "train.checkpoint_every": "5steps", "train.sample_count": 4, "engine.threads": 1,
    "engine.device": "cpu", "engine.timeout": 60,
}  # fmt: skip
WORDS = ["dcgan-torch", "--schedule", "paused", "--batch-size", str(BATCH), "--steps", str(STEPS)]
WORDS += [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node"]
PAGE = Path(__file__).parents[1] / "docs" / "machines.md"


@dataclass(frozen=True)
class Place:
    """A folder that all nodes see, and the environment of what runs there."""

    site: Site
    environment: dict[str, str]

    def run(self, *words: str | Path) -> str:
        """What a program prints that Slurm does not start."""
        done = subprocess.run(
            list(map(str, words)), env={**os.environ, **self.environment, "TESTS_PAUSE": "0"}, cwd=self.site.path,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster; skips where this machine cannot have one. SLURM_TEST_LOG=FILE keeps what Slurm says of its jobs."""
    if missing := describe_missing():
        pytest.skip(missing)
    with run_cluster() as cluster:
        yield cluster
        if path := os.environ.get("SLURM_TEST_LOG"):
            Path(path).write_text("\n".join(cluster.log))


@pytest.fixture(scope="module")
def place(make_site: Callable[[], Site]) -> Place:
    site = make_site()
    site.add("paused", MANIFEST, files={"hooks.py": PAUSED, "__init__.py": ""})
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"))
    return Place(site, {"PYTHONPATH": str(site.path), "PATH": programs, "OMP_NUM_THREADS": "1", **PAUSE})


@pytest.fixture(scope="module")
def alone(cluster: Cluster, place: Place) -> Path:
    """The run of the page's script, left alone: two processes, no Slurm."""
    run = place.site.path / "alone"
    place.run(*TORCHRUN, "2", "-m", "ganzoo_core", "run", *WORDS, "--out", run)
    return run


def write_page_script(path: Path, run: Path) -> Path:
    """The script of docs/machines.md, with another run in it, a process a node and no GPU."""
    (text,) = re.findall(r"```sh\n(#!/bin/bash\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for old, new in (
        ("run=/shared/runs/faces\n", f"run={run}\n"),
        ("run dcgan-torch --data folder:/shared/pictures --batch-size 512 --epochs 200 ", f"run {' '.join(WORDS)} "),
        ("#SBATCH --gpus-per-node=4\n", f"#SBATCH --output={run}.log\n"),
        ("--ntasks-per-node=4\n", "--ntasks-per-node=1\n"),
        ("--cpus-per-task=8\n", "--cpus-per-task=1\n"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)
    return path


def outcome(run: Path) -> dict[str, str]:
    """SHA-256 of what a run ends in: weights, moments, its generator and its statistics."""
    last = f"checkpoints/{STEPS * BATCH}"
    found = {name: one for name, one in digest(run).items() if name.startswith((last, "generator/", "stats"))}
    assert len(found) >= 4
    return found


def restarts(shown: list[dict[str, str]]) -> list[int]:
    return [int(job["Restarts"]) for job in shown]


def test_a_sweep_and_a_run_on_two_nodes_go_on_past_the_time_limit(cluster: Cluster, place: Place, alone: Path) -> None:
    site, sweep = place.site, place.site.path / "sweep"
    asked = ["--over", "seed=0,1", "--out", sweep]
    more = ["--list", "slurm", "--jobs", "2", "--time", "0:30:00", "--partition", "main"]
    place.run(sys.executable, "-m", "ganzoo_core", "sweep", *WORDS, *asked, *more)
    array = cluster.submit(sweep / "sweep.sbatch", *LIMIT, environment=place.environment)
    script = write_page_script(site.path / "faces.sbatch", site.path / "faces")
    job = cluster.submit(script, *LIMIT, environment=place.environment)
    tasks, shown = cluster.wait_for(array), cluster.wait_for(job)
    assert [task["JobState"] for task in tasks] == ["COMPLETED"] * 2, cluster.read_logs()
    assert min(restarts(tasks)) >= 1
    assert [one["JobState"] for one in shown] == ["COMPLETED"], (site.path / "faces.log").read_text()
    assert shown[0]["NodeList"] == "127.0.0.[1-2]"
    assert min(restarts(shown)) >= 1
    assert outcome(site.path / "faces") == outcome(alone)
    place.run(sys.executable, "-m", "ganzoo_core", "run", *WORDS, "--seed", "1", "--out", site.path / "one")
    assert outcome(sweep / "seed-1") == outcome(site.path / "one")
    done = json.loads(place.run(sys.executable, "-m", "ganzoo_core", "sweep", *WORDS, *asked, "--json"))
    assert [run["status"] for run in done["runs"]] == ["there", "there"]


def test_a_run_goes_on_elsewhere_when_nodes_die(cluster: Cluster, place: Place, alone: Path) -> None:
    """First the node without the script, whose loss the other process notices before Slurm does; then the script's."""
    run = place.site.path / "faces-2"
    script = write_page_script(run.with_suffix(".sbatch"), run)
    job = cluster.submit(script, environment={**place.environment, "TESTS_PAUSE": "0.7"})
    dead: list[str] = []
    for deaths, (step, has_script) in enumerate([(10, False), (20, True)], 1):
        cluster.wait_until((run / "checkpoints" / str(step * BATCH)).exists, f"step {step} is saved")
        nodes, (shown,) = cluster.list_nodes(job), cluster.show(job)
        dead += [node for node in nodes if (node == shown["BatchHost"]) == has_script]
        cluster.kill_node(dead[-1])
        cluster.wait_until(lambda deaths=deaths: restarts(cluster.show(job)) == [deaths], "the job is queued again")
        cluster.wait_until(lambda: cluster.states(job) == {"RUNNING"}, "it runs again")
        assert not set(dead) & set(cluster.list_nodes(job))
    shown = cluster.wait_for(job)
    assert [one["JobState"] for one in shown] == ["COMPLETED"], Path(f"{run}.log").read_text()
    assert restarts(shown) == [2]
    assert outcome(run) == outcome(alone)
