"""A run that was killed and resumed ends in the same bytes as one that was not, whatever is trained."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import python_api
from ganzoo_core.cli import main
from ganzoo_core.data import stream
from ganzoo_core.runs import layout
from ganzoo_core.runs.folder import RunFolder
from ganzoo_core.storage import atomic, files
from ganzoo_core.storage.tensors import read_all_tensors
from ganzoo_core.training import runner

from .conftest import run_here
from .small_losses import make_everything

SMALL = {
    "generator.width": 4, "discriminator.width": 4, "model.latent_dim": 8, "data.size": 16, "train.batch_size": 16,
    "train.report_every": "3steps", "train.checkpoint_every": "5steps", "train.snapshot_every": "10steps",
    "train.sample_every": "8steps", "train.sample_count": 4, "engine.threads": 1, "use.schedule": "constant",
}  # fmt: skip
STEPS = 16
MIXES: dict[str, tuple[str, dict[str, Any]]] = {
    "dcgan-torch": ("dcgan-torch", {}),
    "cgan-torch": ("cgan-torch", {}),
    "cgan-projection-torch": ("cgan-projection-torch", {}),
    "sngan-torch": (
        "sngan-torch",
        {
            "use.schedule": "linear-decay",
            "use.with": "diffaugment,spectral-norm",
            "train.critic_steps": 2,
            "with.spectral-norm.networks": "discriminator,generator",
            "train.ema_halflife": 100,
        },
    ),
    "dcgan-tf": ("dcgan-tf", {}),
    "convgan-tf": ("convgan-tf", {}),
    "progan-tf": ("progan-tf", {"schedule.stable_images": 0, "schedule.fade_images": 0}),
    "critic steps, spectral vectors, an average": (
        "dcgan-torch",
        {"use.loss": "wgan-gp", "use.with": "spectral-norm", "train.ema_halflife": 100, "train.critic_steps": 3},
    ),
    "the same in TensorFlow": (
        "convgan-tf",
        {"use.loss": "wgan-gp", "use.with": "spectral-norm", "train.ema_halflife": 100, "train.critic_steps": 3},
    ),
    "spectral vectors of both in TensorFlow": (
        "dcgan-tf",
        {
            "use.with": "spectral-norm",
            "with.spectral-norm.networks": "discriminator,generator",
            "train.ema_halflife": 100,
        },
    ),
    "cosines and reals of G": ("dcgan-torch", {"use.loss": "relativistic", "use.schedule": "cosine"}),
    "augmented": ("dcgan-torch", {"use.with": "diffaugment,spectral-norm"}),
    "augmented in TensorFlow": ("dcgan-tf", {"use.with": "diffaugment,spectral-norm"}),
    "r3gan-torch": (
        "r3gan-torch",
        {
            "model.conditional": True,
            "use.with": "diffaugment",
            "use.schedule": "cosine",
            "schedule.images": 200,
            "schedule.gamma_ends": [1.0, 0.1],
            "schedule.beta2_ends": [0.9, 0.99],
            "schedule.ema_halflife_ends": [0.0, 100.0],
            "schedule.augment_ends": [0.0, 0.5],
        },
    ),
    "rmsprop": ("dcgan-torch", {"use.loss": "wasserstein"}),
    "momentum": ("dcgan-torch", {"train.optimizer": "sgd", "train.momentum": 0.9, "use.with": "r1"}),
    "momentum in TensorFlow": ("convgan-tf", {"train.optimizer": "sgd", "train.momentum": 0.9}),
    "parts and AdamW": (
        "dcgan-torch",
        {"train.accumulate": 4, "train.optimizer": "adamw", "train.clip_norm": 1.0, "train.ema_halflife": 100},
    ),
    "parts and AdamW in TensorFlow": (
        "dcgan-tf",
        {"train.accumulate": 4, "train.optimizer_d": "adamw", "train.clip_norm": 1.0, "train.ema_halflife": 100},
    ),
}
LONG = {  # TensorFlow traces its graphs anew for each of three runs
    "convgan-tf",
    "progan-tf",
    "the same in TensorFlow",
    "spectral vectors of both in TensorFlow",
    "augmented in TensorFlow",
    "momentum in TensorFlow",
    "parts and AdamW in TensorFlow",
}


class Killed(BaseException):
    """Nothing catches it, so that what is on the disk is all that is left."""


def digest(run: Path) -> dict[str, str]:
    """Name -> SHA-256 of all that a run leaves, clock times left out."""
    found = {}
    for path in sorted(run.rglob("*")):
        name, content = str(path.relative_to(run)), path.read_bytes() if path.is_file() else b""
        if path.is_dir() or path.name in (".lock", "config.yaml", "manifest.json", "report.html"):
            continue
        if path.name == "stats.jsonl":
            content = json.dumps([without_times(json.loads(line)) for line in content.splitlines()]).encode()
        elif path.name == "position.json":
            content = json.dumps(without_times(json.loads(content))).encode()
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def without_times(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in ("seconds", "images_per_second")}


def train(out: Path, model: str, settings: dict[str, Any], steps: int = STEPS) -> None:
    python_api.train(model, settings={**SMALL, **settings}, steps=steps, out=out, quiet=True)


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Steps before which the process dies, one after the other."""
    points: list[int] = []
    plain = runner.Runner._read_schedule

    def dying(self: runner.Runner, images: int) -> Any:
        if points and self.step == points[0]:
            points.pop(0)
            raise Killed
        return plain(self, images)

    monkeypatch.setattr(runner.Runner, "_read_schedule", dying)
    yield points
    assert points == []


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in MIXES]
)
def test_killed_and_resumed_is_the_same_to_the_byte(name: str, tmp_path: Path, kills: list[int]) -> None:
    """Killed before the first checkpoint, between two, right after one, and at the last step."""
    model, settings = MIXES[name]
    train(tmp_path / "straight", model, settings)
    points = [3, 7, 10, STEPS - 1]

    def begin() -> None:
        train(tmp_path / "killed", model, settings)

    for number, point in enumerate(points):
        kills.append(point)
        nothing_saved = number == 1
        go = partial(python_api.resume, tmp_path / "killed", restart=nothing_saved, quiet=True) if number else begin
        with pytest.raises(Killed):
            go()
    python_api.resume(tmp_path / "killed", quiet=True)
    straight, killed = digest(tmp_path / "straight"), digest(tmp_path / "killed")
    assert killed == straight
    assert {"stats.jsonl", "generator/generator.safetensors", "samples/latest.png"} <= set(straight)
    assert sum(name.endswith("state.safetensors") for name in straight) == 2


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("model", ["dcgan-torch", pytest.param("dcgan-tf", marks=pytest.mark.slow)])
def test_killed_between_two_critic_steps(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    critics = {"use.loss": "wgan-gp", "train.critic_steps": 3}
    train(tmp_path / "straight", model, critics, steps=9)
    third_turn = (7 * 3 + 2) * 16  # of the eighth step: two updates of D are done, and G's is not
    plain = stream.Stream.take_indices

    def dying(self: stream.Stream, position: int, number: int) -> Any:
        if self.purpose == "data" and position == third_turn:
            raise Killed
        return plain(self, position, number)

    with monkeypatch.context() as patch:
        patch.setattr(stream.Stream, "take_indices", dying)
        with pytest.raises(Killed):
            train(tmp_path / "killed", model, critics, steps=9)
    python_api.resume(tmp_path / "killed", quiet=True)
    assert digest(tmp_path / "killed") == digest(tmp_path / "straight")


@pytest.mark.filterwarnings("default")
def test_resuming_what_is_over_changes_nothing(tmp_path: Path) -> None:
    train(tmp_path / "run", "dcgan-torch", {})
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.name != ".lock"}
    python_api.resume(tmp_path / "run", quiet=True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.name != ".lock"} == before


