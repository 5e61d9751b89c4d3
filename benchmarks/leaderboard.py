"""The leaderboard: every model that the zoo holds, on digits and MNIST, at one small budget, with three seeds.

    python benchmarks/leaderboard.py            # all: about an hour on two cores; again, it goes on where it was
    python benchmarks/leaderboard.py --ship     # then put each model's best generator for digits into its plugin

Each run is scored three or five times while it trains, in the features of the zoo's own classifier against the test
part of the data, as `ganzoo evaluate` does: by KID, and by FID, which stands in brackets where there are few images.
The runs stand side by side, one on each core. How fast a model is is measured afterwards by itself, on all cores, over
a shorter run of the same mix. MNIST is not downloaded: it lies where GANZOO_DATA says, or where --data-root does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairs import BUSY_SHARE, read_core_seconds

from ganzoo_core.discovery import catalog
from ganzoo_core.generation.bundled import get_bundled_folder
from ganzoo_core.runs import scores

SHARE_PERCENT = 10  # of a run's length, in which speed is measured
ZOO = Path(__file__).resolve().parents[1] / "plugins"  # others that are installed are left out


@dataclass(frozen=True)
class Board:
    """One data set and its budget: real images seen, after how many it is scored, and the words that `run` is given."""

    data: str
    images: int
    evaluate_every: int
    arguments: tuple[str, ...] = ()


BOARDS = (
    Board("digits", 100_000, 20_000),
    Board("mnist", 60_000, 20_000, ("--preset", "small", "--set", "evaluate_count=2000")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/leaderboard"), help="the folder of all runs")
    parser.add_argument("--data", default=",".join(board.data for board in BOARDS), help="digits, mnist or both")
    parser.add_argument("--data-root", default=None, help="where MNIST lies")
    parser.add_argument("--models", default=",".join(list_models()), help="which models")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="runs at once (one a core)")
    parser.add_argument("--json", type=Path, default=None, help="write the figures there, too")
    parser.add_argument("--ship", action="store_true", help="train nothing; put the best generators into the plugins")
    args = parser.parse_args()
    boards = [board for board in BOARDS if board.data in args.data.split(",")]
    models = args.models.split(",")
    root = [] if args.data_root is None else ["--data-root", args.data_root]
    if args.ship:
        for model in models:
            ship(args.out / boards[0].data, model, boards[0].data)
        return
    for board in boards:
        sweep(args.out / board.data, board, models, args.seeds, args.jobs, root)
    rows = []
    for board in boards:
        for model in models:
            rows.append(make_row(args.out, board, model, root))
            print(f"{model} on {board.data}: {rows[-1]}", file=sys.stderr)
    print(to_markdown(rows))
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def list_models() -> list[str]:
    """The models of the zoo itself, PyTorch's before TensorFlow's."""
    parts = [part for part in catalog.scan().parts if part.kind == "models" and Path(part.location).is_relative_to(ZOO)]
    return [part.name for part in sorted(parts, key=lambda part: (part.frameworks[0] != "torch", len(part.name)))]


def run_ganzoo(*words: str | Path) -> None:
    """A command of the zoo; ends this one if it fails."""
    # What it prints is progress here: stdout is for the table.
    done = subprocess.run([sys.executable, "-m", "ganzoo_core", *map(str, words)], stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def sweep(out: Path, board: Board, models: Sequence[str], seeds: str, jobs: int, root: Sequence[str]) -> None:
    """All runs on one data set."""
    over = ("--over", f"model={','.join(models)}", "--over", f"seed={seeds}")
    length = ("--images", str(board.images), "--set", f"evaluate_every={board.evaluate_every}")
    run_ganzoo(
        "sweep", *over, "--data", board.data, *board.arguments, *root, *length, "--jobs", str(jobs), "--out", out
    )


def list_runs(out: Path, model: str) -> list[Path]:
    """The folders of a model's runs in a sweep."""
    return sorted(path for path in out.glob(f"model-{model}_seed-*") if path.is_dir())


def make_row(out: Path, board: Board, model: str, root: Sequence[str]) -> dict[str, Any]:
    """What one model made of one data set."""
    runs = [scores.read(run) for run in list_runs(out / board.data, model)]
    agreement = [found[-1].scores.get("agreement") for found in runs]
    speed, busy = measure_speed(out / "speed" / f"{board.data}-{model}", board, model, root)
    return {
        "data": board.data,
        "images": board.images,
        "model": model,
        "scores": {name: collect_values(runs, name) for name in list_shown_scores(runs)},
        "agreement": None if None in agreement else agreement,
        "img/s": speed,
        "minutes": board.images / speed / 60,
        "busy": busy,
    }


