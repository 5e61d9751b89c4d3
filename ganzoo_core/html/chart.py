"""Draw charts as SVG: colours, bands, ticks and legends of every page, of notebooks and of `curves.svg`.

The page's script, `assets/charts.js`, draws no curve. It reads the ranges of a drawing from its `data-` attributes,
shows values under the pointer, and hides curves.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ganzoo_core.html.markup import Html, tag
from ganzoo_core.html.scales import (
    LEFT,
    MARGIN_BOTTOM,
    PLOT_HEIGHT,
    RIGHT,
    WIDTH,
    Frame,
    label_ticks,
    make_frame,
    make_ticks,
    smooth_values,
)

# Each has a contrast of 3 or more with the light and the dark page (WCAG 1.4.11). Further curves are dashed.
COLOURS = ("#2b88d8", "#d9651f", "#2a9d6a", "#b857ab", "#a87f00", "#2493b8", "#c9485e", "#7d828c")
CURVE_WIDTH, PALE_WIDTH, POINT_SIZE = 1.6, 1, 6  # pixels
BAND_OPACITY, PALE_OPACITY, GRID_OPACITY, AXIS_OPACITY, TEXT_OPACITY = 0.15, 0.3, 0.15, 0.4, 0.75
LINE_HEIGHT, KEY_WIDTH, LETTER_WIDTH = 14, 14, 6.2  # pixels; the letter's width is approximate
SVG, FONT = "http://www.w3.org/2000/svg", "system-ui, sans-serif"
CLIP_MARGIN = 4  # pixels around the plot in which lines and points are still drawn

Chart = Mapping[str, Any]
"""What a chart shows.

Keys: `id`; `title`; `unit` of x; `series`, see below; and optionally `range`, the lowest and highest y; `scale`, which
may be "log2"; `smooth`, pale curves below their running mean; `step`; `points`; `fill`, shade below the curves;
`legend`, also for a single curve; `marks`, labelled vertical lines as pairs of x and text.

A series has `name`, `colour` (an index, see `COLOURS`), `x`, `y` (None where there is no value), and optionally the
edges of a band around it, `lo` and `hi`.
"""


def draw_chart(chart: Chart, *, interactive: bool = False, **attributes: object) -> Html:
    """Draw a chart with title, legend and both axes, and an `aria-label` with each curve's first and last value.

    Args:
        chart: see `Chart`.
        interactive: include what the page's script needs to hide curves and rescale the others.
        attributes: of the `svg` element.
    """
    drawn, top = _draw_head(chart)
    frames: dict[Frame, list[int]] = {}
    for shown in _list_subsets(len(chart["series"]), interactive):
        frames.setdefault(make_frame(chart, shown, top), shown)
    frame = next(iter(frames))
    drawn += [_draw_y_axis(chart, *item) for item in frames.items()]
    drawn += [_draw_x_axis(chart, frame), *_draw_marks(chart.get("marks") or (), frame)]
    curves = []
    for place, series in enumerate(chart["series"]):
        # To be rescaled without loss, a curve is drawn in its own range and transformed to the chart's.
        own = make_frame(chart, [place], top) if interactive else frame
        look = {"stroke": pick_colour(series["colour"]), "stroke_linejoin": "round", "stroke_linecap": "round"}
        paths = _draw_series(chart, series, own)
        curves.append(tag("g", *paths, transform=own.transform_to(frame), data_range=own.range, fill="none", **look))
    scales = {
        "data_x": f"{frame.first:.10g} {frame.last:.10g} {LEFT} {RIGHT}",
        "data_y": f"{top} {frame.bottom}",
        "data_scale": "log2" if frame.is_log else None,
    }
    left, above, more = LEFT - CLIP_MARGIN, top - CLIP_MARGIN, 2 * CLIP_MARGIN
    window = (left, above, RIGHT - LEFT + more, PLOT_HEIGHT + more)
    drawn.append(_draw_window(curves, window, x=left, y=above, class_="curves", aria_hidden="true", **scales))
    words = {"role": "img", "aria_label": describe_chart(chart), "font_size": 11, "font_family": FONT}
    height = frame.bottom + MARGIN_BOTTOM
    return _draw_window(drawn, (0, 0, WIDTH, height), xmlns=SVG, fill="currentColor", **words, **attributes)


def measure_height(chart: Chart) -> int:
    """The height of a chart's drawing, which grows with its title and legend."""
    return _draw_head(chart)[1] + PLOT_HEIGHT + MARGIN_BOTTOM