@pytest.mark.filterwarnings("default")
def test_a_longer_run_is_what_it_would_have_been(tmp_path: Path) -> None:
    train(tmp_path / "long", "dcgan-torch", {}, steps=15)
    train(tmp_path / "short", "dcgan-torch", {}, steps=12)  # its end is at a report, as the longer one has it
    python_api.resume(tmp_path / "short", steps=15, quiet=True)
    wanted = "checkpoints/240/state.safetensors", "generator/generator.safetensors", "stats.jsonl"
    long, short = digest(tmp_path / "long"), digest(tmp_path / "short")
    assert [long[name] for name in wanted] == [short[name] for name in wanted]


@pytest.mark.filterwarnings("default")
def test_a_schedule_that_depends_on_the_length_refuses_another(tmp_path: Path) -> None:
    train(tmp_path / "run", "dcgan-torch", {"use.schedule": "cosine"})
    before = digest(tmp_path / "run")
    with pytest.raises(gz.UsageError, match=r"the schedule depends on the run's length: at .* lr_g was"):
        python_api.resume(tmp_path / "run", steps=2 * STEPS, quiet=True)
    with pytest.raises(gz.UsageError, match=r"has seen 256 images already, and is to end at 64\b"):
        python_api.resume(tmp_path / "run", steps=4, quiet=True)
    assert digest(tmp_path / "run") == before


