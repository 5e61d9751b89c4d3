"""Trackers see a whole run, in order, and cannot hurt it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ganzoo_core as gz

from .conftest import Site

pytest.importorskip("torch")

WATCHER = """
import json
from pathlib import Path
import ganzoo_core as gz

def note(run, what, **more):
    run.own.mkdir(parents=True, exist_ok=True)
    with (run.own / "seen.jsonl").open("a") as file:
        file.write(json.dumps({"what": what, **more}) + "\\n")

@gz.hookimpl
def on_run_start(name, run, options):
    run.memory["lines"] = 0
    note(run, "start", name=name, images=run.images, lr=run.settings["train.lr"], mark=options["mark"])

@gz.hookimpl
def on_report(run, line):
    run.memory["lines"] += 1
    note(run, "report", line=dict(line))

@gz.hookimpl
def on_samples(run, images, path):
    note(run, "samples", images=images, bytes=len(path.read_bytes()))

@gz.hookimpl
def on_checkpoint(run, images, path):
    note(run, "checkpoint", images=images, files=sorted(file.name for file in path.iterdir()))

@gz.hookimpl
def on_run_end(run, status):
    note(run, "end", status=status, lines=run.memory["lines"])
"""
BROKEN = """
import ganzoo_core as gz

@gz.hookimpl
def on_run_start(run):
    pass

@gz.hookimpl
def on_report(line):
    raise SystemExit("no network")

@gz.hookimpl
def on_run_end(status):
    raise OSError("no network either")
"""


def manifest(name: str) -> str:
    return (
        f'api = 1\n[trackers.{name}]\ntitle = "A tracker"\nhooks = "{name}.hooks"\n'
        f'[trackers.{name}.defaults]\ntrack.{name}.mark = "m"\n'
    )


@pytest.fixture
def watchers(here: Site) -> Site:
    """`watcher` works, `broken` raises, `unready` cannot be imported, `idle` has no hook."""
    hooks = {"watcher": WATCHER, "broken": BROKEN, "unready": "import no_such_client\n", "idle": "import json\n"}
    for name, code in hooks.items():
        here.add(name, manifest(name), files={"__init__.py": "", "hooks.py": code})
    return here


def train(folder: Path, steps: int, *trackers: str, **settings: Any) -> gz.Run:
    small = {"model.width": 4, "train.batch_size": 8, "use.schedule": "constant", "engine.threads": 1, **settings}
    return gz.train("dcgan-torch", trackers=trackers, steps=steps, settings=small, out=folder, quiet=True)


def seen(folder: Path, what: str = "") -> list[dict[str, Any]]:
    lines = (folder / "trackers" / "watcher" / "seen.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if what in ("", event["what"])]


def test_a_tracker_sees_the_whole_run_and_what_the_run_keeps(watchers: Site, tmp_path: Path) -> None:
    often = {"train.report_every": "2steps", "train.checkpoint_every": "2steps", "track.watcher.mark": "hello"}
    run = train(tmp_path / "run", 4, "watcher", **often)
    told = seen(run.folder)
    assert told[0] == {"what": "start", "name": "watcher", "images": 0, "lr": 4e-4, "mark": "hello"}
    assert told[-1] == {"what": "end", "status": "done", "lines": 2}
    assert [event["line"] for event in seen(run.folder, "report")] == run.stats
    grids = {event["images"] for event in seen(run.folder, "samples")}
    assert grids == {int(path.stem) for path in (run.folder / "samples").glob("[0-9]*.png")}
    saved = seen(run.folder, "checkpoint")
    assert [event["images"] for event in saved] == [16, 32]
    assert saved[-1]["files"] == ["manifest.json", "position.json", "state.safetensors"]


def test_it_watches_again_when_the_run_goes_on(
    watchers: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tmp_path / "run", 2, "watcher")
    capsys.readouterr()
    gz.resume(run.folder, steps=3)
    assert "watcher will watch the run, as its config.yaml says; --track '' keeps them out" in capsys.readouterr().err
    assert [event["images"] for event in seen(run.folder, "start")] == [0, 16]
    gz.resume(run.folder, steps=4, trackers=[])
    assert "will watch" not in capsys.readouterr().err
    assert [event["images"] for event in seen(run.folder, "start")] == [0, 16]


def test_those_that_fail_are_told_of_once_and_change_nothing(
    watchers: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    often = {"train.report_every": "1steps"}
    alone = train(tmp_path / "alone", 4, **often)
    capsys.readouterr()
    beside = train(tmp_path / "beside", 4, "broken", "watcher", "unready", "idle", **often)
    said = capsys.readouterr().err
    assert said.count("said once") == 3
    assert "broken (broken 1.0): on_report raised SystemExit: no network" in said
    assert "no network either" not in said
    assert "it needs no_such_client, which is not installed" in said
    assert "watches nothing; mark a function such as on_report with @gz.hookimpl" in said
    assert seen(beside.folder)[-1]["status"] == "done"
    weights = [(run.folder / "generator" / "generator.safetensors").read_bytes() for run in (alone, beside)]
    assert weights[0] == weights[1]


def test_a_tracker_that_is_not_there_is_a_users_mistake(watchers: Site) -> None:
    words = ("run", "dcgan-torch", "--steps", "1", "--track")
    done = watchers.run(*words, "wacher")
    assert done.returncode == 2
    assert "did you mean watcher?" in done.stderr
    twice = watchers.run(*words, "watcher,watcher")
    assert twice.returncode == 2
    assert "the tracker watcher is picked twice" in twice.stderr
