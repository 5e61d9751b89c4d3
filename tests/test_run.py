"""Runs from the command line and from Python, on real input, small."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz

from .conftest import run_here

SMALL = ("--set", "width=4", "--set", "size=16", "--batch-size", "32", "--set", "threads=1")
LOSSES = ("non-saturating", "minimax", "least-squares", "hinge", "wasserstein", "wgan-gp", "relativistic")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    """Three epochs of 45 steps (1,438 images of digits, batches of 32)."""
    every = ("--set", "snapshot_every=1epoch", "--set", "report_every=10steps", "--set", "sample_every=off")
    chosen = ("--set", "sample_at=[1,2]epochs", "--set", "sample_count=9", "--schedule", "constant")
    done = run_here("run", "dcgan-torch", *SMALL, "--epochs", "3", *every, *chosen, cwd=place)
    folder = done.stdout.splitlines()[-1]
    assert re.search(r"\bepoch 3/3\b", done.stderr)
    assert "left, done at" in done.stderr
    return place / folder


def test_a_run_leaves_what_was_promised(trained: Path) -> None:
    epoch = 1438
    ends = [-(-epoch * number // 32) * 32 for number in (1, 2, 3)]
    assert {path.name for path in (trained / "snapshots").iterdir()} == {str(end) for end in ends}
    names = {path.stem for path in (trained / "samples").iterdir()}
    assert names == {"real", "latest", "320", *map(str, ends)}  # the first report, the chosen epochs, the end
    for name in names:
        with Image.open(trained / "samples" / f"{name}.png") as picture:
            assert picture.mode == "L"
            assert np.asarray(picture).std() > 1
    assert (trained / "samples/latest.png").read_bytes() == (trained / f"samples/{ends[-1]}.png").read_bytes()
    lines = [json.loads(line) for line in (trained / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [*range(10, 131, 10), 135]
    for line in lines:
        assert line["images"] == line["step"] * 32
        assert line["epoch"] == line["images"] // epoch
        assert {"seconds", "images_per_second", "discriminator/adversarial", "generator/adversarial"} <= set(line)
        assert {"discriminator/accuracy_real", "discriminator/probability_fake", "lr_g"} <= set(line)


def test_generation_needs_neither_data_nor_settings(trained: Path, tmp_path: Path, start: Callable[..., Any]) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(trained / "generator", alone)
    only = {"GANZOO_PLUGINS": "ganzoo-dcgan-torch"}  # no dataset, no loss, no schedule
    first = start("-m", "ganzoo_core", "generate", alone, "-n", "5", "--seed", "7", "--out", "a.npz", cwd=tmp_path,
                  env={**os.environ, **only})  # fmt: skip
    out, err = first.communicate(timeout=600)
    assert (first.returncode, out.splitlines()[-1]) == (0, "a.npz"), err
    run_here("generate", trained, "-n", "5", "--seed", "7", "--out", "b.npz", cwd=tmp_path)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        images = archive["images"]
    assert (images.shape, images.dtype) == ((5, 16, 16, 1), np.uint8)
    assert (gz.load(trained).generate(5, seed=7) == images).all()
    assert (gz.load(trained).generate(3, seed=7) == images[:3]).all()
    assert (gz.load(trained).generate(5, seed=8) != images).any()


def test_any_snapshot_can_be_drawn_from(trained: Path, tmp_path: Path) -> None:
    for which, name in (("epoch:1", "1440"), ("1440", "1440"), ("epoch:3", "4320"), ("last", "4320")):
        drawn = gz.load(trained, checkpoint=which).generate(4)
        assert (drawn == gz.load(trained / "snapshots" / name).generate(4)).all()
    done = run_here("generate", trained, "--checkpoint", "epoch:9", cwd=tmp_path, code=2)
    assert re.search(r"it has epochs 1, 2, 3\b", done.stderr)
    done = run_here("generate", trained, "--checkpoint", "17", cwd=tmp_path, code=2)
    assert re.search(r"\b1440, 2880, 4320\b", done.stderr)


def test_pictures_are_written_as_a_grid_or_one_by_one(trained: Path, tmp_path: Path) -> None:
    run_here("generate", trained, "--out", "grid.png", cwd=tmp_path)
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size[0] >= 4 * 16
    run_here("generate", trained, "-n", "3", "--out", "folder", cwd=tmp_path)
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["0.png", "1.png", "2.png"]
    assert ".jpg" in run_here("generate", trained, "--out", "x.jpg", cwd=tmp_path, code=2).stderr
    assert "n is 0; expected" in run_here("generate", trained, "-n", "0", cwd=tmp_path, code=2).stderr
    assert "not there" in run_here("generate", "nowhere", cwd=tmp_path, code=2).stderr
    assert "no saved generator" in run_here("generate", tmp_path, cwd=tmp_path, code=2).stderr


def test_a_missing_plugin_is_named_with_its_distribution(trained: Path, tmp_path: Path) -> None:
    done = run_here("generate", trained, cwd=tmp_path, code=2, env={"GANZOO_PLUGINS": ""})
    assert "pip install ganzoo-dcgan-torch" in done.stderr


def test_damaged_weights_are_refused(trained: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(trained / "generator", broken)
    weights = broken / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    done = run_here("generate", broken, cwd=tmp_path, code=2)
    assert "cannot be read" in done.stderr
    card = json.loads((broken / "generator.json").read_text())
    card["options"]["width"] = 8
    (broken / "generator.json").write_text(json.dumps(card))
    assert "the network has" in run_here("generate", broken, cwd=tmp_path, code=2).stderr


def test_config_of_a_run_gives_the_same_run(trained: Path, tmp_path: Path) -> None:
    words = ("--config", trained / "config.yaml", "--steps", "20", "--set", "report_every=10steps", "--json", "--quiet")
    done = run_here("run", *words, cwd=tmp_path)
    told = json.loads(done.stdout)
    assert told["status"] == "done"
    again = [json.loads(line) for line in (tmp_path / told["run"] / "stats.jsonl").read_text().splitlines()]
    first = [json.loads(line) for line in (trained / "stats.jsonl").read_text().splitlines()][: len(again)]
    clock = ("seconds", "images_per_second")
    for a, b in zip(first, again, strict=True):
        assert {key: a[key] for key in a if key not in clock} == {key: b[key] for key in b if key not in clock}


def test_dry_run_imports_no_framework_and_writes_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from ganzoo_core.cli import main; main(['run', 'dcgan-torch', '--loss', 'wgan-gp', '--dry-run'])\n"
        "assert not {'torch', 'tensorflow', 'sklearn', 'ganzoo_losses', 'ganzoo_dcgan_torch'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "train.critic_steps\t5\twgan-gp" in done.stdout
    assert "discriminator.norm\tlayer\t" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to another process")
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_stopping_saves_a_usable_generator(number: int, tmp_path: Path, start: Callable[..., Any]) -> None:
    words = ("run", "dcgan-torch", *SMALL, "--images", "10000000", "--out", "stopped", "--set", "report_every=5steps")
    process = start("-m", "ganzoo_core", *words, cwd=tmp_path)
    process.wait_until((tmp_path / "stopped/stats.jsonl").exists)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out.splitlines()[-1] == "stopped"
    assert "interrupted, saved" in err
    assert gz.load(tmp_path / "stopped").generate(2).shape == (2, 16, 16, 1)


def test_divergence_is_told_with_its_network_and_exit_code(tmp_path: Path) -> None:
    words = ("--steps", "400", "--loss", "wasserstein", "--set", "clip=1e30", "--set", "lr=1e30", "--out", "run")
    done = run_here("run", "dcgan-torch", *SMALL, *words, cwd=tmp_path, code=4)
    assert "is no longer finite at step" in done.stderr
    assert "lower learning rate" in done.stderr


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("dcgan-torhc",), "did you mean dcgan-torch"),
        (("dcgan-torch", "--loss", "hinje"), "did you mean hinge"),
        (("dcgan-torch", "--set", "widht=4"), "did you mean"),
        (("dcgan-torch", "--set", "lr=fast"), "expected a number"),
        (("dcgan-torch", "--set", "norm=btach"), "did you mean batch"),
        (("dcgan-torch", "--preset", "huge"), "no preset 'huge'; it has"),
        (("dcgan-torch", "--set", "size=48"), "takes 16, 32, 64, 128, 256"),
        (("dcgan-torch", "--batch-size", "5000"), "--batch-size 1438 or less"),
        (("dcgan-torch", "--loss", "wgan-gp", "--set", "norm=batch"), "say --set discriminator.norm=layer"),
        (("dcgan-torch", "--loss", "wgan-gp", "--set", "updates=simultaneous"), "updates=alternating"),
        (("dcgan-torch", "--data", "digits:7"), "takes no argument"),
        (("dcgan-torch", "--data", "folder"), "needs a path"),
        (("dcgan-torch", "--device", "cuda"), "CUDA is not available; devices on this machine: cpu"),
        (("dcgan-torch", "--images", "0"), "expected a number above 0"),
        (("dcgan-torch", "--out", "."), "not empty"),
        ((), "no model is named"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_users_mistake_is_one_sentence(words: tuple[str, ...], found: str, place: Path) -> None:
    if "cuda" in words:
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("this machine has what the test takes for absent")
    (place / "something").touch()
    done = run_here("run", *words, "--quiet", cwd=place, code=2)
    assert found in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 or "note:" in done.stderr


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains(loss: str, tmp_path: Path) -> None:
    run = gz.train("dcgan-torch", loss=loss, steps=4, batch_size=16, out=tmp_path / "run", quiet=True,
                   settings={"width": 4, "size": 16, "report_every": "1steps", "sample_count": 4})  # fmt: skip
    assert len(run.stats) == 4
    assert all(np.isfinite(value) for line in run.stats for value in line.values())
    assert run.generate(3).shape == (3, 16, 16, 1)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_stays_finite_for_20_000_images(loss: str, tmp_path: Path) -> None:
    run = gz.train("dcgan-torch", loss=loss, images=20_000, out=tmp_path / "run", quiet=True)
    assert all(np.isfinite(value) for line in run.stats for value in line.values())


@pytest.mark.parametrize("modifiers", [["spectral-norm"], ["r1"], ["spectral-norm", "r1"]])
def test_modifiers_wrap_and_are_recorded(modifiers: list[str], tmp_path: Path) -> None:
    run = gz.train("dcgan-torch", modifiers=modifiers, steps=2, batch_size=16, out=tmp_path / "run", quiet=True,
                   settings={"width": 4, "size": 16, "discriminator.norm": "none"})  # fmt: skip
    assert ("discriminator/r1_penalty" in run.stats[-1]) == ("r1" in modifiers)
    config = (run.folder / "config.yaml").read_text()
    assert f"use.with: {json.dumps(modifiers)}" in config


def test_objects_train_without_a_package(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    G = nn.Sequential(nn.Linear(5, 36), nn.Tanh(), nn.Unflatten(1, (1, 6, 6)))
    D = nn.Sequential(nn.Flatten(), nn.Linear(36, 1))

    class Wasserstein:
        def discriminator(self, step: gz.Step) -> dict[str, Any]:
            return {"adversarial": step.ops.mean(step.D(step.fake)) - step.ops.mean(step.D(step.real))}

        def generator(self, step: gz.Step) -> dict[str, Any]:
            return {"adversarial": -step.ops.mean(step.D(step.fake))}

    array = np.random.default_rng(0).integers(0, 256, (40, 6, 6), dtype=np.uint8)
    run = gz.train(generator=G, discriminator=D, loss=Wasserstein(), schedule=lambda images: {"lr_g": 1e-3},
                   data=array, steps=3, batch_size=8, out=tmp_path / "run", quiet=True,
                   settings={"model.latent_dim": 5})  # fmt: skip
    assert run.stats[-1]["lr_g"] == 1e-3
    assert gz.load(run.folder, network=G).generate(2).shape == (2, 6, 6, 1)
    with pytest.raises(gz.UsageError, match="trained from an object"):
        gz.load(run.folder)


def test_native_networks_are_built_for_the_data() -> None:
    G, D = gz.build("dcgan-torch", data="cifar10", preset="small", settings={"width": 4})
    import torch

    images = G(torch.zeros(2, 100))
    assert images.shape == (2, 3, 32, 32)
    assert D(images).shape == (2,)
    assert isinstance(G, torch.nn.Module)


def test_a_loss_can_be_tried_on_numbers() -> None:
    real, fake = np.array([2.0, 0.5]), np.array([-0.5, 0.0])
    tried = gz.loss("hinge").on(real, fake)
    assert tried["discriminator"]["adversarial"] == pytest.approx((0 + 0.5) / 2 + (0.5 + 1) / 2)
    assert tried["generator"]["adversarial"] == pytest.approx(0.25)
    with pytest.raises(gz.UsageError, match="differentiates D"):
        gz.loss("wgan-gp").on(real, fake)
    with pytest.raises(gz.UsageError, match="no setting 'weight'"):
        gz.loss("wgan-gp", weight=3)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, ganzoo_core; assert not {'numpy', 'torch', 'pluggy', 'rich', 'yaml', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