@pytest.mark.filterwarnings("default")
def test_another_schedule_goes_on_in_a_new_run(tmp_path: Path) -> None:
    train(tmp_path / "run", "dcgan-torch", {"use.schedule": "cosine", "schedule.final": 0.5})
    with pytest.raises(gz.UsageError, match=r"`ganzoo resume RUN --set schedule=NAME --images N`, with a"):
        python_api.resume(tmp_path / "run", steps=STEPS + 3, quiet=True)
    settings = {"schedule": "constant"}
    new = python_api.resume(tmp_path / "run", settings=settings, steps=STEPS + 3, out=tmp_path / "new", quiet=True)
    assert [(line["images"], line["lr_g"]) for line in new.stats] == [(288, 4e-4), (304, 4e-4)]


@pytest.mark.filterwarnings("default")
def test_other_settings_begin_a_new_run_that_knows_its_parent(tmp_path: Path) -> None:
    train(tmp_path / "run", "dcgan-torch", {})
    before = digest(tmp_path / "run")
    new = python_api.resume(
        tmp_path / "run", settings={"train.lr": 1e-5}, steps=STEPS + 3, out=tmp_path / "new", quiet=True
    )
    assert digest(tmp_path / "run") == before
    config = (tmp_path / "new" / "config.yaml").read_text()
    assert f'"run": "{tmp_path / "run"}", "images": 256' in config
    assert [(line["images"], line["lr_g"]) for line in new.stats] == [(288, 1e-5), (304, 1e-5)]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("model", ["dcgan-torch", "convgan-tf"])
def test_another_runs_weights_and_the_names_of_those_that_do_not_fit(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "run", model, {})
    still = {"train.lr": 1e-12, "train.optimizer": "sgd"}
    settings = {**SMALL, **still, "discriminator.width": 6}
    new = python_api.train(
        model, settings=settings, steps=1, weights=tmp_path / "run", out=tmp_path / "new", quiet=True
    )
    told = " ".join(capsys.readouterr().err.split())
    assert "tensors did not fit and start anew: D/" in told
    old = read_all_tensors(tmp_path / "run" / "generator" / layout.WEIGHTS)
    found = read_all_tensors(new.folder / "generator" / layout.WEIGHTS)
    trained = [name for name, array in old.items() if array.ndim > 1]
    assert trained
    assert all(abs(found[name] - old[name]).max() < 1e-6 for name in trained)


@pytest.mark.filterwarnings("default")
def test_what_differs_is_told_and_must_be_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "run", "dcgan-torch", {})
    newest = tmp_path / "run" / "checkpoints" / "256"
    position = json.loads((newest / "position.json").read_text())
    position["facts"]["engine"]["version"] = "1.0"
    position["facts"]["data"]["sha256"] = "0"
    content = {name: (newest / name).read_bytes() for name in (layout.STATE,)}
    run = RunFolder(tmp_path / "run").id
    atomic.write_folder(newest, {**content, "position.json": json.dumps(position).encode()}, run_id=run)
    with pytest.raises(
        gz.UsageError, match=r"the data's fingerprint was 0 .* engine version was 1.0 .*--allow-inexact"
    ):
        python_api.resume(tmp_path / "run", steps=STEPS + 2, quiet=True)
    python_api.resume(tmp_path / "run", steps=STEPS + 2, allow_inexact=True, quiet=True)
    assert "engine version was 1.0" in " ".join(capsys.readouterr().err.split())


