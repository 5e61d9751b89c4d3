"""Scores during training: the best generator and its checkpoint are kept, and nothing of the run changes by it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import evaluation
from ganzoo_core.runs.scores import Score

pytest.importorskip("torch")

SMALL = {
    "model.width": 4, "train.batch_size": 16, "train.report_every": "2steps", "train.checkpoint_every": "4steps",
    "train.checkpoint_keep": 1, "train.snapshot_every": "off", "train.evaluate_count": 4, "engine.threads": 1,
}  # fmt: skip
FID = {32: 9.0, 64: 3.0, 96: 5.0, 128: 4.0}  # by images seen
PROTOCOL = {"data": "digits", "reference": "test"}


class Scripted:
    """A scorer whose scores are written down above."""

    reference_count = 100
    part_size = 3  # of the four images
    closed = 0

    def __init__(self, question: Any, *, say: Any, **more: Any) -> None:
        self.asked: list[int] = []

    def score_parts(self, parts: Any, labels: Any, *, seen: int, ema: bool, during: str, **_: Any) -> Score:
        assert [images.shape for images in parts] == [(3, 32, 32, 1), (1, 32, 32, 1)]
        better = {"fid": "lower"}
        return Score(seen, {"fid": FID[seen]}, {**PROTOCOL, "ema": ema}, better=better, extra={"during": during})

    def close(self) -> None:
        Scripted.closed += 1


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(evaluation, "Scorer", Scripted)
    monkeypatch.setattr(evaluation, "make_request", lambda **asked: asked)
    Scripted.closed = 0
    return


def train(folder: Path, **settings: Any) -> Path:
    asked = {**SMALL, "train.evaluate_every": "2steps", **settings}
    return gz.train("dcgan-torch", steps=8, settings=asked, out=folder, quiet=True).folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def scored(folder: Path) -> list[int]:
    return [json.loads(line)["images"] for line in (folder / "scores.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_best_is_kept_beside_the_newest(scripted: None, tmp_path: Path) -> None:
    folder = train(tmp_path / "run")
    assert scored(folder) == [32, 64, 96, 128]
    assert names(folder / "checkpoints") == ["128", "64"]  # a keep of 1 is for the newest
    assert names(folder / "snapshots") == ["32", "64"]  # each was the best when it was saved
    assert gz.load(folder, checkpoint="best").images_seen == 64
    assert Scripted.closed == 1


def test_a_run_that_is_scored_is_the_run_that_is_not(scripted: None, tmp_path: Path) -> None:
    scored_run, plain = train(tmp_path / "scored"), train(tmp_path / "plain", **{"train.evaluate_every": "off"})
    states = [folder / "checkpoints" / "128" / "state.safetensors" for folder in (scored_run, plain)]
    assert states[0].read_bytes() == states[1].read_bytes()
    assert not (plain / "scores.jsonl").exists()
    assert names(plain / "checkpoints") == ["128"]


def test_what_is_found_again_after_a_crash_stands_there_once(scripted: None, tmp_path: Path) -> None:
    folder = train(tmp_path / "run")
    shutil.rmtree(folder / "checkpoints" / "128")
    shutil.rmtree(folder / "generator")
    gz.resume(folder, quiet=True)
    assert scored(folder) == [32, 64, 96, 128]
    assert names(folder / "checkpoints") == ["128", "64"]


def test_images_without_a_test_part_are_refused(scripted: None, tmp_path: Path) -> None:
    images = np.zeros((32, 32, 32, 1), np.uint8)
    with pytest.raises(gz.UsageError, match="name a dataset, or leave"):
        gz.train("dcgan-torch", data=images, settings={**SMALL, "train.evaluate_every": "2steps"}, out=tmp_path / "r")
