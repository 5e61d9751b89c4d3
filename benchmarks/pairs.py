"""Time loops against each other: alternating blocks in one process, medians, and ratios with their spread."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

BUSY = 0.5  # a load above this before the start means that something else runs


def measure(
    loops: Mapping[str, Callable[[int], None]], *, images: int, steps: int, pairs: int, warm_up: int = 3
) -> dict[str, Any]:
    """Run blocks of each loop in turn.

    Args:
        loops: name -> a function that takes that many steps and has finished them when it returns.
        images: real images a step.
        steps: steps a block.
        pairs: blocks of each loop.
        warm_up: steps of each before the first block.

    Returns:
        For each loop its images a second, a list with one entry a block; the load before and after.
    """
    load_before = os.getloadavg()[0]
    for loop in loops.values():
        loop(warm_up)
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for pair in range(pairs):
        # Each order half of the time, so that neither always runs on the warmer machine.
        for name in list(loops) if pair % 2 == 0 else list(loops)[::-1]:
            start = time.perf_counter()
            loops[name](steps)
            rates[name].append(steps * images / (time.perf_counter() - start))
    return {"rates": rates, "load_before": load_before, "load_after": os.getloadavg()[0], "steps": steps}


def report(title: str, found: dict[str, Any], facts: Mapping[str, Any], *, base: str, out: Path | None) -> None:
    """Print the table, and write the JSON where `out` says."""
    rates = found["rates"]
    print(f"{title}: {' · '.join(f'{key} {value}' for key, value in facts.items())}")
    print(f"load before {found['load_before']:.2f}, after {found['load_after']:.2f}")
    if found["load_before"] > BUSY:
        print("the machine was busy: take none of this for a figure", file=sys.stderr)
    print(f"{'loop':<12}{'img/s':>9}{'ms a step':>11}{f'{base} over it':>24}{'spread':>16}")
    images = facts["batch"]
    for name, values in rates.items():
        median = statistics.median(values)
        ratios = [ours / theirs for ours, theirs in zip(rates[base], values, strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{name:<12}{median:>9.1f}{1000 * images / median:>11.1f}{statistics.median(ratios):>24.2f}{spread:>16}")
    if out is not None:
        out.write_text(json.dumps({"title": title, "facts": dict(facts), **found}, indent=1), encoding="utf-8")