def list_shown_scores(runs: Sequence[Sequence[scores.Score]]) -> list[str]:
    """The scores that models are compared by, those in doubt last."""
    named = scores.list_names([found[-1] for found in runs])
    return [name for name in named if name in scores.list_main_scores()]


def collect_values(runs: Sequence[Sequence[scores.Score]], name: str) -> dict[str, Any]:
    """A score of each run, its best and its last, and that between two halves of the real images."""
    values = [[score.scores[name] for score in found if name in score.scores] for found in runs]
    last = [found[-1] for found in runs]
    return {
        "best": [min(of_run) for of_run in values if of_run],
        "last": [of_run[-1] for of_run in values if of_run],
        "real": [score.real[name] for score in last if name in score.real],
        "doubt": next((score.doubts[name] for score in last if name in score.doubts), ""),
    }


def measure_speed(out: Path, board: Board, model: str, root: Sequence[str]) -> tuple[float, bool]:
    """Images a second of a run of its own on all cores, start-up left out, and whether others kept them busy."""
    shutil.rmtree(out, ignore_errors=True)
    length = str(board.images // SHARE_PERCENT)
    began, before = time.perf_counter(), read_core_seconds(())
    run_ganzoo("run", model, "--data", board.data, *board.arguments, *root, "--images", length, "--quiet", "--out", out)
    seconds, after = time.perf_counter() - began, read_core_seconds(())
    others = 0.0
    if before is not None and after is not None:
        others = ((after[0] - before[0]) - (after[1] - before[1])) / seconds
    lines = [json.loads(line) for line in (out / "stats.jsonl").read_text(encoding="utf-8").splitlines()]
    first, final = lines[0], lines[-1]
    speed = (final["images"] - first["images"]) / (final["seconds"] - first["seconds"])
    return speed, others > BUSY_SHARE * len(os.sched_getaffinity(0))


def ship(out: Path, model: str, data: str) -> None:
    """The best generator of a model's runs becomes what its plugin carries, and its grid heads the README."""
    runs = {run: scores.read(run) for run in list_runs(out, model)}
    by_score = {collect_values([found], list_shown_scores([found])[0])["best"][0]: run for run, found in runs.items()}
    run_ganzoo("ship", by_score[min(by_score)], "--checkpoint", "best", "--name", data)
    part = catalog.scan().find("models", model)
    with tempfile.TemporaryDirectory() as folder:
        grid = Path(folder) / f"{data}.png"
        label = ("--class", "all", "-n", "8") if part.conditional else ("-n", "64")
        run_ganzoo("generate", get_bundled_folder(part, data), *label, "--out", grid)
        shutil.copy(grid, Path(part.location).parent / "shipped.png")


def to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table, the best models of each data set first; a score in doubt stands in brackets, the reason below."""
    lines = []
    for data in dict.fromkeys(row["data"] for row in rows):
        of_data = [row for row in rows if row["data"] == data]
        names = list(of_data[0]["scores"])
        of_data.sort(key=lambda row: statistics.mean(row["scores"][names[0]]["best"]))
        first = of_data[0]["scores"]
        floors = [f"{name} {format_spread(first[name]['real'])}" for name in names if first[name]["real"]]
        heads = [head for name in names for head in (f"{name}, best", f"{name}, last")]
        lines += [
            f"`{data}`, {of_data[0]['images']:,} images; between two halves of the real images: {', '.join(floors)}:",
            "",
            f"| model | {' | '.join(heads)} | asked class found | img/s | minutes |",
            "|---" * (len(heads) + 4) + "|",
        ]
        for row in of_data:
            found = "" if row["agreement"] is None else f"{statistics.mean(row['agreement']):.1%}"
            mark = " (busy)" if row["busy"] else ""
            cells = [format_cell(row["scores"][name], which) for name in names for which in ("best", "last")]
            lines.append(
                f"| {row['model']} | {' | '.join(cells)} | {found} | {row['img/s']:,.0f}{mark} | {row['minutes']:.1f} |"
            )
        lines += ["", *(f"{of_score['doubt']}.\n" for of_score in first.values() if of_score["doubt"])]
    return "\n".join(lines)


def format_cell(of_score: dict[str, Any], which: str) -> str:
    """A score's mean and range, in brackets if it is in doubt."""
    text = format_spread(of_score[which]) if of_score[which] else "–"
    return f"[{text}]" if of_score["doubt"] else text


def format_spread(values: Sequence[float]) -> str:
    """Mean and range over the seeds."""
    return f"{statistics.mean(values):.3g} ({min(values):.3g} to {max(values):.3g})"


if __name__ == "__main__":
    main()
