"""What a run leaves when the disk, the numbers or the process fail. Long forms: `faults.py`, `kills.py`."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ganzoo_core as gz
from ganzoo_core import python_api
from ganzoo_core.generation import load
from ganzoo_core.runs import layout
from ganzoo_core.runs.folder import RunFolder
from ganzoo_core.storage import atomic

HERE = Path(__file__).parent
SMALL = {
    "model.width": 4, "model.latent_dim": 8, "data.size": 16, "train.batch_size": 16, "train.report_every": "2steps",
    "train.checkpoint_every": "4steps", "train.sample_count": 4, "engine.threads": 1,
}  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="it forks")
def test_every_system_call_of_the_writer_may_fail_or_be_the_last() -> None:
    done = subprocess.run(
        [sys.executable, HERE / "faults.py"], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert min(counts["broken at"].values()) > 50


def no_room(*args: Any, **keywords: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.filterwarnings("default")
def test_a_full_disk_is_told_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two checkpoints fail, then there is room again."""
    write, calls = atomic.write_folder, []

    def sometimes(path: Path, contents: Any, **more: Any) -> None:
        if path.name != "data":
            calls.append(path)
        (no_room if len(calls) in (1, 2) else write)(path, contents, **more)

    monkeypatch.setattr(atomic, "write_folder", sometimes)
    run = python_api.train("dcgan-torch", settings=SMALL, steps=12, out=tmp_path / "run", quiet=True)
    told = " ".join(capsys.readouterr().err.split())
    assert "the checkpoint at 64 images could not be saved (No space left on device)" in told
    assert "the checkpoint at 128 images could not be saved" in told
    assert "192 images could not" not in told
    assert [line["step"] for line in run.stats] == [2, 4, 6, 8, 10, 12]
    assert RunFolder.open(run.folder).read_generator_images() == 192


@pytest.mark.filterwarnings("default")
def test_a_disk_that_stays_full_fails_the_run_and_keeps_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = atomic.write_folder

    def first_only(path: Path, contents: Any, **more: Any) -> None:
        (write if path.name in ("64", "data") else no_room)(path, contents, **more)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_folder", first_only)
        with pytest.raises(gz.GanzooError, match=r"could not be saved in .*run \(No space left on device\).*resume"):
            python_api.train("dcgan-torch", settings=SMALL, steps=12, out=tmp_path / "run", quiet=True)
    newest = RunFolder.open(tmp_path / "run").find_newest_checkpoint()
    assert newest == tmp_path / "run" / "checkpoints" / "64"
    run = python_api.resume(tmp_path / "run", quiet=True)
    assert [line["step"] for line in run.stats] == [2, 4, 6, 8, 10, 12]


class Exploding:
    """Fine until step 6, and not finite from then on; `until` says how often."""

    def __init__(self, times: int) -> None:
        self.times, self.calls = times, 0

    def discriminator(self, step: gz.Step) -> dict[str, Any]:
        self.calls += 1
        scale = 1.0
        if self.calls >= 6 and self.times:
            self.times, scale = self.times - 1, float("nan")
        return {"adversarial": scale * step.ops.mean(step.D(step.fake) - step.D(step.real))}

    def generator(self, step: gz.Step) -> dict[str, Any]:
        return {"adversarial": -step.ops.mean(step.D(step.fake))}


@pytest.mark.filterwarnings("default")
def test_divergence_names_the_network_and_keeps_the_last_finite_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(
        gz.Diverged, match=r"the run diverged: .* at step \d+, so the (generator|discriminator)"
    ) as caught:
        python_api.train("dcgan-torch", loss=Exploding(99), settings=SMALL, steps=12, out=tmp_path / "run", quiet=True)
    assert caught.value.exit_code == 4
    assert "on_divergence=rollback" in str(caught.value)
    newest = RunFolder.open(tmp_path / "run").find_newest_checkpoint()
    assert newest == tmp_path / "run" / "checkpoints" / "64"


@pytest.mark.filterwarnings("default")
def test_rollback_goes_on_from_the_last_checkpoint_with_half_the_rates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**SMALL, "train.on_divergence": "rollback", "train.lr": 1e-3, "use.schedule": "constant"}
    run = python_api.train(
        "dcgan-torch", loss=Exploding(1), settings=settings, steps=12, out=tmp_path / "run", quiet=True
    )
    assert "back at 64 images, with the learning rates divided by 2" in " ".join(capsys.readouterr().err.split())
    rates = {line["step"]: line["lr_g"] for line in run.stats}
    assert rates == {2: 1e-3, 4: 1e-3, 6: 5e-4, 8: 5e-4, 10: 5e-4, 12: 5e-4}
    assert all(line["discriminator/adversarial"] is not None for line in run.stats)


