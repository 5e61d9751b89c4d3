"""`benchmarks/first_look.py`: the distance on small arrays, and the floor beside it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.data.framing import Framing

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "first_look.py"
SIDE, USED = 8, 30  # pixels a side, and how many of them vary


@pytest.fixture(scope="module")
def first_look() -> ModuleType:
    spec = importlib.util.spec_from_file_location("first_look", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def crosses(means: np.ndarray, reaches: np.ndarray) -> np.ndarray:
    """Images uint8 [2·USED,8,8,1], of which each pair is off the mean in one pixel, to either side.

    Their covariance is diagonal: 2·reach²/(2·USED - 1) for each of the pixels that vary.
    """
    images = np.full((2 * USED, SIDE * SIDE), 128)
    images[:, :USED] = means
    for pixel, reach in enumerate(reaches):
        images[2 * pixel, pixel] += reach
        images[2 * pixel + 1, pixel] -= reach
    return images.astype(np.uint8).reshape(-1, SIDE, SIDE, 1)


@pytest.mark.parametrize("shift", [0, 9])
def test_the_distance_of_gaussians_with_diagonal_covariances(first_look: ModuleType, shift: int) -> None:
    """|mean difference|² + the sum over axes of (deviation - deviation)²: Dowson and Landau 1982, for covariances that
    commute."""
    reaches, others = np.arange(20, 20 + USED), np.arange(60, 60 - USED, -1)
    means, moved = np.full(USED, 120), 120 + shift * (np.arange(USED) % 2)
    found = first_look.compute_distance(crosses(moved, others), crosses(means, reaches))
    deviation = np.sqrt(2 / (2 * USED - 1)) / 255
    expected = (((moved - means) / 255) ** 2).sum() + ((deviation * (reaches - others)) ** 2).sum()
    assert found == pytest.approx(expected, rel=1e-6)


def test_a_set_is_at_no_distance_from_itself(first_look: ModuleType) -> None:
    images = crosses(np.full(USED, 120), np.arange(20, 20 + USED))
    assert first_look.compute_distance(images, images) == pytest.approx(0, abs=1e-9)


def test_the_distance_is_that_of_ganzoo_scores(first_look: ModuleType) -> None:
    from ganzoo_scores import fid

    assert first_look.compute_frechet_distance is fid.compute_frechet_distance


def test_real_images_are_framed_and_made_as_small_again(first_look: ModuleType) -> None:
    """Padding is cut away without a trace. Enlarging blurs, so that fine patterns come back paler."""
    images = np.random.Generator(np.random.Philox(0)).integers(0, 256, (80, SIDE, SIDE, 1), dtype=np.uint8)
    source = gz.ImageSource(images)
    padded = first_look.frame_images(source, Framing((8, 8), (10, 10), "pad"), 1)
    np.testing.assert_array_equal(padded, images)
    assert first_look.compute_distance(padded, images) == pytest.approx(0, abs=1e-9)
    enlarged = first_look.frame_images(source, Framing((8, 8), (32, 32), "resize"), 1)
    assert enlarged.shape == (80, 32, 32, 1)
    assert first_look.compute_distance(enlarged, images) > 0.01
    flat = gz.ImageSource(np.arange(80, dtype=np.uint8).repeat(64).reshape(80, SIDE, SIDE, 1))
    same = first_look.frame_images(flat, Framing((8, 8), (32, 32), "resize"), 1)
    np.testing.assert_allclose(first_look.shrink(same), first_look.shrink(flat.images), atol=1e-9)


@pytest.mark.slow
def test_the_table_has_the_floor_beside_the_distance(
    first_look: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"model.width": 4, "data.size": 32, "engine.threads": 1, "train.sample_count": 4}
    run = gz.train("dcgan-torch", data="digits", settings=settings, steps=1, out=tmp_path / "run", quiet=True).folder
    monkeypatch.setattr(first_look, "compute_agreement", lambda *_: 0.5)
    monkeypatch.setattr(first_look, "COUNT", 200)
    found = first_look.measure_run(run)
    assert 0 < found["framed"] < found["distance"]
    monkeypatch.setattr("sys.argv", ["first_look.py", str(run)])
    capsys.readouterr()
    first_look.main()
    header, rule, line = [text.strip("| \n").split(" | ") for text in capsys.readouterr().out.splitlines()]
    assert header[2:4] == ["distance", "real ones, framed"]
    assert len(header) == len(rule) == len(line)
    assert line[2:4] == [f"{found['distance']:.3f}", f"{found['framed']:.3f}"]
