"""What an offline run of Weights & Biases holds, read from its file by a reader written for these tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ganzoo_core as gz
from ganzoo_trackers import weights_and_biases as tracker

wandb = pytest.importorskip("wandb")

OPTIONS = {"mode": "auto", "project": "", "entity": "", "name": "", "tags": ""}


@pytest.fixture
def run(folder: Callable[[str], Any], nobody: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A new run, in a process that knows nothing of wandb yet."""
    monkeypatch.setattr(tracker, "TIMEOUTS", {"init_timeout": 2, "finish_timeout": 2})
    wandb.teardown()
    yield folder("wandb")
    wandb.teardown()


def watch(run: Any, *lines: dict[str, Any], status: str = "done", **options: str) -> None:
    """A process that sees these lines and a grid at each."""
    tracker.on_run_start(run.run, {**OPTIONS, **options})
    for line in lines:
        tracker.on_report(run.run, line)
        tracker.on_samples(run.run, line["images"], run.picture(line["images"]))
    tracker.on_run_end(run.run, status)


def test_an_offline_run_holds_settings_numbers_and_grids(
    run: Any, read_wandb: Callable[[Path], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sys.exit, sys.excepthook, *map(signal.getsignal, (signal.SIGINT, signal.SIGTERM))
    watch(run, run.line(64), run.line(128), mode="offline", tags="first, second", project="mine")
    assert before == (sys.exit, sys.excepthook, *map(signal.getsignal, (signal.SIGINT, signal.SIGTERM)))

    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"wandb: offline; to upload the run later: wandb sync {run.run.own}/wandb/offline-run-*\n"
    (offline,) = (run.run.own / "wandb").glob("offline-run-*")
    ((begun, config, rows, ended),) = read_wandb(run.run.own)
    assert (begun.display_name, begun.project, list(begun.tags)) == (run.run.name, "mine", ["first", "second"])
    assert begun.run_id == (run.run.own / "id").read_text()
    assert config["train"] == {"lr": 2e-4, "betas": [0.5, 0.999], "lr_g": None}
    assert config["ganzoo"] == {"ganzoo": "0.1.0", "parts": {"loss": "ganzoo-losses/hinge 0.1.0"}, "notes": ["a | b"]}
    numbers = [{name: value for name, value in row.items() if name[0] != "_"} for row in rows if "step" in row]
    assert numbers == run.lines()
    pictures = {row["images"]: row["samples.path"] for row in rows if "samples.path" in row}
    assert {images: (offline / "files" / path).read_bytes() for images, path in pictures.items()} == {
        images: (run.run.folder / "samples" / f"{images}.png").read_bytes() for images in (64, 128)
    }
    assert ended.exit_code == 0


def test_a_run_that_goes_on_is_the_same_run_of_wandb(run: Any, read_wandb: Callable[[Path], list[Any]]) -> None:
    watch(run, run.line(64), mode="offline", status="interrupted")
    again = run.again(images=64)
    watch(again, again.line(128), mode="offline", status="diverged")
    first, second = read_wandb(run.run.own)
    assert first[0].run_id == second[0].run_id
    assert [row["images"] for row in first[2] if "step" in row] == [64]
    assert [row["images"] for row in second[2] if "step" in row] == [128]
    assert (first[3].exit_code, second[3].exit_code) == (130, 4)


def test_who_comes_later_is_told_of_the_past(run: Any, read_wandb: Callable[[Path], list[Any]]) -> None:
    run.line(64)
    run.picture(64)
    again = run.again(images=64)
    watch(again, again.line(128), mode="offline")
    ((_, _, rows, _),) = read_wandb(run.run.own)
    assert [row["images"] for row in rows if "step" in row] == [64, 128]
    assert [row["images"] for row in rows if "samples.path" in row] == [64, 128]


def test_without_a_login_it_is_offline_and_asks_nothing(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    watch(run)
    assert "wandb: offline (nobody is logged in); to upload" in capsys.readouterr().err


def test_offline_data_means_offline_here_too(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANZOO_OFFLINE", "1")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    watch(run)
    assert "wandb: offline (GANZOO_OFFLINE is set); to upload" in capsys.readouterr().err


def test_wandbs_own_mode_counts(run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    tracker.on_run_start(run.run, OPTIONS)
    assert run.run.memory["run"].project == "theirs"
    tracker.on_run_end(run.run, "done")
    assert "wandb: offline; to upload" in capsys.readouterr().err


def test_where_the_server_refuses_it_goes_on_offline(
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
    read_wandb: Callable[[Path], list[Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    begin = wandb.init

    def refuse_online(**asked: Any) -> Any:
        if asked["mode"] == "online":
            raise wandb.errors.CommError("no route\nand advice that is none here")
        return begin(**asked)

    monkeypatch.setattr(wandb, "init", refuse_online)
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    watch(run, run.line(64))
    assert "wandb: offline (the server cannot be reached: no route); to upload" in capsys.readouterr().err
    ((_, _, rows, _),) = read_wandb(run.run.own)
    assert [row["images"] for row in rows if "step" in row] == [64]
    with pytest.raises(wandb.Error):  # who says online means it
        tracker.on_run_start(run.run, {**OPTIONS, "mode": "online"})


def test_a_server_that_is_not_there_costs_some_seconds_and_no_run(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    watch(run, run.line(64))
    assert "wandb: offline (the server cannot be reached: " in capsys.readouterr().err


def test_online_without_a_login_is_an_error(run: Any) -> None:
    with pytest.raises(gz.UsageError, match="nobody is logged in; say `wandb login`"):
        tracker.on_run_start(run.run, {**OPTIONS, "mode": "online"})


def test_disabled_leaves_nothing(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    watch(run, run.line(64), mode="disabled")
    assert not list(run.run.own.rglob("*.wandb"))
    assert not (run.run.own / "id").exists()
    assert capsys.readouterr() == ("", "")


def test_a_run_of_the_surrounding_program_stays_its_own(run: Any, tmp_path: Path) -> None:
    theirs = wandb.init(mode="offline", dir=tmp_path, settings=wandb.Settings(console="off", silent=True))
    watch(run, run.line(64), mode="offline")
    assert wandb.run is theirs
    assert theirs.id != (run.run.own / "id").read_text()
    theirs.log({"still": 1})  # which is an error of a run that was finished
    theirs.finish()


@pytest.mark.skipif(os.name == "nt", reason="links take rights there")
@pytest.mark.parametrize("name", ["id", "wandb"])
def test_nothing_is_written_through_a_link(run: Any, tmp_path: Path, name: str) -> None:
    run.run.own.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (run.run.own / name).symlink_to(outside)
    with pytest.raises(gz.UsageError, match="is a link"):
        watch(run, run.line(64), mode="offline")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("content", [b"../../x", b"\x1b[2J", b"x" * 5000, b"\xff", b""])
def test_a_name_that_wandb_never_gave_is_replaced(run: Any, content: bytes) -> None:
    run.run.own.mkdir(parents=True)
    (run.run.own / "id").write_bytes(content)
    watch(run, run.line(64), mode="offline")
    assert (run.run.own / "id").read_text().isalnum()