def draw_sheet(charts: Sequence[Chart]) -> Html:
    """Draw charts below each other on white, as a file of its own."""
    drawn, below, margin = [], 16, 16
    for chart in charts:
        drawn.append(draw_chart(chart, x=margin, y=below))
        below += measure_height(chart) + margin
    paper = tag("rect", width="100%", height="100%", fill="white")
    return _draw_window([paper, *drawn], (0, 0, WIDTH + 2 * margin, below), xmlns=SVG, color="black")


def draw_key(colour: int) -> Html:
    """The short line that stands for a curve in legends and tables."""
    return tag("svg", _draw_key_line(colour, 0, 2), class_="key", width=KEY_WIDTH, height=4, aria_hidden="true")


def pick_colour(colour: int) -> str:
    """The colour with this index, which may be larger than their number."""
    return COLOURS[colour % len(COLOURS)]


def describe_chart(chart: Chart) -> str:
    """A text alternative: each curve's first and last value."""
    parts = []
    for series in chart["series"]:
        numbers = [value for value in series["y"] if value is not None]
        values = f"from {numbers[0]:.4g} to {numbers[-1]:.4g}" if numbers else "without a value"
        parts.append(f"{series['name']} {values}")
    return f"{chart['title']}: {', '.join(parts)}."


def _draw_window(drawn: Sequence[Html], box: tuple[int, int, int, int], **more: object) -> Html:
    """An `svg` element that shows what is drawn in this box: left, top, width and height."""
    return tag("svg", *drawn, viewBox=" ".join(map(str, box)), width=box[2], height=box[3], **more)


def _list_subsets(count: int, interactive: bool) -> list[list[int]]:
    """The sets of curves that a chart has an axis for: all and, if it is interactive, all but one and each alone."""
    everything = list(range(count))
    if not interactive or count < 2:
        return [everything]
    return [everything, *([i for i in everything if i != hidden] for hidden in everything), *([i] for i in everything)]


def _wrap(text: str, width: float) -> list[str]:
    return textwrap.wrap(text, max(1, int(width / LETTER_WIDTH))) or [""]


def _draw_head(chart: Chart) -> tuple[list[Html], int]:
    """The title and the legend, with an entry for each of several curves; and where the plot begins below them."""
    lines = _wrap(chart["title"], WIDTH)
    drawn = [_draw_text(line, 0, 13 + LINE_HEIGHT * row, font_weight="bold") for row, line in enumerate(lines)]
    row, left = len(lines) - 1, WIDTH
    for series in chart["series"] if len(chart["series"]) > 1 or chart.get("legend") else ():
        words = _wrap(series["name"], WIDTH - KEY_WIDTH - 4)
        width = KEY_WIDTH + 18 + round(LETTER_WIDTH * max(map(len, words)))
        if left + width > WIDTH + 14:
            row, left = row + 1, 0
        below = [13 + LINE_HEIGHT * (row + number) for number in range(len(words))]
        texts = [_draw_text(text, left + KEY_WIDTH + 4, y) for text, y in zip(words, below, strict=True)]
        drawn.append(tag("g", _draw_key_line(series["colour"], left, below[0] - 4), *texts, class_="entry"))
        row, left = row + len(words) - 1, left + width
    return drawn, LINE_HEIGHT * (row + 1 + bool(chart.get("marks"))) + 14


def _draw_key_line(colour: int, left: int, middle: int) -> Html:
    dash = "6 2" if colour >= len(COLOURS) else None
    return _draw_line(left, middle, left + KEY_WIDTH, middle, stroke=pick_colour(colour), stroke_width=3,
                      stroke_dasharray=dash)  # fmt: skip


def _draw_y_axis(chart: Chart, frame: Frame, shown: Sequence[int]) -> Html:
    """Lines across, their labels, and a note of what is cut off; not displayed unless it is for all curves."""
    levels = make_ticks(frame.low, frame.high, 4)
    if frame.is_log:
        levels = sorted({value for series in chart["series"] for value in series["y"] if value is not None})
    drawn = []
    for value, text in zip(levels, label_ticks(levels), strict=True):
        drawn.append(_draw_line(LEFT, frame.y(value), RIGHT, frame.y(value), opacity=GRID_OPACITY))
        drawn.append(_draw_text(text, LEFT - 6, frame.y(value) + 4, anchor="end", opacity=TEXT_OPACITY))
    if frame.cut:
        drawn.append(_draw_text(f"not shown: {frame.cut}", 0, frame.bottom + 30, opacity=TEXT_OPACITY))
    display = None if len(shown) == len(chart["series"]) else "none"
    return tag("g", *drawn, class_="axis", aria_hidden="true", display=display,
               data_series=" ".join(map(str, shown)), data_range=frame.range)  # fmt: skip