@pytest.mark.filterwarnings("default")
def test_a_torn_line_and_a_torn_checkpoint_do_not_count(
    tmp_path: Path, kills: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "straight", "dcgan-torch", {})
    kills.append(12)
    with pytest.raises(Killed):
        train(tmp_path / "run", "dcgan-torch", {})
    with (tmp_path / "run" / "stats.jsonl").open("a") as file:
        file.write('{"images": 19')
    state = tmp_path / "run" / "checkpoints" / "160" / layout.STATE
    content = bytearray(state.read_bytes())
    content[-1] ^= 1
    state.write_bytes(bytes(content))  # the one before, at 80 images, is whole
    python_api.resume(tmp_path / "run", quiet=True)
    aside = tmp_path / "run" / "checkpoints" / "damaged-160"
    told = " ".join(capsys.readouterr().err.split())
    assert "the checkpoint 160 is damaged, or another run's; it was set aside as" in told
    assert "going on from 80 images" in told
    assert (aside / layout.STATE).read_bytes() == bytes(content)
    shutil.rmtree(aside)
    assert digest(tmp_path / "run") == digest(tmp_path / "straight")


@pytest.mark.filterwarnings("default")
def test_damaged_checkpoints_with_higher_numbers_push_no_valid_one_out(tmp_path: Path) -> None:
    train(tmp_path / "run", "dcgan-torch", {}, steps=6)
    places = tmp_path / "run" / "checkpoints"
    for number in ("5000", "6000", "7000"):
        shutil.copytree(places / "96", places / number)
        (places / number / layout.STATE).write_bytes(b"torn")
    run = RunFolder.open(tmp_path / "run")
    position = json.loads((places / "96" / "position.json").read_text())
    tensors = read_all_tensors(places / "96" / layout.STATE)
    for images in (112, 128):
        run.write_checkpoint(images, tensors, {**position, "images": images, "step": images // 16}, keep=2)
        assert run.find_newest_checkpoint() == places / str(images)
    assert sorted(path.name for path in places.iterdir()) == ["112", "128", "5000", "6000", "7000"]


@pytest.mark.filterwarnings("default")
def test_a_new_run_from_an_older_checkpoint_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "run", "dcgan-torch", {}, steps=10)
    newest = tmp_path / "run" / "checkpoints" / "160"
    (newest / layout.STATE).write_bytes(b"torn")
    python_api.resume(tmp_path / "run", settings={"train.lr": 1e-5}, steps=6, out=tmp_path / "new", quiet=True)
    told = " ".join(capsys.readouterr().err.split())
    assert re.search(r"\b160 is damaged, or another run's; the one at 80 images is taken", told)
    python_api.train("dcgan-torch", settings=SMALL, steps=1, weights=tmp_path / "run", out=tmp_path / "b", quiet=True)
    told = " ".join(capsys.readouterr().err.split())
    assert re.search(r"\b160 is damaged, or another run's; the one at 80 images is taken", told)
    assert newest.is_dir()  # a run that is only read stays as it is


@pytest.mark.filterwarnings("default")
def test_a_valid_checkpoint_of_another_run_is_not_gone_on_from(tmp_path: Path) -> None:
    train(tmp_path / "run", "dcgan-torch", {}, steps=6)
    train(tmp_path / "other", "dcgan-torch", {}, steps=10)
    shutil.copytree(tmp_path / "other" / "checkpoints" / "160", tmp_path / "run" / "checkpoints" / "160")
    run = RunFolder.open(tmp_path / "run")
    assert run.find_newest_checkpoint() == tmp_path / "run" / "checkpoints" / "96"
    assert run.list_damaged_checkpoints() == [tmp_path / "run" / "checkpoints" / "160"]


@pytest.mark.filterwarnings("default")
def test_a_run_without_a_valid_checkpoint_begins_again_only_when_asked(tmp_path: Path, kills: list[int]) -> None:
    train(tmp_path / "straight", "dcgan-torch", {})
    kills.append(12)
    with pytest.raises(Killed):
        train(tmp_path / "run", "dcgan-torch", {})
    before = (tmp_path / "run" / "stats.jsonl").read_bytes()
    with pytest.raises(gz.UsageError, match=r"has a valid checkpoint at 160 images; .* without --restart"):
        python_api.resume(tmp_path / "run", restart=True, quiet=True)
    for number in ("80", "160"):
        (tmp_path / "run" / "checkpoints" / number / "manifest.json").unlink()
    with pytest.raises(gz.UsageError, match=r"no checkpoint that is valid \(160, 80 are damaged.* --restart` begins"):
        python_api.resume(tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "stats.jsonl").read_bytes() == before
    python_api.resume(tmp_path / "run", restart=True, quiet=True)
    for number in ("80", "160"):
        shutil.rmtree(tmp_path / "run" / "checkpoints" / f"damaged-{number}")
    shutil.rmtree(tmp_path / "run" / "before-restart-snapshots")
    assert digest(tmp_path / "run") == digest(tmp_path / "straight")


@pytest.mark.filterwarnings("default")
def test_a_refused_resume_takes_nothing_from_the_run_that_lives(tmp_path: Path) -> None:
    """What a living writer is writing looks like what a dead one left; only the lock tells them apart."""
    train(tmp_path / "run", "dcgan-torch", {}, steps=6)
    writing = tmp_path / "run" / "checkpoints" / ".112.0123abcd.new"
    replaced = tmp_path / "run" / "snapshots" / ".80.0123abcd.old"
    for place in (writing, replaced):
        place.mkdir(parents=True)
        (place / "state.safetensors").write_bytes(b"half")
    lock = RunFolder(tmp_path / "run").lock()
    for place in (writing, replaced):  # taking the lock cleared them
        place.mkdir(parents=True)
    with pytest.raises(gz.UsageError, match="in use by another process"):
        python_api.resume(tmp_path / "run", steps=STEPS, quiet=True)
    lock.release()
    assert writing.is_dir()
    assert replaced.is_dir()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("model", "shape"),
    [("dcgan-torch", (1, 16, 16)), pytest.param("convgan-tf", (16, 16, 1), marks=pytest.mark.slow)],  # as in LONG
)
def test_a_loss_keeps_what_it_remembers(model: str, shape: tuple[int, ...], tmp_path: Path, kills: list[int]) -> None:
    """Numbers, arrays, what each process keeps for itself, and terms that rest when the run is resumed."""
    given = {"loss": make_everything(shape, 16)}
    for name in ("straight", "killed"):
        kills.extend([12] * (name == "killed"))
        with contextlib.suppress(Killed):
            python_api.train(model, settings=SMALL, steps=STEPS, out=tmp_path / name, quiet=True, **given)
    python_api.resume(tmp_path / "killed", picks=given, quiet=True)
    assert digest(tmp_path / "killed") == digest(tmp_path / "straight")
    state = read_all_tensors(tmp_path / "straight" / "checkpoints" / "256" / layout.STATE)
    assert float(state["loss/score"]) != 0.5
    assert int(state["loss/rounds"]) == STEPS
    assert state["loss/last"].any()


