"""Networks that grow and take a picture: it shrinks and fades as the real images do, in training and in drawing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.data.framing import shrink_conditions
from ganzoo_core.evaluation import drawing_worker
from ganzoo_core.runs.folder import RunFolder

from .conftest import Site

SIDE = 16
SETTINGS: dict[str, Any] = {
    "data.derive": "grey",
    "schedule.stable_images": 16,
    "schedule.fade_images": 16,
    "train.batch_size": 4,
    "train.sample_count": 4,
    "train.report_every": "1steps",
    "train.snapshot_every": "8",
    "train.ema_halflife": 20,
    "engine.threads": 1,
    "engine.device": "cpu",
    "use.loss": "paired",
    "use.schedule": "progressive",
}
LENGTH = 96  # images: 4, 8 and 16 pixels


def block_means(images: np.ndarray, side: int) -> np.ndarray:
    step = images.shape[1] // side
    places = range(0, images.shape[1], step)
    return np.stack(
        [[images[:, y : y + step, x : x + step].mean(axis=(1, 2)) for x in places] for y in places]
    ).transpose(2, 0, 1, 3)


@pytest.mark.parametrize(("resolution", "fade"), [(4, 1.0), (8, 0.25), (16, 0.0), (16, 1.0)])
def test_pictures_of_the_images_size_shrink_and_fade_and_nothing_else_does(resolution: int, fade: float) -> None:
    rng = np.random.default_rng(1)
    rows = {
        "source": rng.integers(0, 256, (3, SIDE, SIDE, 2), dtype=np.uint8),
        "small": rng.integers(0, 256, (3, 8, 8, 1), dtype=np.uint8),
        "vector": rng.standard_normal((3, 4), dtype=np.float32),
        "index": np.arange(3),
    }
    shrunk = shrink_conditions(rows, (SIDE, SIDE), {"resolution": resolution, "fade": fade, "lr_g": 0.1})
    means = block_means(rows["source"].astype(np.float64), resolution)
    coarse = block_means(means, resolution // 2).repeat(2, axis=1).repeat(2, axis=2)
    assert shrunk["source"].dtype == np.uint8
    assert np.abs(shrunk["source"] - (fade * means + (1 - fade) * coarse)).max() <= 0.5 + 1e-3
    assert all(shrunk[name] is rows[name] for name in ("small", "vector", "index"))
    assert shrink_conditions(rows, (SIDE, SIDE), {"lr_g": 0.1}) == rows


@pytest.fixture(params=["torch", pytest.param("tf", marks=pytest.mark.slow)])
def framework(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip({"torch": "torch", "tf": "tensorflow"}[name])
    return name


@pytest.mark.filterwarnings("default")
def test_a_growing_network_is_trained_and_drawn_from_a_picture(
    framework: str, conditioned: Site, tmp_path: Path
) -> None:
    """The fixture's networks refuse a picture that does not lie over the image of the moment."""
    run = tmp_path / "run"
    gz.train(f"riser-{framework}", data="squares16", settings=SETTINGS, images=LENGTH, out=run, quiet=True)
    terms: list[Mapping[str, Any]] = RunFolder(run).read_stats()
    assert len(terms) == LENGTH // 4
    assert all(np.isfinite(line["generator/distance"]) for line in terms)

    image = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "own.png")
    for images, side in ((16, 4), (40, 8), (LENGTH, SIDE)):
        generator = gz.load(run, checkpoint=images if images < LENGTH else "last")
        assert generator.generate(on=tmp_path / "own.png").shape == (1, side, side, 3)
        asked = {"generator": str(generator.folder), "n": 3, "seed": 0, "device": "cpu"}
        paths = {name: str(tmp_path / f"{name}.npy") for name in ("images", "labels", "targets")}
        drawn = drawing_worker.handle_request({**asked, **paths}, print)
        assert (drawn["size"][0], drawn["paired"]) == (side, side == SIDE)