def _draw_x_axis(chart: Chart, frame: Frame) -> Html:
    levels = make_ticks(frame.first, frame.last, 4)
    drawn = [_draw_line(LEFT, frame.bottom, RIGHT, frame.bottom, opacity=AXIS_OPACITY)]
    for value, text in zip(levels, label_ticks(levels), strict=True):
        anchor = "end" if frame.x(value) > WIDTH - 30 else "middle"
        place = WIDTH if anchor == "end" else frame.x(value)
        drawn.append(_draw_text(text, place, frame.bottom + 15, anchor=anchor, opacity=TEXT_OPACITY))
    name = "images seen" if chart["unit"] == "images" else chart["unit"]
    drawn.append(_draw_text(name, WIDTH, frame.bottom + 30, anchor="end", opacity=TEXT_OPACITY))
    return tag("g", *drawn, aria_hidden="true")


def _draw_marks(marks: Sequence[tuple[float, str]], frame: Frame) -> list[Html]:
    """Dashed vertical lines with a label above where there is room for it."""
    drawn, free = [], -math.inf
    for at, text in marks:
        x = frame.x(at)
        if at > frame.first:
            drawn.append(_draw_line(x, frame.top, x, frame.bottom, opacity=AXIS_OPACITY, stroke_dasharray="3 3"))
        start = min(x, WIDTH - LETTER_WIDTH * len(text))
        if start >= free:
            drawn.append(_draw_text(text, start, frame.top - 6, opacity=TEXT_OPACITY))
            free = start + LETTER_WIDTH * (len(text) + 1)
    return drawn


def _draw_series(chart: Chart, series: Mapping[str, Any], frame: Frame) -> list[Html]:
    """A series' band, shade, pale and strong curve, and points."""
    xs = [frame.x(value) for value in series["x"]]

    def place(values: Sequence[float | None]) -> list[tuple[float, float] | None]:
        return [None if value is None else (x, frame.y(value)) for x, value in zip(xs, values, strict=True)]

    drawn, points = [], place(series["y"])
    edges = [[point for point in place(series[side]) if point] for side in ("lo", "hi") if side in series]
    if chart.get("fill") and xs:
        edges = [[point for point in points if point], [(x, frame.y(0)) for x in (xs[0], xs[-1])]]
    if any(edges):
        outline = _draw_path([*edges[0], *reversed(edges[1])])
        drawn.append(
            tag("path", d=f"{outline}Z", fill=pick_colour(series["colour"]), stroke="none", opacity=BAND_OPACITY)
        )
    common = {"vector_effect": "non-scaling-stroke"}
    if chart.get("smooth"):
        pale = {"stroke_width": PALE_WIDTH, "opacity": PALE_OPACITY}
        drawn.append(tag("path", class_="pale", d=_draw_path(points), **common, **pale))
    strong = place(smooth_values(series["y"])) if chart.get("smooth") else points
    dash = "6 4" if series["colour"] >= len(COLOURS) else None
    path = _draw_path(strong, step=bool(chart.get("step")))
    drawn.append(tag("path", class_="strong", d=path, **common, stroke_width=CURVE_WIDTH, stroke_dasharray=dash))
    if len(points) == 1 or chart.get("points"):
        dots = "".join(f"M{_format_coordinate(x)} {_format_coordinate(y)}h0" for x, y in filter(None, points))
        drawn.append(tag("path", class_="points", d=dots, **common, stroke_width=POINT_SIZE))
    return drawn


def _draw_path(points: Sequence[tuple[float, float] | None], *, step: bool = False) -> str:
    """Lines through the points, with gaps at None."""
    path, before = [], False
    for point in points:
        if point is not None:
            across, up = map(_format_coordinate, point)
            path.append(f"M{across} {up}" if not before else f"V{up}H{across}" if step else f"L{across} {up}")
        before = point is not None
    return "".join(path)


def _draw_line(x1: float, y1: float, x2: float, y2: float, **more: object) -> Html:
    ends = zip(("x1", "y1", "x2", "y2"), map(_format_coordinate, (x1, y1, x2, y2)), strict=True)
    return tag("line", **dict(ends), **{"stroke": "currentColor", **more})


def _draw_text(text: str, x: float, y: float, *, anchor: str | None = None, **more: object) -> Html:
    return tag("text", text, x=_format_coordinate(x), y=_format_coordinate(y), text_anchor=anchor, **more)


def _format_coordinate(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
