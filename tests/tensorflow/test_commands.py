"""TensorFlow models from the command line: the same commands, folder and statistics as in PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from ..conftest import run_here

SMALL = ("--set", "width=4", "--set", "size=16", "--batch-size", "16", "--set", "sample_count=4")


def ganzoo(*words: str | Path, cwd: Path, code: int = 0, env: Mapping[str, str] | None = None) -> tuple[str, str]:
    """The real command; its stdout and stderr."""
    command = [sys.executable, "-m", "ganzoo_core", *map(str, words)]
    environment = {**os.environ, **(env or {})}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    place = tmp_path_factory.mktemp("tf")
    words = ("--steps", "24", "--set", "report_every=6steps", "--set", "snapshot_every=12steps", "--out", "run")
    _, told = ganzoo("run", "dcgan-tf", *SMALL, *words, cwd=place)
    return place / "run", told


def test_a_run_leaves_the_same_things(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml", "stats.jsonl", "samples", "snapshots", "checkpoints", "generator", ".lock", "data",
        "report.html",
    }  # fmt: skip
    assert {path.name for path in (folder / "snapshots").iterdir()} == {"192", "384"}
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [96, 192, 288, 384]
    wanted = {"discriminator/adversarial", "generator/adversarial", "lr_g"}
    wanted |= {f"discriminator/{kind}_{side}" for kind in ("accuracy", "probability") for side in ("real", "fake")}
    assert all(wanted <= set(line) for line in lines)


def test_tensorflows_noise_stays_away_from_the_terminal(trained: tuple[Path, str]) -> None:
    ours = (
        "note:",
        "dcgan-tf on",
        "data:",
        "pictures:",
        "run folder",
        "about",
        "epoch",
        "  epoch",
        "samples:",
        "report:",
        "that is long",
    )
    for line in trained[1].splitlines():
        assert line.startswith(ours), line


def test_the_same_seed_draws_the_same_bytes_anywhere(trained: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = trained
    only = {"GANZOO_PLUGINS": "ganzoo-dcgan-tf"}
    run_here("generate", folder / "generator", "-n", "5", "--seed", "3", "--out", "a.npz", cwd=tmp_path, env=only)
    run_here("generate", folder, "--checkpoint", "384", "-n", "5", "--seed", "3", "--out", "b.npz", cwd=tmp_path)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert (archive["images"].shape, archive["images"].dtype) == ((5, 16, 16, 1), np.uint8)


def test_networks_of_two_tensorflow_models_play_together(tmp_path: Path) -> None:
    words = ("--generator", "dcgan-tf", "--discriminator", "convgan-tf", "--set", "size=28", "--steps", "2", "--quiet")
    done = run_here("run", *words, "--set", "generator.width=4", "--out", "run", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "run"


def test_two_frameworks_do_not_mix_and_neither_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from ganzoo_core.cli import main\n"
        "code = main(['run', '--generator', 'dcgan-torch', '--discriminator', 'dcgan-tf'])\n"
        "assert code == 2 and not {'torch', 'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "dcgan-torch is written in torch" in done.stderr
    assert "pick both from one framework" in done.stderr


@pytest.mark.slow
def test_torchvision_feeds_tensorflow_through_the_array_cache(tmp_path: Path) -> None:
    """torchvision imports torch, which must stay out of this process: a child reads the set."""
    pytest.importorskip("torchvision")
    arguments = json.dumps({"size": 40, "image_size": [3, 16, 16], "num_classes": 4})
    words = ("--data", "torchvision:FakeData", "--set", f"data.arguments={arguments}", "--steps", "2", "--quiet")
    cache = {"GANZOO_CACHE": str(tmp_path / "cache")}
    ganzoo("run", "dcgan-tf", *SMALL, *words, "--out", "run", cwd=tmp_path, env=cache)
    ganzoo("generate", "run", "--out", "a.npz", cwd=tmp_path)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert archive["images"].shape == (16, 16, 16, 3)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("dcgan-tf", "--set", "size=30"), "data.size"),
        (("dcgan-tf", "--batch-size", "4000"), "--batch-size"),
        (("progan-tf", "--images", "500", "--set", "schedule.stable_images=200"), "schedule."),
        (("convgan-tf", "--set", "size=8"), "data.size"),
        (("dcgan-tf", "--schedule", "progressive", "--set", "size=32"), "growing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_does_not_fit_names_the_setting_to_change(words: tuple[str, ...], found: str, tmp_path: Path) -> None:
    done = run_here("run", *words, "--quiet", cwd=tmp_path, code=2)
    assert found in done.stderr.splitlines()[-1]