def test_a_run_of_python_objects_says_which_to_give_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Simple:
        """Wasserstein's terms."""

        def discriminator(self, step: gz.Step) -> dict[str, Any]:
            return {"adversarial": step.ops.mean(step.D(step.fake)) - step.ops.mean(step.D(step.real))}

        def generator(self, step: gz.Step) -> dict[str, Any]:
            return {"adversarial": -step.ops.mean(step.D(step.fake))}

    images = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 1), dtype=np.uint8)
    run = tmp_path / "run"
    python_api.train("dcgan-torch", settings=SMALL, steps=4, out=run, quiet=True, loss=Simple(), data=images)
    assert main(["resume", str(run), "--steps", "6"]) == 2
    again = 'gz.resume(RUN, picks={"loss": …, "data": …})'
    assert (
        f"was written for Python objects (loss, data), which no file holds; give the same again, in Python: {again}"
        in (capsys.readouterr().err)
    )
    with pytest.raises(gz.UsageError, match=re.escape("for Python objects (data)")):
        python_api.resume(run, steps=6, picks={"loss": Simple()}, quiet=True)
    with pytest.raises(
        gz.UsageError, match="picks names 'lose'; expected generator, discriminator, loss, schedule, data"
    ):
        python_api.resume(run, steps=6, picks={"lose": Simple()}, quiet=True)
    done = python_api.resume(run, steps=6, picks={"loss": Simple(), "data": images}, quiet=True)
    assert done.stats[-1]["step"] == 6


