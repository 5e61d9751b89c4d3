"""What happens around the step: start, data path, samples, statistics, saving, and whether any of it grows.

    uv run --all-packages python benchmarks/overhead.py

Nothing in ganzoo is changed for it: methods of the objects that a run consists of are wrapped from outside by a clock.
Each framework has a process of its own. It takes about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pairs import measure
from startup import write_fake_plugins

import ganzoo_core as gz
from ganzoo_core import mix
from ganzoo_core.discovery.catalog import scan
from ganzoo_core.mix.flags import collect_flags
from ganzoo_core.training import assemble, setup

EPOCH_IMAGES = 60_000  # images: of the run whose share of saving is told
MODELS = {"torch": ("dcgan-torch", 64, 64), "tensorflow": ("dcgan-tf", 28, 256)}  # pixels, batch
# PyTorch imports its compiler when a program makes its first optimizer, which takes as long again as itself.
IMPORTS = {"torch": "import torch, torch._dynamo", "tensorflow": "import tensorflow, keras"}
RUNNER_METHODS = ("_report", "_end_epoch", "_sample", "_save", "_checkpoint")
TINY = {"model.width": 8, "data.size": 16, "train.batch_size": 64, "model.latent_dim": 16}
BOUNDS = {"data path": 0.02, "around": 0.03, "start": 3.0}

# Ends the process where the run's first step begins, or when it has been taken.
FIRST_STEP_SCRIPT = """
import os, sys, time
from ganzoo_core.training import runner
def stop(self, *rest):
    begun = time.time()
    self.trainer.step(0, 0, self._read_schedule(0))
    self.trainer.pop_means()
    print(begun, time.time(), flush=True)
    os._exit(0)
