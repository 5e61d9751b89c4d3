"""From a chart's values to places in its drawing: ranges, ticks and their labels, running means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

WIDTH, PLOT_HEIGHT = 440, 150
LEFT, RIGHT, MARGIN_BOTTOM = 52, WIDTH - 10, 34  # the curves' left and right edge; pixels below them
MAX_SHARE = 1e6  # clipped values are drawn at most this many plot heights away


@dataclass(frozen=True)
class Frame:
    """A chart's ranges of x and y, and where they lie in its drawing."""

    first: float
    last: float
    low: float
    high: float
    is_log: bool
    cut: str  # what lies outside the range, if anything
    top: int

    @property
    def bottom(self) -> int:
        return self.top + PLOT_HEIGHT

    @property
    def range(self) -> str:
        """The range of y, on a logarithmic axis that of its logarithms; with all digits, since it may be narrow."""
        return f"{self.scale(self.low)!r} {self.scale(self.high)!r}"

    def scale(self, value: float) -> float:
        return math.log2(value) if self.is_log else float(value)

    def x(self, value: float) -> float:
        return LEFT + (value - self.first) / (self.last - self.first) * (RIGHT - LEFT)

    def y(self, value: float) -> float:
        share = (self.scale(value) - self.scale(self.low)) / (self.scale(self.high) - self.scale(self.low))
        return self.bottom - min(MAX_SHARE, max(-MAX_SHARE, share)) * PLOT_HEIGHT

    def transform_to(self, other: Frame) -> str | None:
        """The transform that moves what was drawn in this frame to another of the same place; also in `charts.js`."""
        if (self.low, self.high) == (other.low, other.high):
            return None
        low, size = other.scale(other.low), other.scale(other.high) - other.scale(other.low)
        factor = (self.scale(self.high) - self.scale(self.low)) / size
        shift = self.bottom * (1 - factor) - PLOT_HEIGHT * (self.scale(self.low) - low) / size
        return f"matrix(1 0 0 {factor:.9g} 0 {shift:.9g})"


def make_frame(chart: Mapping[str, Any], shown: Sequence[int], top: int) -> Frame:
    """The frame in which these series of a chart are shown."""
    ends = [series["x"][index] for series in chart["series"] for index in (0, -1) if series["x"]]
    first = 0.0 if chart["unit"] == "images" else min(ends, default=0.0)
    last = max(ends, default=first)
    low, high, cut = _find_y_range(chart, shown)
    is_log = chart.get("scale") == "log2" and low > 0
    return Frame(first, last if last > first else first + 1, low, high, is_log, cut, top)


def _find_y_range(chart: Mapping[str, Any], shown: Sequence[int]) -> tuple[float, float, str]:
    """The range of all values, and what is cut off: extreme outliers, such as those of the first steps."""
    if "range" in chart:
        return chart["range"][0], chart["range"][1], ""
    columns = [chart["series"][place].get(key) or () for place in shown for key in ("y", "lo", "hi")]
    values = sorted(value for column in columns for value in column if value is not None)
    if not values:
        return 0.0, 1.0, ""
    low, high, cut = values[0], values[-1], []
    inner_low, inner_high = (values[min(len(values) - 1, int(share * len(values)))] for share in (0.02, 0.98))
    inner = inner_high - inner_low
    if len(values) >= 50 and inner > 0:
        if high > inner_high + 1.5 * inner:
            cut.append(f"up to {high:.4g}")
            high = inner_high + 0.4 * inner
        if low < inner_low - 1.5 * inner:
            cut.append(f"down to {low:.4g}")
            low = inner_low - 0.4 * inner
    if chart.get("scale") == "log2" and 0 < low < high:
        return low, high, ""
    if low > 0 and (chart.get("fill") or low < 0.35 * high):
        low = 0.0
    if low == high:
        low, high = low - (abs(low) * 0.1 or 0.1), high + (abs(high) * 0.1 or 0.1)
    room = (high - low) * 0.05
    return low and low - room, high + room, " and ".join(cut)


def make_ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers from low to high, in steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def label_ticks(values: Sequence[float]) -> list[str]:
    """Texts with just the digits that tell the values apart: `0`, `0.5`; `10k`, `20k` from ten thousand on."""
    top = max(map(abs, values), default=0.0)
    step = min((after - before for before, after in pairwise(values)), default=top)
    if not top or not step:
        return ["0" for _ in values]
    size, letter = next(
        ((s, letter) for s, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if top >= max(s, 1e4)), (1, "")
    )
    whole = math.floor(math.log10(top / size) + 1e-9) + 1
    digits = max(1, whole, whole - math.floor(math.log10(step / size) + 1e-9))
    return [f"{value / size:.{digits}g}{letter}" if abs(value) > step * 1e-6 else "0" for value in values]


def smooth_values(values: Sequence[float | None]) -> list[float | None]:
    """A centred moving average over 2% of the points on each side, fewer at the ends; None stays None."""
    half = max(1, round(len(values) / 50))
    smoothed: list[float | None] = []
    for index, value in enumerate(values):
        reach = min(half, index, len(values) - 1 - index)
        near = [neighbour for neighbour in values[index - reach : index + reach + 1] if neighbour is not None]
        smoothed.append(None if value is None else math.fsum(near) / len(near))
    return smoothed
