"""Training from shards that stay encoded: the bytes of training from a folder, by whatever number of processes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ganzoo_core as gz
from ganzoo_core.cli import main
from ganzoo_core.data import memory
from ganzoo_core.data.reading import encoded
from ganzoo_core.data.reading.pool import WorkerPool

sys.path.insert(0, str(Path(__file__).parent))
from shard_sets import make_jpegs, write_folder, write_shards  # noqa: E402
from test_mapped_training import left  # noqa: E402

JPEGS = make_jpegs(41)
SETTINGS: dict[str, Any] = {
    "train.batch_size": 8, "train.report_every": "3steps", "train.sample_count": 4, "model.width": 4,
    "train.checkpoint_every": "24", "data.size": 16, "data.holdout": 0, "engine.device": "cpu", "engine.threads": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _little_memory(tmp_path_factory, monkeypatch):
    """No set is decoded into memory, and the cache is the test's own."""
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(memory, "measure_free_memory", lambda: 1000)


def train(data: str, out: Path, *, model: str = "cgan-torch", steps: int = 8, **more: Any) -> Path:
    settings = {**SETTINGS, **more}
    return gz.train(model, data=data, preset="none", steps=steps, settings=settings, out=out, quiet=True).folder


@pytest.mark.parametrize("model", ["cgan-torch", "dcgan-tf"])
def test_shards_train_as_the_same_pictures_in_a_folder(tmp_path, monkeypatch, model):
    write_folder(tmp_path / "folder", JPEGS)
    write_shards(tmp_path / "shards", JPEGS)
    of_folder = left(train(f"folder:{tmp_path / 'folder'}", tmp_path / "run", model=model))
    decoded = []
    read = encoded.EncodedImages.__getitem__
    monkeypatch.setattr(encoded.EncodedImages, "__getitem__", lambda *given: decoded.append(1) or read(*given))
    for workers in ("0", "1", "2") if model == "cgan-torch" else ("1",):
        run = train(f"shards:{tmp_path / 'shards'}", tmp_path / workers, model=model, **{"data.workers": workers})
        assert left(run) == of_folder, workers
        assert f"data.workers: {workers}" in (run / "config.yaml").read_text().replace("'", "").replace('"', "")
    assert len(decoded) >= 8
