"""docs/scaling.md is what its script writes, its counts are those of the models, and its commands can be typed."""

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ganzoo_core import cli

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
COUNT_SECONDS = 1200


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("scaling")


def test_the_page_is_up_to_date(scaling: ModuleType) -> None:
    assert scaling.make_page() == PAGE, "run `python benchmarks/scaling.py > docs/scaling.md`"


def test_every_model_is_on_it(scaling: ModuleType) -> None:
    from comparisons import PUBLISHED

    counts = json.loads((BENCHMARKS / "counts.json").read_text(encoding="utf-8"))
    assert list(counts["rows"]) == [row.name for row in PUBLISHED]
    assert [PAGE.count(f"\n| {row.name} | {row.size} | {row.batch} |") for row in PUBLISHED] == [1] * len(PUBLISHED)


@pytest.mark.slow
def test_its_counts_are_those_of_the_models(tmp_path: Path) -> None:
    file = tmp_path / "counts.json"
    command = [sys.executable, str(BENCHMARKS / "counts.py"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COUNT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    now, kept = (json.loads(path.read_text(encoding="utf-8")) for path in (file, BENCHMARKS / "counts.json"))
    for entry in (*now["rows"].values(), *kept["rows"].values()):
        entry["memory_mb"] = pytest.approx(entry["memory_mb"], rel=0.1)  # a framework may free in another order
    assert now["inception"] == kept["inception"]
    assert {name: entry["gflop"] for name, entry in now["rows"].items()} == {
        name: entry["gflop"] for name, entry in kept["rows"].items()
    }
    for key in ("drawing_gflop", "parameters", "batch_norm"):
        assert [entry[key] for entry in now["rows"].values()] == [entry[key] for entry in kept["rows"].values()]


def test_its_commands_are_understood_and_share_the_batch_evenly() -> None:
    blocks = "".join(re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)).replace("\\\n", " ")
    lines = [line for line in blocks.splitlines() if re.search(r"(ganzoo|ganzoo_core) run", line)]
    assert len(lines) == 7
    for line in lines:
        before, _, words = line.rstrip(" &").partition(" run ")
        args = cli.make_parser()[0].parse_args(["run", *shlex.split(words.replace("$gpu", "0"))])
        if counts := re.findall(r"--(?:nodes|nnodes|nproc-per-node|ntasks-per-node) (\d+)", before):
            ranks = int(counts[0]) * int(counts[1]) if len(counts) > 1 else int(counts[0])
            assert ranks in (8, 64)
            assert args.batch_size % ranks == 0


def test_times_by_hand(scaling: ModuleType) -> None:
    model = importlib.import_module("scaling_model")
    link = model.Link("slow", 100.0, 0.5)
    assert model.time_all_reduce(300.0, 1, link) == 0
    assert model.time_all_reduce(300.0, 4, link) == pytest.approx(2 * 3 / 4 * 3 + 2 * 2 * 0.5)
    inside = model.time_all_reduce(800.0, 8, model.NVLINK)
    assert model.time_exchange([800.0], 8, link) == pytest.approx(inside)
    assert model.time_exchange([800.0], 16, link) == pytest.approx(inside + 2 * 1 / 2 * 1 + 2 * 0.5)
    tiny = model.Model("x", "torch", 8, 4, 67e3, 0.0, 1.0, 10, 5, ((3,), (5, 7)), 1.0, True)
    assert tiny.gradient_bytes == (20, 40)
    assert tiny.norm_bytes == [8 * channels for channels in (3, 3, *(5, 5, 7, 7) * 3)]
    assert tiny.estimate_step(2) == pytest.approx(model.MIN_STEP_SECONDS + 2)
    part = model.PART_IMAGES
    alone, shared = (model.time_score(tiny, 33.5e3, 3 * part, ranks) for ranks in (1, 2))
    assert (alone, shared) == (pytest.approx(3 * part), pytest.approx(2 * part))  # no rank takes half a part
    assert model.time_score(tiny, 33.5e3, 3 * part, 64) == pytest.approx(part)


def test_memory_is_counted_until_it_is_freed(scaling: ModuleType) -> None:
    torch = pytest.importorskip("torch")
    given = torch.ones(250, device="meta")
    with importlib.import_module("torch_work").MemoryCounter() as counter:
        first = given + 1
        view = first.view(25, 10)
        assert counter.live == 1000
        given.add_(1)  # in place: nothing is new
        second = view * 2
        del first
        assert counter.live == 2000  # the view keeps it
        del view
        assert counter.live == 1000
        assert second.shape == (25, 10)
    assert counter.peak == 2000
