"""Training from shards that stay encoded: the bytes of training from a folder, by whatever number of processes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.cli import main
from ganzoo_core.data import memory
from ganzoo_core.data.reading import encoded, pool
from ganzoo_core.report import nearest_and_walk
from ganzoo_core.training import runner

from .shard_sets import make_jpegs, write_folder, write_shards

pytest.importorskip("ganzoo_cgan_torch")
JPEGS = make_jpegs(41)
SETTINGS: dict[str, Any] = {
    "train.batch_size": 8, "train.report_every": "3steps", "train.sample_count": 4, "model.width": 4,
    "train.checkpoint_every": "3steps", "data.size": 16, "data.holdout": 0, "engine.device": "cpu", "engine.threads": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch):
    """No set is decoded into memory."""
    monkeypatch.setattr(memory, "measure_free_memory", lambda: 1000)


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """The number of pictures of each request."""
    sizes, read = [], encoded.EncodedImages.__getitem__
    monkeypatch.setattr(
        encoded.EncodedImages, "__getitem__", lambda self, order: sizes.append(len(order)) or read(self, order)
    )
    return sizes


def train(data: str, out: Path, *, model: str = "cgan-torch", steps: int = 7, **more: Any) -> Path:
    settings = {**SETTINGS, **more}
    return gz.train(model, data=data, preset="none", steps=steps, settings=settings, out=out, quiet=True).folder


def command(shards: Path, *, steps: int = 7) -> list[str]:
    """The words of a command that trains as `train` does."""
    words = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    return ["run", "cgan-torch", "--data", f"shards:{shards}", "--preset", "none", "--steps", str(steps), *words]


def digest(run: Path) -> dict[str, str]:
    """Name -> SHA-256 of the state, the generators, the grids and the statistics, clock times left out."""
    found = {}
    for path in sorted(run.rglob("*")):
        if path.suffix in (".safetensors", ".png") and "data" not in path.parts:
            found[str(path.relative_to(run))] = hashlib.sha256(path.read_bytes()).hexdigest()
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    clock = ("seconds", "images_per_second")
    found["stats"] = json.dumps([{key: line[key] for key in line if key not in clock} for line in lines])
    return found


@pytest.mark.parametrize("model", ["cgan-torch", pytest.param("dcgan-tf", marks=pytest.mark.slow)])
def test_shards_train_as_the_same_pictures_in_a_folder(tmp_path, decoded, model):
    write_folder(tmp_path / "folder", JPEGS)
    write_shards(tmp_path / "shards", JPEGS)
    of_folder = digest(train(f"folder:{tmp_path / 'folder'}", tmp_path / "run", model=model))
    assert len(of_folder) > 5
    assert decoded == []
    for workers in ("0", "1", "2"):
        run = train(f"shards:{tmp_path / 'shards'}", tmp_path / workers, model=model, **{"data.workers": workers})
        assert digest(run) == of_folder, workers
        assert decoded.count(8) >= 7
        assert max(decoded) == 8  # never more than a batch at a time
        decoded.clear()
        config = (run / "config.yaml").read_text()
        assert re.search(rf"^ *(data\.)?workers: .?{workers}\b", config, re.MULTILINE), config
        assert {"0": "a thread decodes", "1": "one process decodes", "2": "2 processes decode"}[workers] in config


def test_a_report_looks_at_some_of_many_images(tmp_path, monkeypatch):
    """What belongs to each image, such as its size, went along with all of them."""
    write_shards(tmp_path / "shards", JPEGS)
    run = train(f"shards:{tmp_path / 'shards'}", tmp_path / "run", steps=3, **{"data.workers": "0"})
    monkeypatch.setattr(nearest_and_walk, "MAX_PIXEL_VALUES", 10 * 16 * 16 * 3)
    images, about = nearest_and_walk.load_training_images(run, None)
    assert images.shape == (10, 16, 16, 3)
    assert about == "Looked at: 10 of 41 training images."


class Killed(BaseException):
    """Nothing catches it, so that what is on the disk is all that is left."""


def test_killed_and_resumed_with_another_number_of_processes_is_the_same_to_the_byte(tmp_path, monkeypatch, decoded):
    write_shards(tmp_path / "shards", JPEGS)
    straight = train(f"shards:{tmp_path / 'shards'}", tmp_path / "straight", **{"data.workers": "0"})
    plain = runner.Runner._read_schedule

    def die(self: runner.Runner, images: int) -> Any:
        if self.step == 5:
            raise Killed
        return plain(self, images)

    with monkeypatch.context() as patched:
        patched.setattr(runner.Runner, "_read_schedule", die)
        with pytest.raises(Killed):
            train(f"shards:{tmp_path / 'shards'}", tmp_path / "killed", **{"data.workers": "2"})
    config = tmp_path / "killed" / "config.yaml"
    changed = re.sub(r"(workers: .?)2", r"\g<1>0", config.read_text())
    assert changed != config.read_text()
    config.write_text(changed)
    decoded.clear()
    resumed = gz.resume(tmp_path / "killed", quiet=True).folder
    assert digest(resumed) == digest(straight)
    assert decoded


def test_a_process_that_is_killed_ends_the_run_in_a_sentence(tmp_path, monkeypatch, capsys):
    write_shards(tmp_path / "shards", JPEGS)
    plain, started = runner.Runner._read_schedule, []
    make = pool.WorkerPool.__init__
    monkeypatch.setattr(pool.WorkerPool, "__init__", lambda self, workers: started.append(self) or make(self, workers))

    def kill(self: runner.Runner, images: int) -> Any:
        if self.step == 3:
            child, _ = started[0]._idle.get(timeout=60)
            os.kill(child._process.pid, signal.SIGKILL)
            started[0]._idle.put((child, _))
        return plain(self, images)

    monkeypatch.setattr(runner.Runner, "_read_schedule", kill)
    words = command(tmp_path / "shards", steps=20)
    code = main([*words, "--set", "data.workers=1", "--out", str(tmp_path / "run")])
    told = " ".join(capsys.readouterr().err.split())
    assert code == 1
    assert "the process that decodes images ended with -9" in told
    assert "--set data.workers=0 goes without" in told
    assert "Traceback" not in told


def test_a_picture_that_is_damaged_or_changed_ends_the_run_with_its_name(tmp_path, capsys):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8))
    noise.save(tmp_path / "noise.jpg")
    jpegs = [*JPEGS[:20], (tmp_path / "noise.jpg").read_bytes()[:-300], *JPEGS[21:]]
    write_shards(tmp_path / "shards", jpegs)
    words = command(tmp_path / "shards")
    for workers in ("0", "1"):
        assert main([*words, "--set", f"data.workers={workers}", "--out", str(tmp_path / workers)]) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert "000001.tar/000020.jpg cannot be read: damaged" in told
        assert "--set data.skip_bad=true" in told
        assert "Traceback" not in told
    assert main([*words, "--set", "data.skip_bad=true", "--set", "data.workers=0", "--out", str(tmp_path / "on")]) == 0
    assert "1 file was skipped" in " ".join(capsys.readouterr().err.split())


def test_a_condition_is_derived_and_images_are_mirrored_on_demand(tmp_path):
    pytest.importorskip("ganzoo_pix2pix_torch")
    write_folder(tmp_path / "folder", JPEGS)
    write_shards(tmp_path / "shards", JPEGS)
    more = {"data.derive": "grey", "data.flip": True, "data.share": 0.5, "data.size": 32}
    more |= {"generator.width": 4, "discriminator.width": 4}
    runs = [
        train(f"{kind}:{tmp_path / path}", tmp_path / "runs" / kind, model="pix2pix-torch", steps=3, **(more | extra))
        for kind, path, extra in (("folder", "folder", {}), ("shards", "shards", {"data.workers": "1"}))
    ]
    assert digest(runs[0]) == digest(runs[1])  # `data.share` goes by content in both
    assert "20 of 41 images" in (runs[1] / "config.yaml").read_text()


@pytest.mark.slow
def test_two_ranks_read_their_own_rows_and_end_as_one_process_does(tmp_path):
    """Each rank decodes four of eight images a step; the index is made once."""
    write_shards(tmp_path / "shards", JPEGS)
    code = (
        "import sys\nfrom ganzoo_core.data import memory\nfrom ganzoo_core.data.reading import encoded\n"
        "memory.measure_free_memory = lambda: 1000\nread, sizes = encoded.EncodedImages.__getitem__, []\n"
        "encoded.EncodedImages.__getitem__ = lambda self, order: sizes.append(len(order)) or read(self, order)\n"
        "from ganzoo_core.cli import main\ncode = main(sys.argv[1:])\n"
        "assert sizes.count(4) >= 7 and 8 not in sizes, sizes\nsys.exit(code)\n"
    )
    (tmp_path / "play.py").write_text(code)
    words = [*command(tmp_path / "shards"), "--set", "data.workers=1", "--set", "train.sample_count=3"]
    starter = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(tmp_path / "play.py")]
    done = subprocess.run(
        [*starter, *words, "--out", str(tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "two" / "stats.jsonl").read_text().splitlines()]
    assert np.isfinite([line["discriminator/adversarial"] for line in lines]).all()
