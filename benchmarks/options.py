"""A model in float32 as it comes against bfloat16 and compiling, where the machine takes them.

python benchmarks/options.py
python benchmarks/options.py --model dcgan-tf --size 28 --batch 256
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pairs import explain_busy, measure

from ganzoo_core import building, engines, mix
from ganzoo_core.discovery import catalog
from ganzoo_core.errors import UsageError

KINDS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"engine.precision": "bfloat16"},
    "compile": {"engine.compile": True},
    "both": {"engine.precision": "bfloat16", "engine.compile": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dcgan-torch", help="one that does not grow")
    parser.add_argument("--loss", default=None, help="the model's own without it")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5.0, help="that a block of float32 takes")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()

    images = np.random.default_rng(0).integers(0, 256, (2048, args.size, args.size, 1), dtype=np.uint8)
    loops: dict[str, Callable[[int], None]] = {}
    ready: dict[str, str] = {}
    engine = None
    for kind in dict.fromkeys(["float32", *args.kinds]):
        start = time.perf_counter()
        try:
            engine, loop = make_engine_and_loop(kind, args, images)
            loop(1)  # what is compiled is compiled here
        except UsageError as error:
            print(f"{kind} is left out: {error}")
            continue
        ready[kind] = f"{time.perf_counter() - start:.1f} s"
        loops[kind] = loop
    assert engine is not None
    load = os.getloadavg()[0]
    facts = {
        "size": args.size, "width": args.width, "batch": args.batch,
        **{name: fact for name, fact in engine.describe().items() if name not in ("precision", "compile")},
        "until the first step was done": ", ".join(f"{kind} {seconds}" for kind, seconds in ready.items()),
    }  # fmt: skip
    found = measure(loops, images=args.batch, block=args.seconds, pairs=args.pairs)
    print(f"{args.model}{f', {args.loss}' if args.loss else ''}: {', '.join(f'{k} {v}' for k, v in facts.items())}\n")
    print_table(found["rates"], args.batch)
    if busy := explain_busy(found, before=load, cores=engines.count_available_cores()):
        print(f"the machine was busy ({busy}): take none of this for a figure", file=sys.stderr)
    if args.json is not None:
        args.json.write_text(json.dumps({"facts": facts, **found}, indent=1), encoding="utf-8")


def print_table(rates: Mapping[str, list[float]], batch: int) -> None:
    """The table, as docs/precision.md has it."""
    print("| | img/s | ms a step | times float32's speed | spread |\n| --- | ---: | ---: | ---: | ---: |")
    for kind, values in rates.items():
        median = statistics.median(values)
        ratios = [ours / base for ours, base in zip(values, rates["float32"], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        ms = 1000 * batch / median
        print(f"| {kind} | {median:.1f} | {ms:.1f} | {statistics.median(ratios):.2f} | {spread} |")


def make_engine_and_loop(kind: str, args: argparse.Namespace, images: np.ndarray) -> Any:
    """The engine, and a function that takes so many steps and has finished them when it returns.

    The weights are the same for each kind.
    """
    settings = {
        "model.width": args.width, "train.batch_size": args.batch, "data.size": args.size, "engine.device": args.device,
        **KINDS[kind],
    }  # fmt: skip
    picks = {"model": args.model, "data": "digits", **({"loss": args.loss} if args.loss else {})}
    resolved = mix.resolve(catalog.scan(), mix.Request(picks=picks, assigned=settings, preset="none"))
    facts: dict[str, Any] = {"channels": 1, "classes": 0, "background": None, "conditions": {}}
    fitted = mix.make_data_fit(resolved, height=args.size, width=args.size, **facts)
    engine = engines.create_engine(resolved.framework, resolved.settings)
    engine.tell = lambda note: print(f"{kind}: {note}")
    G, D = building.build_networks(engine, resolved, fitted, {})
    plan = building.make_plan(resolved, {})
    trainer = engine.create_trainer(G, D, building.build_loss(resolved, fitted), plan, images, None)
    position = 0

    def loop(steps: int) -> None:
        nonlocal position
        for _ in range(steps):
            trainer.step(position, position * plan.images_per_step, {})
            position += 1
        trainer.pop_means()

    return engine, loop


if __name__ == "__main__":
    main()
