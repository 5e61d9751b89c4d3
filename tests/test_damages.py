"""`benchmarks/features.py` and `benchmarks/damages.py`, on a few pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("ganzoo_features")

SCRIPTS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def features() -> ModuleType:
    sys.path.insert(0, str(SCRIPTS))
    try:
        import features
    finally:
        sys.path.remove(str(SCRIPTS))
    return features


@pytest.fixture(scope="module")
def faces(features: ModuleType) -> np.ndarray:
    return np.stack([features.damages.draw_face(number) for number in range(40)])


def test_kid_is_that_of_the_paper(features: ModuleType) -> None:
    """The unbiased estimate of arXiv:1801.01401, equation 4, summed pair by pair."""
    random = np.random.default_rng(0)
    x, y = random.standard_normal((5, 3)), random.standard_normal((4, 3))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 3 + 1) ** 3)

    within_x = np.mean([k(x[i], x[j]) for i in range(5) for j in range(5) if i != j])
    within_y = np.mean([k(y[i], y[j]) for i in range(4) for j in range(4) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    assert features.compute_kid(x, y) == pytest.approx(within_x + within_y - 2 * across)


def test_stronger_damage_changes_more(features: ModuleType, faces: np.ndarray) -> None:
    for name, do in features.damages.PICTURE_DAMAGES.items():
        damaged = [do(faces, strength).astype(float) for strength in range(1, 6)]
        assert {image.shape for image in damaged} == {faces.shape}, name
        changes = [np.abs(image - faces).mean() for image in damaged]
        assert features.is_ordered(changes), f"{name}: {changes}"


def test_damages_of_a_set(features: ModuleType) -> None:
    modes = np.arange(40) % 10
    left = [features.damages.SET_DAMAGES["modes missing"](modes, strength) for strength in range(1, 6)]
    assert [len(np.unique(modes[places])) for places in left] == [9, 8, 7, 5, 2]
    repeated = [features.damages.SET_DAMAGES["copies"](modes, strength) for strength in range(1, 6)]
    assert [(len(places), len(set(places))) for places in repeated] == [(40, n) for n in (20, 10, 5, 2, 2)]


def test_what_is_measured(features: ModuleType, faces: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    """Noise on pixels is told; the table counts orders and takes medians."""
    read = lambda: features.damages.PictureSet(faces)  # noqa: E731
    wanted = {"pixels": {"noise", "copies"}}
    rows = list(features.measure_set("faces", read, features.bundled.WEIGHTS_FILE, wanted))
    assert [(row["extractor"], row["damage"]) for row in rows] == [("pixels", "copies"), ("pixels", "noise")]
    assert rows[1]["clear"][-1] > rows[1]["clear"][0]
    capsys.readouterr()
    rows = [
        {"set": "a", "damage": "noise", "extractor": "pixels", "clear": [1.0, 2, 3, 4, 5]},
        {"set": "a", "damage": "blur", "extractor": "pixels", "clear": [3.0, 2, 3, 4, 9]},
    ]
    features.print_table("set", rows)
    assert "| a | 1 of 2; 2.0 to 7 |" in capsys.readouterr().out