runner.Runner._train = stop
from ganzoo_core.cli import main
main(sys.argv[1:])
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=MODELS, help="one framework")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found")
    parser.add_argument("--smoke", action="store_true", help="as little of everything as shows that it works")
    parser.add_argument("--child", choices=("shares", "growth", "plugins"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(CHILDREN[args.child](args)))
        return 0
    found: dict[str, Any] = {"load before": os.getloadavg()[0]}
    for framework in [args.only] if args.only else list(MODELS):
        found[framework] = {
            "start": time_start(framework, 1 if args.smoke else 3),
            **run_child("shares", framework, args),
            **run_child("growth", framework, args),
            "plugins": compare_with_plugins(framework, args),
        }
        print_results(framework, found[framework])
    found["load after"] = os.getloadavg()[0]
    print(f"load before {found['load before']:.2f}, after {found['load after']:.2f}")
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


def print_results(framework: str, found: dict[str, Any]) -> None:
    model, size, batch = MODELS[framework]

    def line(words: str, value: str, bound: str = "") -> None:
        print(f"  {words:<66}{value:>16}  {bound}")

    print(f"{model}, {size} px, batch {batch}")
    begun = found["start"]
    line("from command to first step, without the framework's import", f"{begun['aside']:.2f} s", "bound 3 s")
    line("  with it, and with the first step", f"{begun['begun']:.2f}, {begun['done']:.2f} s")
    for name, shares in found["shares"].items():
        line(f"{name}: a step", f"{1000 * shares['step']:.0f} ms")
        line(f"{name}: the data path of a step", f"{shares['data path']:.2%}", "bound 2 %")
        line(f"{name}: samples, statistics, saving of a run", f"{shares['around']:.2%}", "bound 3 %")
        for part, (seconds, share) in shares["parts"].items():
            line(f"  {part.strip('_').replace('_', ' ')}", f"{1000 * seconds:.1f} ms, {share:.2%}")
    for name, (ratio, low, high) in {**found["growth"], "200 more plugins": found["plugins"]}.items():
        line(f"cost of an image, {name}", f"{ratio:.3f} times", f"{low:.3f} to {high:.3f}")


# Start


def time_start(framework: str, repeats: int) -> dict[str, float]:
    """Seconds from the command to the first step, in turns with the import of the framework alone."""
    model, _, _ = MODELS[framework]
    begun, done, imports = [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            words = ["run", model, "--out", f"{folder}/run", "--steps", "1", "--quiet"]
            since = time.time()
            told = _read_output([sys.executable, "-c", FIRST_STEP_SCRIPT, *words]).split()
            begun.append(float(told[-2]) - since)
            done.append(float(told[-1]) - since)
        since = time.time()
        _read_output([sys.executable, "-c", IMPORTS[framework]])
        imports.append(time.time() - since)
    aside = [ours - theirs for ours, theirs in zip(begun, imports, strict=True)]
    return {name: statistics.median(of) for name, of in (("begun", begun), ("done", done), ("aside", aside))}


# Shares


def measure_shares(args: argparse.Namespace) -> dict[str, Any]:
    """What the data path takes of a step, and the rest of a run; of two runs."""
    model, size, batch = MODELS[args.only]
    settings: dict[str, Any] = {"data.size": size, "data.count": 2000, "train.batch_size": batch, "model.width": 64}
    steps, times = (3, 2) if args.smoke else (30, 5)
    if args.smoke:
        settings["model.width"] = 4
    with assemble_run(model, data="shapes", preset="none", steps=10**6, settings=settings) as runner:
        clock = Clock(runner)
        for number in range(3 + steps):
            if number == 3:
                clock.seconds.clear()  # the first steps are slower
            take_step(runner, batch)
        for _ in range(times):
            take_step(runner, batch)
            runner._report()
            runner._end_epoch()
            runner._sample()
            runner._checkpoint()
            runner._save(runner.folder.snapshots / str(runner.images))
        one = {name: statistics.median(clock.seconds[name]) for name in (*RUNNER_METHODS, "step", "load_reals")}
        every = {
            "_report": 50 * batch, "_end_epoch": EPOCH_IMAGES, "_sample": EPOCH_IMAGES, "_save": 5 * EPOCH_IMAGES,
            "_checkpoint": 10_000
        }  # fmt: skip
        an_image = one["step"] / batch
        parts = {name: one[name] / every[name] for name in RUNNER_METHODS}
        whole = an_image + sum(parts.values())
        long = {
            "step": one["step"],
            "data path": clock.sum_seconds("load_reals") / clock.sum_seconds("step"),
            "around": sum(parts.values()) / whole,
            "parts": {name: (one[name], each / whole) for name, each in parts.items()},
        }
    with assemble_run(model, steps=30 if args.smoke else None) as runner:  # as `ganzoo run MODEL`, to its end
        clock = Clock(runner)
        since = time.perf_counter()
        runner.run()
        whole = time.perf_counter() - since
        taken = {name: clock.sum_seconds(name) for name in RUNNER_METHODS}
        default = {
            "step": statistics.median(clock.seconds["step"]),
            "data path": clock.sum_seconds("load_reals") / clock.sum_seconds("step"),
            "around": sum(taken.values()) / whole,
            "parts": {
                name: (statistics.median(clock.seconds.get(name, [0.0])), spent / whole)
                for name, spent in taken.items()
            },
        }
    return {"shares": {f"{EPOCH_IMAGES:,} images an epoch": long, "the default run": default}}


def take_step(runner: Any, batch: int) -> None:
    """What the runner does in its loop, but for what is due now and then."""
    runner.values = runner._read_schedule(runner.images)
    runner.trainer.step(runner.step, runner.images, runner.values)
    runner.images, runner.step = runner.images + batch, runner.step + 1


class Clock:
    """Seconds that were spent in each wrapped method of a runner and its trainer, a list with one entry a call."""

    def __init__(self, runner: Any) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.began: list[float] = []
        trainer = runner.trainer
        data_path = getattr(trainer, "batches", trainer)  # PyTorch's has a class of its own
        for owner, names in ((runner, RUNNER_METHODS), (trainer, ("step",)), (data_path, ("load_reals",))):
            for name in names:
                setattr(owner, name, partial(self._time_call, name, getattr(owner, name)))

    def _time_call(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            self.seconds.setdefault(name, []).append(time.perf_counter() - began)
            if name == "step":
                self.began.append(began)

    def sum_seconds(self, name: str) -> float:
        return sum(self.seconds.get(name, []))


# Growth


def measure_growth(args: argparse.Namespace) -> dict[str, Any]:
    """The cost of an image late in a run over that of an early one, and with a large set over that with a small."""
    few, pairs, counts = (20, 2, (1_000, 10_000)) if args.smoke else (250, 6, (1_000, 1_000_000))
    model = MODELS[args.only][0]
    late = [time_steps(model, 10 * few) for _ in range(1 if args.smoke else 2)]
    ratios = [statistics.median(found[-few:]) / statistics.median(found[20 : 20 + few]) for found in late]
    tiny = partial(assemble_run, model, steps=1, settings=TINY, preset="none")
    with tiny(data=make_noise(counts[0])) as small, tiny(data=make_noise(counts[1])) as large:
        loops = {"small": make_loop(small), "large": make_loop(large)}
        rates = measure(loops, images=64, block=0.02 if args.smoke else 1.0, pairs=pairs)["rates"]
    sizes = [a / b for a, b in zip(rates["small"], rates["large"], strict=True)]
    return {
        "growth": {
            "after ten times as many": summarise_ratios(ratios),
            f"{counts[1]:,} for {counts[0]:,} in the set": summarise_ratios(sizes),
        }
    }


def time_steps(model: str, steps: int) -> list[float]:
    """Seconds from each step to the next in a run of a tiny model, whatever lies between them."""
    with assemble_run(model, data=make_noise(2_000), steps=steps, settings=TINY, preset="none") as runner:
        clock = Clock(runner)
        runner.run()
    return [float(seconds) for seconds in np.diff(clock.began)]


def compare_with_plugins(framework: str, args: argparse.Namespace) -> tuple[float, float, float]:
    """The same with 200 more plugins installed, over that without, in processes that take turns."""
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        write_fake_plugins(Path(folder), 200)
        for _ in range(1 if args.smoke else 3):
            without, among = (run_child("plugins", framework, args, path=path)["step"] for path in (None, folder))
            ratios.append(among / without)
    return summarise_ratios(ratios)


def measure_plugins(args: argparse.Namespace) -> dict[str, Any]:
    found = time_steps(MODELS[args.only][0], 40 if args.smoke else 300)
    return {"step": statistics.median(found[20:]), "installed": len(scan().parts)}


def make_noise(count: int) -> gz.ImageSource:
    """Images of 16×16 pixels."""
    return gz.ImageSource(np.random.default_rng(0).integers(0, 256, (count, 16, 16, 1), dtype=np.uint8))


def make_loop(runner: Any) -> Callable[[int], None]:
    position = 0

    def loop(steps: int) -> None:
        nonlocal position
        for _ in range(steps):
            runner.trainer.step(position, position * 64, {})
            position += 1
        runner.trainer.pop_means()

    return loop


def summarise_ratios(ratios: list[float]) -> tuple[float, float, float]:
    return statistics.median(ratios), min(ratios), max(ratios)


# Processes


@contextmanager
def assemble_run(
    model: str, *, data: Any = None, steps: int | None, preset: str | None = None, settings: Any = None
) -> Iterator[Any]:
    """A run that is ready to start, in a folder that goes away."""
    request = mix.Request(
        picks={"model": model, "data": data},
        preset=preset,
        assigned=settings or {},
        flags=collect_flags(steps=steps),
    )
    with tempfile.TemporaryDirectory() as folder:
        runner = assemble.open_run(
            setup.build(setup.load(mix.resolve(scan(), request), None), quiet=True), out=Path(folder) / "run"
        )
        try:
            yield runner
        finally:
            runner.close()


CHILDREN = {"shares": measure_shares, "growth": measure_growth, "plugins": measure_plugins}


def run_child(what: str, framework: str, args: argparse.Namespace, *, path: str | None = None) -> dict[str, Any]:
    """One measurement in a process of its own.

    Args:
        what: a key of CHILDREN.
        framework, args: as on the command line.
        path: more places where plugins are looked for.
    """
    command = [sys.executable, __file__, "--child", what, "--only", framework, *(["--smoke"] if args.smoke else [])]
    return dict(json.loads(_read_output(command, path).splitlines()[-1]))


def _read_output(command: list[str], path: str | None = None) -> str:
    environment = dict(os.environ) if path is None else {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{done.stderr}\n{' '.join(command)} failed, with exit code {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main())
