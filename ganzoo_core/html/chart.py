"""Charts as static SVG, for places where a page's script does not run, such as notebooks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ganzoo_core.html.markup import Html, tag

WIDTH, HEIGHT = 440, 210
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 46, 10, 26, 34  # pixels around the curves
LEGEND_ROW_HEIGHT, LETTER_WIDTH = 14, 6  # pixels; the letter's width is approximate
# Distinct from each other and on white and black backgrounds; text inherits its colour from the page.
COLOURS = ("#2b88d8", "#d9651f", "#2a9d6a", "#b857ab", "#b08800", "#2f9fc4", "#c9485e", "#7d828c")


def draw_chart(chart: Chart) -> Html:
    """One chart with title, legend and both axes, and an `aria-label` with each curve's first and last value."""
    first, last = _find_x_range(chart)
    low, high = _find_y_range(chart)
    is_log = chart.get("scale") == "log2" and low > 0
    scale = math.log2 if is_log else float
    legend = _draw_legend(chart)
    top, edge = MARGIN_TOP + LEGEND_ROW_HEIGHT * len(legend), HEIGHT - MARGIN_BOTTOM

    def x(value: float) -> float:
        return MARGIN_LEFT + (value - first) / (last - first) * (WIDTH - MARGIN_LEFT - MARGIN_RIGHT)

    def y(value: float) -> float:
        share = (scale(value) - scale(low)) / (scale(high) - scale(low))
        return edge - min(1.02, max(-0.02, share)) * (edge - top)

    levels = _list_levels(chart) if is_log else make_ticks(low, high, 4)
    drawn = [tag("text", chart["title"], x=0, y=13, font_weight="bold"), *(entry for row in legend for entry in row)]
    for value in levels:
        drawn.append(_draw_line(MARGIN_LEFT, y(value), WIDTH - MARGIN_RIGHT, y(value), opacity=0.15))
        drawn.append(
            tag(
                "text",
                f"{value:.4g}",
                x=MARGIN_LEFT - 6,
                y=_format_coordinate(y(value) + 4),
                text_anchor="end",
                opacity=0.75,
            )
        )
    for value in make_ticks(first, last, 4):
        anchor = "end" if x(value) > WIDTH - 30 else "middle"
        label_x = WIDTH if anchor == "end" else _format_coordinate(x(value))
        drawn.append(tag("text", format_thousands(value), x=label_x, y=edge + 15, text_anchor=anchor, opacity=0.75))
    name = "images seen" if chart["unit"] == "images" else chart["unit"]
    drawn.append(tag("text", name, x=WIDTH, y=edge + 30, text_anchor="end", opacity=0.75))
    for images, words in chart.get("marks") or ():
        if images > first:
            drawn.append(_draw_line(x(images), top, x(images), edge, opacity=0.4, stroke_dasharray="3 3"))
            drawn.append(tag("text", words, x=_format_coordinate(x(images) + 3), y=top + 9, opacity=0.75))
    for series in chart["series"]:
        points = [
            None if value is None else (x(at), y(value)) for at, value in zip(series["x"], series["y"], strict=True)
        ]
        if chart.get("smooth"):
            drawn.append(_draw_curve(series, points, opacity=0.3, stroke_width=1))
            means = smooth_values(series["y"])
            points = [
                None if value is None else (x(at), y(value)) for at, value in zip(series["x"], means, strict=True)
            ]
        drawn.append(_draw_curve(series, points, step=bool(chart.get("step")), stroke_width=1.6))
        if len(points) == 1 or chart.get("points"):
            drawn += [
                tag("circle", cx=_format_coordinate(p[0]), cy=_format_coordinate(p[1]), r=3, fill=_pick_colour(series))
                for p in points
                if p
            ]
    return tag(
        "svg",
        *drawn,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
        aria_label=describe_chart(chart),
        fill="currentColor",
        font_size=11,
        font_family="system-ui, sans-serif",
        style="max-width:100%;height:auto",
    )


def describe_chart(chart: Chart) -> str:
    """A text alternative: each curve's first and last value."""
    parts = []
    for series in chart["series"]:
        numbers = [value for value in series["y"] if value is not None]
        parts.append(
            f"{series['name']} from {numbers[0]:.4g} to {numbers[-1]:.4g}"
            if numbers
            else f"{series['name']} without a value"
        )
    return f"{chart['title']}: {', '.join(parts)}."