def as_words(settings: dict[str, Any]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def newest(run: Path) -> int:
    """Images seen at the newest checkpoint; 0 without any."""
    return max(files.list_numbered(run / "checkpoints"), default=0)


GANZOO = ("-m", "ganzoo_core")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["dcgan-torch", "convgan-tf"])
def test_a_real_kill_and_a_real_interrupt(model: str, tmp_path: Path, start: Callable[..., Any]) -> None:
    """SIGKILL somewhere after a checkpoint; then SIGTERM, which saves; then to the end.

    How long the run is to be is decided last, so that it cannot end before it was killed and interrupted.
    """
    run, words = tmp_path / "run", (*as_words(SMALL), "--quiet", "--out")
    killed = start(*GANZOO, "run", model, *words, run, "--steps", "10000000")
    killed.wait_until(lambda: newest(run) >= 400)
    killed.kill()
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    before = newest(run)
    interrupted = start(*GANZOO, "resume", run, "--quiet")
    interrupted.wait_until(lambda: newest(run) >= before + 400)
    interrupted.terminate()
    out, _ = interrupted.communicate(timeout=120)
    assert interrupted.returncode == 130
    assert out.strip() == str(run)
    steps = str(newest(run) // 16 + 25)
    for command in (("resume", run, "--quiet"), ("run", model, *words, tmp_path / "straight")):
        last = start(*GANZOO, *command, "--steps", steps)
        _, err = last.communicate(timeout=240)
        assert last.returncode == 0, err
    ours, theirs = digest(run), digest(tmp_path / "straight")
    extra = set(ours) - set(theirs)  # a grid where the interrupt was
    assert all(name.startswith("samples/") for name in extra)
    assert {name: ours[name] for name in theirs} == theirs


def test_two_at_once_are_refused(tmp_path: Path, start: Callable[..., Any]) -> None:
    run = tmp_path / "run"
    first = start(*GANZOO, "run", "dcgan-torch", *as_words(SMALL), "--steps", "10000000", "--quiet", "--out", run)
    first.wait_until(lambda: newest(run) >= 80)
    second = run_here("resume", "run", cwd=tmp_path, code=2)
    assert "run is in use by another process" in second.stderr
    assert first.poll() is None
    first.kill()
    first.wait(timeout=60)
    folder = RunFolder.open(run)
    folder.lock().release()  # the crash left no lock behind


def test_no_run_is_named(tmp_path: Path, start: Callable[..., Any]) -> None:
    done = start(*GANZOO, "resume", "nowhere", cwd=tmp_path)
    _, err = done.communicate(timeout=120)
    assert done.returncode == 2
    assert "nowhere holds no config.yaml, so it is no run's folder" in err


@pytest.mark.skipif(os.name == "nt", reason="a umask is a Unix thing")
@pytest.mark.filterwarnings("default")
def test_files_obey_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        train(tmp_path / "run", "dcgan-torch", {})
    finally:
        os.umask(before)
    left = [path for path in (tmp_path / "run").rglob("*") if path.is_file() and path.name != ".lock"]
    assert len(left) > 10
    assert {path.stat().st_mode & 0o777 for path in left} == {0o640}


@pytest.mark.filterwarnings("default")
def test_only_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    train(tmp_path / "run", "dcgan-torch", {"train.checkpoint_keep": 3})
    kept = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert kept == {str(16 * step) for step in itertools.islice((16, 15, 10, 5), 3)}


def test_a_lock_that_is_given_up_at_once_is_waited_for(tmp_path: Path) -> None:
    """As the system does with that of a process that was killed a moment ago."""
    held = filelock.FileLock(tmp_path / layout.LOCK, thread_local=False)
    held.acquire()
    threading.Timer(0.3, held.release).start()
    RunFolder(tmp_path).lock().release()


def test_a_new_run_that_has_nothing_left_to_train_is_told_as_json(tmp_path, capsys):
    settings = {"model.width": 4, "train.batch_size": 8, "train.sample_count": 4, "engine.threads": 1}
    run = gz.train("dcgan-torch", settings=settings, steps=2, out=tmp_path / "run", quiet=True)
    words = ["resume", str(run.folder), "--set", "lr_d=5e-05", "--json", "--quiet", "--out", str(tmp_path / "new")]
    assert main(words) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert (told["status"], told["last"]) == ("done", None)
    words = "nothing is left to train: the run is 16 images long, and has seen them; say --images 32 or more in all"
    assert words in " ".join(said.err.split())


def test_a_run_that_is_too_short_already_is_told_to_be_longer_in_the_words_that_were_used(tmp_path):
    settings = {"model.width": 4, "train.batch_size": 8, "train.sample_count": 4, "engine.threads": 1}
    run = gz.train("dcgan-torch", settings=settings, steps=2, out=tmp_path / "run", quiet=True, schedule="constant")
    for length in ({"steps": 1}, {"images": 8}, {"epochs": 0.001}):
        with pytest.raises(gz.UsageError, match=rf"seen 16 images already.* say more --{next(iter(length))}$"):
            gz.resume(run.folder, **length, quiet=True)
