"""A set that stays in its file trains to the same bytes as one in memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.data import memory, prefetch

IMAGES = np.random.default_rng(1).integers(0, 256, (45, 14, 14, 1), dtype=np.uint8)
LABELS = np.arange(45) % 3
SMALL = {
    "train.batch_size": 8, "train.report_every": "3steps", "train.sample_count": 4, "data.size": 16, "model.width": 4,
    "engine.device": "cpu", "engine.threads": 1,
}  # fmt: skip


def left(folder: Path) -> tuple[bytes, bytes, bytes, list[dict[str, float]]]:
    """What a run learnt, drew and told, without the clock."""
    weights = next((folder / "generator").glob("*.safetensors")).read_bytes()
    grids = [(folder / "samples" / name).read_bytes() for name in ("real.png", "latest.png")]
    stats = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    clock = {"seconds", "images_per_second"}
    return weights, *grids, [{key: line[key] for key in line if key not in clock} for line in stats]


@pytest.mark.parametrize(("model", "framing"), [("dcgan-torch", "pad"), ("cgan-torch", "none"), ("dcgan-tf", "pad")])
def test_training_from_a_file_is_training_from_memory(tmp_path, monkeypatch, model, framing):
    images = IMAGES if framing == "pad" else np.pad(IMAGES, ((0, 0), (1, 1), (1, 1), (0, 0)))
    np.save(tmp_path / "images.npy", images)
    labels = (LABELS, tuple("abc")) if model.startswith("c") else (None, ())

    def train(name: str, found: np.ndarray, steps: int = 8) -> Path:
        data = gz.ImageSource(found, *labels, background=0)
        return gz.train(
            model, data=data, preset="none", steps=steps, settings=SMALL, out=tmp_path / name, quiet=True
        ).folder

    held = left(train("held", images))
    read: list[str] = []
    take = prefetch.Prefetcher.take
    monkeypatch.setattr(memory, "measure_free_memory", lambda: 1000)
    monkeypatch.setattr(prefetch.Prefetcher, "take", lambda *given: read.append("batch") or take(*given))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert left(train("mapped", mapped)) == held
    assert len(read) >= 8
    if model == "cgan-torch":
        begun, source = train("resumed", mapped, steps=5), gz.ImageSource(mapped, *labels, background=0)
        # Where it ended at first, it reported once more.
        assert left(gz.resume(begun, steps=8, picks={"data": source}, quiet=True).folder)[:3] == held[:3]