def make_ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers from low to high, in steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def format_thousands(value: float) -> str:
    """`20k`, `1.5M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * size or (value >= size and value % size == 0):
            return f"{value / size:.4g}{letter}"
    return f"{value:.6g}"


def smooth_values(values: Sequence[float | None]) -> list[float | None]:
    """A centred moving average over 2% of the points on each side, fewer at the ends; None stays None."""
    half = max(1, round(len(values) / 50))
    smoothed: list[float | None] = []
    for index, value in enumerate(values):
        reach = min(half, index, len(values) - 1 - index)
        near = [neighbour for neighbour in values[index - reach : index + reach + 1] if neighbour is not None]
        smoothed.append(None if value is None else math.fsum(near) / len(near))
    return smoothed


def _find_x_range(chart: Chart) -> tuple[float, float]:
    ends = [series["x"][index] for series in chart["series"] for index in (0, -1) if series["x"]]
    first = 0.0 if chart["unit"] == "images" else min(ends, default=0.0)
    return first, max([first + 1, *ends]) if max(ends, default=first) <= first else max(ends)


def _find_y_range(chart: Chart) -> tuple[float, float]:
    """The range of all values; extreme spikes, such as those of the first steps, are clipped."""
    if "range" in chart:
        return chart["range"][0], chart["range"][1]
    values = sorted(value for series in chart["series"] for value in series["y"] if value is not None)
    if not values:
        return 0.0, 1.0
    low, high = values[0], values[-1]
    inner_low, inner_high = (values[min(len(values) - 1, int(share * len(values)))] for share in (0.02, 0.98))
    inner = inner_high - inner_low
    if len(values) >= 50 and inner > 0:
        high = inner_high + 0.4 * inner if high > inner_high + 1.5 * inner else high
        low = inner_low - 0.4 * inner if low < inner_low - 1.5 * inner else low
    if chart.get("scale") == "log2" and 0 < low < high:
        return low, high
    if 0 < low < 0.35 * high:
        low = 0.0
    if low == high:
        room = abs(low) * 0.1 or 0.1
        return low - room, high + room
    return low, high


def _list_levels(chart: Chart) -> list[float]:
    return sorted({value for series in chart["series"] for value in series["y"] if value is not None})


def _draw_legend(chart: Chart) -> list[list[Html]]:
    """The legend's rows; empty for a single curve."""
    if len(chart["series"]) < 2:
        return []
    rows: list[list[Html]] = [[]]
    left = 0
    for series in chart["series"]:
        width = 26 + LETTER_WIDTH * len(series["name"])
        if left and left + width > WIDTH:
            rows.append([])
            left = 0
        below = 15 + LEGEND_ROW_HEIGHT * len(rows)
        rows[-1].append(tag("rect", x=left, y=below - 6, width=10, height=4, rx=2, fill=_pick_colour(series)))
        rows[-1].append(tag("text", series["name"], x=left + 14, y=below))
        left += width
    return rows


def _draw_curve(
    series: dict[str, Any], points: Sequence[tuple[float, float] | None], *, step: bool = False, **more: Any
) -> Html:
    path, before = [], False
    for point in points:
        if point is not None:
            across, up = (_format_coordinate(value) for value in point)
            path.append(f"M{across} {up}" if not before else f"V{up}H{across}" if step else f"L{across} {up}")
        before = point is not None
    return tag("path", d="".join(path), fill="none", stroke=_pick_colour(series), stroke_linejoin="round", **more)


def _draw_line(x1: float, y1: float, x2: float, y2: float, **more: Any) -> Html:
    return tag(
        "line",
        x1=_format_coordinate(x1),
        y1=_format_coordinate(y1),
        x2=_format_coordinate(x2),
        y2=_format_coordinate(y2),
        stroke="currentColor",
        **more,
    )


def _pick_colour(series: dict[str, Any]) -> str:
    return COLOURS[series["colour"] % len(COLOURS)]


def _format_coordinate(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


Chart = dict[str, Any]
