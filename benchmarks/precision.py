"""Whether a model may be trained in bfloat16, and what it gains: FIDs of several seeds in both precisions, and speeds.

    python benchmarks/precision.py fids dcgan-torch progan-tf            # trains 2 × 3 runs of each and scores them
    python benchmarks/precision.py speed dcgan-torch --presets digits few cifar10

A model's manifest names the presets for which the banner of a run offers bfloat16, with the factor that `speed` found
here, if the FIDs that `fids` found are alike: see "bfloat16" in docs/precision.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from pairs import Loop, explain_busy, measure

from ganzoo_core import engines, mix
from ganzoo_core.discovery import catalog
from ganzoo_core.errors import UsageError
from ganzoo_core.runs.layout import CONFIG, GENERATOR, STATS
from ganzoo_core.runs.stats import read_stats
from ganzoo_core.training import setup

PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    fids = commands.add_parser("fids", help="train and score")
    fids.add_argument("models", nargs="+")
    fids.add_argument("--data", default="digits")
    fids.add_argument("--preset", default="digits")
    fids.add_argument("--images", type=int, default=None, help="the preset's length without it")
    fids.add_argument("--seeds", type=int, default=3)
    fids.add_argument("--threads", type=int, default=1)
    fids.add_argument(
        "--out", type=Path, default=Path("runs/precision"), help="runs that are there are not trained again"
    )
    speed = commands.add_parser("speed", help="time steps in alternating blocks")
    speed.add_argument("models", nargs="+")
    speed.add_argument("--data", default=None, help="the preset's name where it is a data set, else digits")
    speed.add_argument("--presets", nargs="+", default=["digits"], help="those that a model lacks are passed over")
    speed.add_argument("--pairs", type=int, default=5)
    speed.add_argument("--seconds", type=float, default=1.5, help="that a block of float32 takes")
    args = parser.parse_args()
    compare = compare_fids if args.command == "fids" else compare_speeds
    try:
        compare(args)
    except UsageError as error:
        raise SystemExit(str(error)) from None


def compare_fids(args: argparse.Namespace) -> None:
    """Train each model in both precisions, a pair of runs a seed, and print a table of FIDs and of the runs' speeds."""
    print("| model | FIDs in float32 | in bfloat16 | means | times float32's speed |\n| --- | --- | --- | --- | --- |")
    for model in [catalog.scan().find("models", name).name for name in args.models]:
        scores: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        rates: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        for seed in range(args.seeds):
            for precision in PRECISIONS if seed % 2 == 0 else PRECISIONS[::-1]:
                length = "whole" if args.images is None else args.images
                run = args.out / f"{model}-{args.data}-{args.preset}-{length}-{precision}-{seed}"
                scores[precision].append(train_and_score(run, model, precision, seed, args))
                rates[precision].append(statistics.median(row["images_per_second"] for row in read_stats(run / STATS)))
        columns = [", ".join(f"{fid:.2f}" for fid in scores[precision]) for precision in PRECISIONS]
        means = " and ".join(f"{statistics.mean(scores[precision]):.2f}" for precision in PRECISIONS)
        ratios = [fast / base for fast, base in zip(rates["bfloat16"], rates["float32"], strict=True)]
        speedups = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| `{model}` | {' | '.join(columns)} | {means} | {speedups} |", flush=True)


def train_and_score(run: Path, model: str, precision: str, seed: int, args: argparse.Namespace) -> float:
    """The FID of a run against the held-out images, by the extractor that is the default for its data."""
    words = ["run", model, "--data", args.data, "--preset", args.preset, "--seed", str(seed), "--out", str(run)]
    words += ["--set", f"engine.precision={precision}", "--set", f"engine.threads={args.threads}"]
    words += ["--track", "", "--quiet"]
    words += [] if args.images is None else ["--images", str(args.images)]
    if not (run / GENERATOR).exists():
        call_ganzoo(["resume", str(run), "--quiet"] if (run / CONFIG).exists() else words)
    result = json.loads(call_ganzoo(["evaluate", str(run), "--metrics", "fid", "--json"]))
    return float(result["scores"][0]["scores"]["fid"])


def call_ganzoo(words: list[str]) -> str:
    """Run a command in another process and return its output."""
    done = subprocess.run([sys.executable, "-m", "ganzoo_core", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"ganzoo {shlex.join(words)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def compare_speeds(args: argparse.Namespace) -> None:
    """Time training steps of each model and preset in both precisions, and print a table."""
    print("| model, preset | img/s in float32 | in bfloat16 | times float32's speed | spread |")
    print("| --- | ---: | ---: | ---: | --- |", flush=True)
    installed, load = catalog.scan(), os.getloadavg()[0]
    for model in args.models:
        for preset in args.presets:
            if preset not in installed.find("models", model).presets:
                print(f"{model} has no preset {preset}", file=sys.stderr)
                continue
            is_data = any(part.kind == "datasets" and part.name == preset for part in installed.parts)
            data = args.data or (preset if is_data else "digits")
            loops = {precision: make_loop(model, data, preset, precision) for precision in PRECISIONS}
            found = measure(
                {precision: loop for precision, (loop, _) in loops.items()},
                images=loops["float32"][1], block=args.seconds, pairs=args.pairs,
            )  # fmt: skip
            rates: dict[str, list[float]] = found["rates"]
            ratios = [fast / base for fast, base in zip(rates["bfloat16"], rates["float32"], strict=True)]
            medians = " | ".join(f"{statistics.median(rates[precision]):.1f}" for precision in PRECISIONS)
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            print(f"| `{model}`, {preset} | {medians} | {statistics.median(ratios):.2f} | {spread} |", flush=True)
            if busy := explain_busy(found, before=load, cores=engines.count_available_cores()):
                print(f"the machine was busy ({busy}): take none of this for a figure", file=sys.stderr)


def make_loop(model: str, data: str, preset: str, precision: str) -> tuple[Loop, int]:
    """A function that trains as many steps as it is told, and the images of a step.

    The schedule's values are those at the end of a run: a growing model is timed at its full size, where it spends most
    of its time.
    """
    asked: dict[str, Any] = {"engine.precision": precision}
    request = mix.Request(picks={"model": model, "data": data}, preset=preset, assigned=asked)
    built = setup.build(setup.load(mix.resolve(catalog.scan(), request), None), quiet=True)
    values, images = built.schedule(built.intervals.end), built.mix.settings["train.batch_size"]
    steps = itertools.count()

    def loop(count: int) -> None:
        for step in itertools.islice(steps, count):
            built.trainer.step(step, step * images, values)
        built.trainer.pop_means()

    return loop, images


if __name__ == "__main__":
    main()
