"""A run that draws from conditions: its scores of pairs, and `benchmarks/translation.py`, in numbers found by hand."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.generation.data_rows import load_for_generator
from ganzoo_core.runs import scores

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "translation.py"


@pytest.fixture(scope="module")
def translation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("translation", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure_psnr(images: np.ndarray, targets: np.ndarray) -> float:
    return 10 * math.log10(255**2 / np.mean((images.astype(float) - targets) ** 2))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("translated")
    rng = np.random.default_rng(0)
    np.savez(place / "set.npz", images=rng.integers(0, 256, (20, 32, 32, 3), np.uint8))
    settings = {"model.width": 1, "data.derive": "mask:0.25", "engine.threads": 1, "train.batch_size": 4}
    settings |= {"train.evaluate_every": "2steps"}
    made = gz.train(
        "pix2pix-torch", data=f"npz:{place}/set.npz", settings=settings, preset="none", steps=2, out=place / "run",
        quiet=True,
    )  # fmt: skip
    return made.folder


def test_evaluate_compares_each_output_with_its_target(run: Path) -> None:
    (score,) = gz.evaluate(run, metrics=["pairs", "kid"], extractor="bundled", score_real_images=False)
    generator = gz.load(run)
    rows = load_for_generator(generator.folder, generator.card, count=9, in_order=True)
    targets = gz.hold_out(gz.ImageSource(np.load(run.parent / "set.npz")["images"]), "test").images
    assert np.array_equal(rows.images, np.asarray(targets))
    assert score.protocol["samples"] == 4
    drawn = generator.generate(on={"source": rows.conditions["source"]})
    assert score.scores["psnr"] == pytest.approx(measure_psnr(drawn, rows.images), rel=1e-6)
    assert score.scores["feature-distance"] > 0
    assert set(score.scores) == {"psnr", "ssim", "feature-distance", "kid", "kid_std"}


def test_scores_during_training_know_the_targets_too(run: Path) -> None:
    (score,) = scores.read(run)[:1]
    assert score.extra["during"] == "training"
    assert score.scores["psnr"] > 0


@pytest.mark.slow
def test_the_benchmark_puts_all_side_by_side(
    run: Path,
    translation: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    argv = ["translation.py", str(run), "--l1", str(run), "--picture", str(tmp_path / "rows.png")]
    monkeypatch.setattr("sys.argv", argv)
    translation.main()
    table = capsys.readouterr().out
    for name in ("mean fill", "L1 alone", "GAN", "real halves", "PSNR", "KID"):
        assert f"| {name}" in table
    assert (tmp_path / "rows.png").stat().st_size > 0


def test_what_needs_no_network(translation: ModuleType) -> None:
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (2, 4, 4, 1), np.uint8)
    name, copied = translation.translate_simply(source, 3, "grey")
    assert (name, copied.shape) == ("grey copied", (2, 4, 4, 3))
    assert all(np.array_equal(copied[..., [c]], source) for c in range(3))
    enlarged = rng.integers(0, 256, (2, 4, 4, 3), np.uint8)
    assert translation.translate_simply(enlarged, 3, "downscale:4") == ("bicubic", enlarged)
    assert translation.translate_simply(source, 3, "edges") == ("", None)

    masked = np.zeros((1, 2, 2, 4), np.uint8)
    masked[0, :, 0] = [[10, 20, 30, 0], [20, 40, 60, 0]]
    masked[0, :, 1] = [[128, 128, 128, 255], [128, 128, 128, 255]]
    name, filled = translation.translate_simply(masked, 3, "mask:0.5")
    assert name == "mean fill"
    assert filled[0, :, 0].tolist() == [[10, 20, 30], [20, 40, 60]]
    assert filled[0, :, 1].tolist() == [[15, 30, 45]] * 2
