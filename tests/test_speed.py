"""The benchmark counts the right work, and runs; no test times anything."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ganzoo_core.engines import bfloat16

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FIELDS = {"name", "gflop", "parameters", "peak_mb", "rates", "faults", "steps", "load_before", "load_after", "others"}


@pytest.fixture
def games(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("comparisons")


@pytest.mark.slow
def test_precisions_are_compared_by_fids_and_by_speeds(tmp_path: Path) -> None:
    if bfloat16.describe_missing_features(bfloat16.read_cpu_features()):
        pytest.skip("this processor has no bfloat16")
    command = [sys.executable, str(BENCHMARKS / "precision.py")]
    fids = ["fids", "cgan-torch", "--images", "64", "--seeds", "1", "--out", str(tmp_path)]
    speed = ["speed", "progan-tf", "--pairs", "1", "--seconds", "0.01"]
    for words, columns in ((fids, 5), (speed, 5)):
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        row = done.stdout.splitlines()[-1].strip("| ").split(" | ")
        assert (len(row), row[0].split("`")[1]) == (columns, words[1])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"cgan-torch-digits-digits-64-{precision}-0" for precision in ("float32", "bfloat16")}
    done = subprocess.run([*command, "speed", "gcan-torch"], capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "did you mean cgan-torch" in done.stderr


@pytest.mark.slow
def test_scoring_is_timed_and_all_kinds_find_the_same_scores(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "scoring.py"), "dcgan-torch", "--data", "digits", "--metrics", "kid"]
    command += ["--extractor", "bundled", "--pairs", "1", "-n", "600", "--json", str(tmp_path / "found.json")]
    for more, key, rows in (([], "kinds", 5), (["--batches", "8"], "batches", 2)):
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        assert len(json.loads((tmp_path / "found.json").read_text())[key]) == rows


def test_what_overhead_times_by_name_exists(games: ModuleType) -> None:
    from ganzoo_core.engines.tensorflow.trainer import Trainer as TensorFlowTrainer
    from ganzoo_core.engines.torch.batches import Batches
    from ganzoo_core.engines.torch.trainer import Trainer as TorchTrainer
    from ganzoo_core.training.runner import Runner

    overhead = importlib.import_module("overhead")
    assert [name for name in (*overhead.RUNNER_METHODS, "_read_schedule") if not hasattr(Runner, name)] == []
    assert hasattr(Batches, "load_reals")
    assert hasattr(TensorFlowTrainer, "load_reals")
    assert hasattr(TensorFlowTrainer, "step")
    assert hasattr(TorchTrainer, "step")
    for tutorials in ("torch_tutorials", "tensorflow_tutorials"):
        assert "def make_loop(" in (BENCHMARKS / f"{tutorials}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("penalty", [False, True])
def test_work_of_a_grouped_convolution_is_that_of_the_formula(games: ModuleType, groups: int, penalty: bool) -> None:
    """Each filter meets the channels of its own group alone, in weight gradients too."""
    import torch

    counter = importlib.import_module("torch_work").FlopCounter()
    conv = torch.nn.Conv2d(16, 24, 3, padding=1, groups=groups, bias=False, device="meta")
    images = torch.empty(5, 16, 7, 9, device="meta", requires_grad=True)
    once = 2 * 5 * 7 * 9 * 24 * (16 // groups) * 3 * 3  # forward; also each gradient, by inputs or weights
    with counter:
        score = conv(images).square().sum()
        if penalty:
            (gradient,) = torch.autograd.grad(score, images, create_graph=True)
            score = gradient.square().sum()
        score.backward()
    # With the penalty: forward, the gradient by the images, and both of these back, each by inputs and weights.
    assert counter.flop == once * (6 if penalty else 3)


@pytest.mark.slow
def test_work_in_pytorch_is_that_of_the_formula(games: ModuleType) -> None:
    """Per image, 2 for each number of the kernel and each pixel of the smaller map, once a pass."""
    counting = importlib.import_module("torch_comparisons")
    row = next(row for row in games.ROWS if row.name == "dcgan-torch-64")
    ours = games.RowSetup(row, "cpu", **{"engine.threads": 1})
    deep = [2 * 16 * 64 * 128 * 16**2, 2 * 16 * 128 * 256 * 8**2, 2 * 16 * 256 * 512 * 4**2]
    edge, score, project = 2 * 16 * 64 * 32**2, 2 * 16 * 512, 2 * 100 * 16 * 512
    # D sees reals and fakes, forward and back, by its inputs and by its weights, except by the images; and for G the
    # fakes again, forward and back by its inputs. G goes forward and back by both, except by z.
    D = (3 + 3 + 2) * (sum(deep) + score) + (2 + 2 + 2) * edge
    G = 3 * (sum(deep) + edge) + 2 * project
    plain = importlib.import_module(f"{games.find_package(row)}.plain")
    assert counting.count_gflop(plain, ours, *ours.build_networks()) == pytest.approx((D + G) / 1e9, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("updates", ["simultaneous", "alternating"])
def test_work_in_tensorflow_is_that_of_the_formula(games: ModuleType, updates: str) -> None:
    counting = importlib.import_module("tensorflow_comparisons")
    row = next(row for row in games.ROWS if row.name == "dcgan-tf").make_tiny()
    ours = games.RowSetup(row, "cpu", **{"train.updates": updates, "engine.threads": 1})
    counted = counting.FlopCounter()
    (counting.plain_step if updates == "simultaneous" else counting.plain_alternating)(ours, counted)
    # With 4 channels at the image: 5×5 kernels, and 14×14 and 7×7 maps.
    d_edge, d_deep, d_score = 2 * 25 * 4 * 14**2, 2 * 25 * 4 * 8 * 7**2, 2 * 8 * 7**2
    project, g_deep = 2 * 100 * 16 * 7**2, [2 * 25 * 16 * 8 * 7**2, 2 * 25 * 8 * 4 * 7**2 * 4 // 4]
    g_edge = 2 * 25 * 4 * 14**2
    fakes = 1 + 2 + 1 if updates == "simultaneous" else 3 + 2  # shared, the fakes go forward once
    D = (3 + fakes) * (d_deep + d_score) + (2 + fakes - 1) * d_edge
    G = 3 * (sum(g_deep) + g_edge) + 2 * project
    assert counted.make_counter(row.batch)() == pytest.approx((D + G) / 1e9, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "row",
    [
        "dcgan-torch-32", "cgan-torch", "cgan-projection-torch", "sngan-torch", "r3gan-torch", "pix2pix-torch",
        "dcgan-tf", "convgan-tf", "progan-tf",
    ],
)  # fmt: skip
def test_every_row_runs(games: ModuleType, row: str, tmp_path: Path) -> None:
    loops = {"runner", "plain"} | ({"tutorial"} if next(r for r in games.ROWS if r.name == row).tutorial else set())
    out = tmp_path / "speed.json"
    command = [sys.executable, str(BENCHMARKS / "speed.py"), "--smoke", "--markdown", "--only", row, "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert [each["name"] for each in found["rows"]] == [row]
    for game in found["rows"][0]["games"]:
        assert set(game) == FIELDS
        assert loops <= set(game["rates"])
        assert f"| {row}, {game['name']} | runner |" in done.stdout
