"""Both trackers at once, by the command line, from the first step to the end of a resumed run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("ganzoo_dcgan_torch")
event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

SMALL = ("--batch-size", "8", "--set", "model.width=4", "--set", "engine.threads=1", "--set", "report_every=2steps")


def ganzoo(*commands: Sequence[str], cwd: Path) -> None:
    """Commands, one after the other in one process, since a framework takes long to import."""
    program = (
        "import sys, json, ganzoo_core.cli as c; sys.exit(any([c.main(words) for words in json.loads(sys.argv[1])]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(commands)],
        cwd=cwd,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the run goes on" not in done.stderr  # as is said of a tracker that failed


def test_a_run_and_its_resumption_are_watched(
    tmp_path: Path, nobody: Path, read_wandb: Callable[[Path], list[Any]]
) -> None:
    first = [
        "run",
        "dcgan-torch",
        *SMALL,
        "--steps",
        "6",
        "--out",
        "run",
        "--schedule",
        "constant",
        "--track",
        "tensorboard,wandb",
    ]
    ganzoo([*first, "--set", "wandb.mode=offline"], ["resume", "run", "--steps", "8"], cwd=tmp_path)
    run = tmp_path / "run"

    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [16, 32, 48, 64]
    grids = {int(path.stem): path.read_bytes() for path in (run / "samples").glob("[0-9]*.png")}

    everything = dict.fromkeys(event_accumulator.DEFAULT_SIZE_GUIDANCE, 0)
    events = event_accumulator.EventAccumulator(str(run / "trackers/tensorboard"), size_guidance=everything).Reload()
    for name in ("discriminator/adversarial", "generator/adversarial"):
        assert [(event.step, np.float32(event.value)) for event in events.Scalars(name)] == [
            (line["images"], np.float32(line[name])) for line in lines
        ]
    assert {image.step: image.encoded_image_string for image in events.Images("samples")} == grids

    begun, gone_on = read_wandb(run / "trackers/wandb")
    assert begun[0].run_id == gone_on[0].run_id
    assert begun[1]["train"]["batch_size"] == 8
    history = [*begun[2], *gone_on[2]]
    rows = [row for row in history if "step" in row]
    assert [{name: row[name] for name in line} for line, row in zip(lines, rows, strict=True)] == lines
    assert {row["images"] for row in history if "samples.path" in row} == set(grids)
