"""One thread against all cores, and how a thread waits, on a quiet machine and beside busy processes.

    uv run --all-packages python benchmarks/threads.py
    uv run --all-packages python benchmarks/threads.py --model dcgan-tf --size 28 --width 16 --batch 16

Each way trains in a process of its own, in alternating blocks; the others sleep meanwhile. OpenMP's threads spin for a
while before they sleep: *spin* is its own measure (300,000 rounds, 1,000 where there are more threads than cores),
*brief* a hundredth of it, *passive* none. TensorFlow's threads do not read these variables.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from options import make_engine_and_loop
from pairs import explain_busy, measure

from ganzoo_core.engines import count_available_cores

WAITS: dict[str, dict[str, str]] = {
    "spin": {},
    "brief": {"GOMP_SPINCOUNT": "3000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
}


class WorkerLoop:
    """Training steps in a process of its own, with that many threads, which wait as they are told."""

    def __init__(self, threads: int, environment: Mapping[str, str], options: Mapping[str, Any]) -> None:
        ours = {name: word for name, word in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", json.dumps(dict(options))],
            env={**ours, **environment, "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid

    def __call__(self, steps: int) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(steps, file=self.process.stdin, flush=True)
        if not self.process.stdout.readline():
            raise RuntimeError("a process that trains has ended; its last words stand above")

    def close(self) -> None:
        """End the process."""
        self.process.communicate()  # closes its input


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dcgan-torch", help="one that does not grow")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--busy", default="0,1,2", help="numbers of busy processes beside it (0,1,2)")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2.0, help="that a block of the first way takes")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve_steps(json.loads(args.serve))
        return
    options = {name: getattr(args, name) for name in ("model", "size", "width", "batch")}
    cores, load = count_available_cores(), os.getloadavg()[0]
    found: dict[str, Any] = {}
    with start_loops(options, cores) as loops:
        for busy in map(int, args.busy.split(",")):
            with keep_busy(busy):
                found[str(busy)] = measure(loops, images=args.batch, block=args.seconds, pairs=args.pairs)
    print(f"{', '.join(f'{name} {value}' for name, value in options.items())}; {cores} cores\n")
    print_table(found)
    disturbed = explain_busy(found["0"], before=load, cores=cores) if "0" in found else ""
    if disturbed:
        print(f"the machine was busy ({disturbed}): take none of this for a figure", file=sys.stderr)
    if args.json is not None:
        args.json.write_text(json.dumps({"options": options, "found": found}, indent=1), encoding="utf-8")


@contextlib.contextmanager
def start_loops(options: Mapping[str, Any], cores: int) -> Iterator[dict[str, WorkerLoop]]:
    """A process for one thread, and for all cores one for each way to wait."""
    loops = {"1 thread": WorkerLoop(1, {}, options)}
    for wait, environment in WAITS.items() if cores > 1 else ():
        loops[f"{cores} threads, {wait}"] = WorkerLoop(cores, environment, options)
    try:
        yield loops
    finally:
        for loop in loops.values():
            loop.close()


@contextlib.contextmanager
def keep_busy(count: int) -> Iterator[None]:
    """That many processes that never rest."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def print_table(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Images a second of each way, and its speed over that of one thread."""
    print("| busy processes | way | img/s | over one thread | spread |\n| ---: | --- | ---: | ---: | ---: |")
    for busy, of_busy in found.items():
        base = of_busy["rates"]["1 thread"]
        for way, rates in of_busy["rates"].items():
            ratios = [ours / theirs for ours, theirs in zip(rates, base, strict=True)]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            print(f"| {busy} | {way} | {statistics.median(rates):.1f} | {statistics.median(ratios):.2f} | {spread} |")


def serve_steps(options: Mapping[str, Any]) -> None:
    """The other end of `WorkerLoop`: takes as many steps as each line says."""
    size = options["size"]
    images = np.random.default_rng(0).integers(0, 256, (2048, size, size, 1), dtype=np.uint8)
    _, loop = make_engine_and_loop("float32", argparse.Namespace(**options, loss=None, device="cpu"), images)
    for line in sys.stdin:
        loop(int(line))
        print("done", flush=True)


if __name__ == "__main__":
    main()
