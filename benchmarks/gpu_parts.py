"""What the parts of `gpu.py` share; they lie in `gpu_torch.py` and `gpu_tensorflow.py`, one framework to a process."""

from __future__ import annotations

import statistics
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from comparisons import PUBLISHED, Row
from pairs import Loop, measure

from ganzoo_core.errors import UsageError

BLOCKS_OF_PART = 30  # a block takes this share of a part's time, so that imports and first steps fit in too
MAX_BLOCK, PAIRS = 1.5, 4  # seconds of a block, blocks of each loop
TINY_BLOCK, TINY_PAIRS = 0.01, 2
SETTLING_STEPS = 3  # before memory is read: a GPU's libraries choose, and fill their workspaces, in the first


class Missing(Exception):
    """This machine lacks what a part needs; the words say what."""


@dataclass(frozen=True)
class Asked:
    """How a part is measured.

    Attributes:
        device: `cuda` or `cpu`.
        smoke: in the smallest sizes.
        seconds: that the part may take; its process is killed after them.
        grid: where the short training's samples go.
    """

    device: str
    smoke: bool
    seconds: float
    grid: str

    def find_row(self, name: str) -> Row:
        """The published row of a model, tiny in a smoke test."""
        row = next(row for row in PUBLISHED if row.name == name)
        return row.make_tiny() if self.smoke else row

    @property
    def roof(self) -> str:
        """The type in which convolutions are computed as the engine comes: on CUDA both frameworks take tf32."""
        return "tf32" if self.device == "cuda" else "float32"

    def need_cuda(self) -> None:
        """Raise Missing on another device."""
        if self.device != "cuda":
            raise Missing("no CUDA device")


Part = Callable[[Asked], Mapping[str, Any]]  # gives `says`, figures, and a `state` other than ok


def answer(part: Part, asked: Asked) -> dict[str, Any]:
    """Measure a part: `state`, `says`, and its figures. A state is `ok`, `no` where something is missing, `failed`."""
    try:
        return {"state": "ok", **part(asked)}
    except (Missing, UsageError) as error:
        return {"state": "no", "says": str(error)}
    except Exception as error:  # whatever a GPU, a driver or a compiler comes up with is this part's result
        traceback.print_exc()
        first = next(iter(str(error).strip().splitlines()), "without words")
        return {"state": "failed", "says": f"{type(error).__name__}: {first}"}


def time_loops(loops: Mapping[str, Loop], row: Row, asked: Asked) -> dict[str, list[float]]:
    """Images a second of each loop, an entry for each block; see `pairs.measure`."""
    block = TINY_BLOCK if asked.smoke else min(MAX_BLOCK, asked.seconds / BLOCKS_OF_PART)
    pairs = TINY_PAIRS if asked.smoke else PAIRS
    rates: dict[str, list[float]] = measure(loops, images=row.batch, block=block, pairs=pairs)["rates"]
    return rates


def measure_model(name: str, asked: Asked, framework: Any, read_peak: Callable[[str], float]) -> dict[str, Any]:
    """The runner beside the loop of plain.py, at a model's published size, as the engine comes.

    Args:
        name: the row's.
        asked: how.
        framework: `torch_comparisons` or `tensorflow_comparisons`.
        read_peak: MB of the device that this process has used at most, by its name.
    """
    row = asked.find_row(name)
    game = framework.make_comparison(row, asked.device)
    game.runner(SETTLING_STEPS)
    peak = read_peak(asked.device)
    rates = time_loops({"runner": game.runner, **game.others()}, row, asked)
    speed, ratio = describe_speed(rates["runner"], row), compare(rates["runner"], rates["plain"])
    plain = statistics.median(rates["plain"])
    figures = {**speed, "roof": asked.roof, "peak_mb": peak, "gflop": game.gflop(), "plain": plain, **ratio}
    return {"says": f"{speed['rate']:,.0f} img/s, {ratio['ratio']:.2f} times the plain loop", **figures}


def describe_speed(rates: list[float], row: Row) -> dict[str, Any]:
    """What the table of speeds tells of a row, from its images a second."""
    return {"rate": statistics.median(rates), "size": row.size, "batch": row.batch}


def compare(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """The median over the pairs of our speed over theirs, and the spread."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return {"ratio": statistics.median(ratios), "spread": [min(ratios), max(ratios)]}
