"""`benchmarks/gpu.py` runs whole on a CPU, ends what does not end by itself, and knows every model."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ganzoo_core.discovery import catalog

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NEED_CUDA = {"tf32", "synchronisation", "nccl", "compile", "cuda-graphs"}
WAIT_SECONDS = 540


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu")


def run(tmp_path: Path, *words: str) -> tuple[dict[str, Any], str]:
    """The results of `gpu.py --smoke`, name -> result, and what it printed."""
    out, grid = tmp_path / "gpu.json", tmp_path / "grids" / "samples.png"
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--smoke", "--json", str(out), "--grid", str(grid), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(out.read_text(encoding="utf-8"))["parts"], done.stdout


def test_parts_run_in_one_process(tmp_path: Path) -> None:
    names = ["peaks", "float32", "compile", "r3gan-torch", "pix2pix-torch"]
    results, printed = run(tmp_path, *(word for name in names for word in ("--only", name)))
    assert [(name, result["state"]) for name, result in results.items()] == [
        (name, "no" if name == "compile" else "ok")
        for name in ("peaks", "float32", "r3gan-torch", "pix2pix-torch", "compile")
    ]
    assert results["compile"]["says"] == "no CUDA device"
    assert set(results["peaks"]["peaks"]) == {"float32", "tf32", "bfloat16"}
    model = results["r3gan-torch"]
    assert {"rate", "plain", "ratio", "gflop", "peak_mb"} <= set(model)
    used = model["rate"] * model["gflop"] / results["peaks"]["peaks"]["float32"]
    assert f"| r3gan-torch | 16 | 8 | {model['rate']:,.0f} |" in printed
    assert f" | {used:.1%} | {model['peak_mb']:,.0f} |" in printed
    assert "| compile | **no** | no CUDA device |" in printed


@pytest.mark.slow
def test_all_of_it_runs(gpu: ModuleType, tmp_path: Path) -> None:
    results, printed = run(tmp_path)
    assert list(results) == [part.name for group in gpu.group_parts(gpu.PARTS, together=True) for part in group]
    states = {name: result["state"] for name, result in results.items() if name != "bfloat16"}
    assert states == {name: "no" if name in NEED_CUDA else "ok" for name in states}
    assert results["bfloat16"]["state"] in ("ok", "no")  # the processor may lack it
    assert {results[name]["says"] for name in NEED_CUDA} == {"no CUDA device"}
    assert (tmp_path / "grids" / "samples.png").stat().st_size > 0
    assert str(tmp_path) not in printed
    known = [importlib.import_module(f"gpu_{framework}").PARTS for framework in ("torch", "tensorflow")]
    assert {name for parts in known for name in parts} == {part.name for part in gpu.PARTS}


def test_every_model_is_there_with_its_own_batch(gpu: ModuleType) -> None:
    models = {
        part.name: part
        for part in catalog.scan().parts
        if part.kind == "models" and part.distribution.startswith("ganzoo-")
    }
    rows = {row.model: row for row in gpu.PUBLISHED}
    assert rows.keys() == models.keys()
    for name, row in rows.items():
        assert ((row.framework,), row.batch) == (models[name].frameworks, models[name].defaults["train.batch_size"])
        assert "model.width" not in row.settings
        assert row.make_tiny().size in models[name].image_sizes
        assert row.size in models[name].image_sizes


def test_a_part_that_does_not_end_is_ended_with_what_it_started(gpu: ModuleType, tmp_path: Path) -> None:
    mark, log = tmp_path / "alive", tmp_path / "log.txt"
    # A process of its own, which writes after its parent is gone.
    late = f"import time, pathlib; time.sleep(2); pathlib.Path({str(mark)!r}).touch()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {late!r}])"
    assert gpu.run_until([sys.executable, "-c", code], 0.5, log, "cpu") is None
    time.sleep(3)
    assert not mark.exists()


def test_what_a_lost_process_measured_stays(
    gpu: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers, log = tmp_path / "answers.jsonl", tmp_path / "log.txt"
    answers.write_text('{"name": "peaks", "state": "ok", "says": "fast"}\n', encoding="utf-8")
    log.write_text("a warning\nSegmentation fault\n", encoding="utf-8")
    results = gpu.read_answers(["peaks", "nccl"], answers, log, -11, 20.0)
    assert results["peaks"] == {"state": "ok", "says": "fast"}
    assert results["nccl"] == {"state": "failed", "says": "its process ended with exit code -11: Segmentation fault"}
    assert "a warning" in capsys.readouterr().err
    late = gpu.read_answers(["nccl"], tmp_path / "none", log, None, 20.0)
    assert late == {"nccl": {"state": "no", "says": "not done within its 20 s; --minutes gives it more"}}


def test_time_is_shared_by_weight_and_what_does_not_fit_is_told(gpu: ModuleType) -> None:
    groups = [[gpu.Part("a")], [gpu.Part("b", 3.0)], [gpu.Part("c", 2.0)]]
    assert [gpu.share_time(60.0, groups[place:]) for place in range(3)] == [10.0, 36.0, 60.0]
    args = gpu.argparse.Namespace(minutes=1.0)
    assert gpu.measure_group(groups[0], 1.0, args) == {"a": {"state": "no", "says": "no time left of 1 minutes"}}


def test_why_a_part_is_not_ok(gpu: ModuleType) -> None:
    parts = importlib.import_module("gpu_parts")
    asked = parts.Asked("cpu", True, 10.0, "")

    def fail(asked: Any) -> dict[str, Any]:
        raise RuntimeError("out of memory\nmore words")

    assert parts.answer(lambda asked: {"says": "1", "rate": 2}, asked) == {"state": "ok", "says": "1", "rate": 2}
    assert parts.answer(lambda asked: asked.need_cuda(), asked) == {"state": "no", "says": "no CUDA device"}
    assert parts.answer(fail, asked) == {"state": "failed", "says": "RuntimeError: out of memory"}