@pytest.mark.filterwarnings("default")
def test_rollback_gives_up_in_the_end(tmp_path: Path) -> None:
    settings = {**SMALL, "train.on_divergence": "rollback"}
    with pytest.raises(gz.Diverged):
        python_api.train(
            "dcgan-torch", loss=Exploding(99), settings=settings, steps=12, out=tmp_path / "run", quiet=True
        )


@pytest.mark.filterwarnings("default")
def test_a_generator_alone_draws_the_same_bytes_and_says_of_another_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = python_api.train("dcgan-torch", settings=SMALL, steps=2, out=tmp_path / "run", quiet=True)
    wanted = run.generate(5, seed=3)
    alone = tmp_path / "elsewhere"
    (tmp_path / "run" / "generator").rename(alone)
    assert (load.load(alone).generate(5, seed=3) == wanted).all()
    card = json.loads((alone / layout.CARD).read_text())
    card["part"]["version"] = "0.0.1"
    (alone / layout.CARD).write_text(json.dumps(card))
    assert (load.load(alone).generate(5, seed=3) == wanted).all()
    told = " ".join(capsys.readouterr().err.split())
    assert "was made by dcgan-torch of ganzoo-dcgan-torch 0.0.1, and 0.1.0 is installed" in told
    card["part"]["distribution"] = "ganzoo-gone"
    (alone / layout.CARD).write_text(json.dumps(card))
    with pytest.raises(gz.UsageError, match="pip install ganzoo-gone"):
        load.load(alone)


def test_refused_resumes_beside_a_run_lose_nothing() -> None:
    command = [sys.executable, HERE / "refusals.py", "--seconds", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["refused"] > 0


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("what", ["removed", "moved", "begun anew"])
def test_a_folder_that_goes_while_its_run_trains_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Else its checkpoints would lie in a folder without settings, or another run's statistics would be cut."""
    place, write = tmp_path / "run", RunFolder.write_checkpoint
    other = b"another run's\n"

    def write_and_lose(folder: RunFolder, *args: Any, **more: Any) -> Path:
        path = write(folder, *args, **more)
        place.rename(tmp_path / "moved")
        if what == "begun anew":
            place.mkdir()
            for name, content in ((".lock", b""), ("config.yaml", b""), ("stats.jsonl", other)):
                (place / name).write_bytes(content)
        elif what == "removed":
            shutil.rmtree(tmp_path / "moved")
        return path

    monkeypatch.setattr(RunFolder, "write_checkpoint", write_and_lose)
    with pytest.raises(gz.GanzooError, match="was removed, moved or begun anew while its run trained"):
        python_api.train("dcgan-torch", settings=SMALL, steps=12, out=place, quiet=True)
    if what == "begun anew":
        assert (place / "stats.jsonl").read_bytes() == other
        assert not (place / "checkpoints").exists()
    else:
        assert not place.exists()
    if what == "moved":
        monkeypatch.undo()
        assert python_api.resume(tmp_path / "moved", quiet=True).stats[-1]["step"] == 12


@pytest.mark.filterwarnings("default")
def test_statistics_that_go_while_a_run_trains_end_it_and_a_new_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, write = tmp_path / "run", RunFolder.write_checkpoint

    def write_and_lose(folder: RunFolder, *args: Any, **more: Any) -> Path:
        path = write(folder, *args, **more)
        (place / "stats.jsonl").unlink()
        return path

    monkeypatch.setattr(RunFolder, "write_checkpoint", write_and_lose)
    advice = r"ganzoo resume .*run --set train.checkpoint_keep=2"
    with pytest.raises(gz.GanzooError, match=rf"stats.jsonl was cut or removed while its run trained.*{advice}"):
        python_api.train("dcgan-torch", settings=SMALL, steps=12, out=place, quiet=True)
    monkeypatch.undo()
    with pytest.raises(gz.UsageError, match=rf"holds 0 of the \d+ lines that were written.*{advice}"):
        python_api.resume(place, quiet=True)
    new = python_api.resume(place, settings={"train.checkpoint_keep": 2}, out=tmp_path / "new", quiet=True)
    assert new.stats[-1]["step"] == 12
