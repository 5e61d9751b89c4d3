"""From columns of statistics to the curves of a page: sorted into charts, and thinned where there are many lines."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from ganzoo_core.html.chart import Chart
from ganzoo_core.report.run_record import RunRecord
from ganzoo_core.storage.records import SEPARATION_TERM

MAX_POINTS = 600  # points of a curve; a chart is about as many pixels wide
SMOOTH_MIN_POINTS = 60  # points from which a running mean is drawn as well
TABLE_ROWS = 12  # of the table below a chart
_NETWORK_LETTERS = {"discriminator": "D", "generator": "G"}


def downsample(images: Sequence[float], values: Sequence[float], buckets: int = MAX_POINTS) -> dict[str, list[Any]]:
    """A curve of at most so many points.

    Neighbouring lines share a bucket. Its point stands at the last line's images and is the mean of its values; the
    least and the largest are kept beside it, so that no spike is lost.

    Args:
        images: [N], seen at each line.
        values: [N]; NaN where there is none.
        buckets: the most points.

    Returns:
        `x`, `y`, and `lo` and `hi` where lines were merged; None where a bucket holds no number.
    """
    size = max(1, -(-len(images) // buckets))
    starts = range(0, len(images), size)
    held = [[v for v in values[start : start + size] if not math.isnan(v)] for start in starts]
    curve: dict[str, list[Any]] = {
        "x": [images[min(start + size, len(images)) - 1] for start in starts],
        "y": [round_value(math.fsum(bucket) / len(bucket)) if bucket else None for bucket in held],
    }
    if size > 1:
        curve["lo"] = [round_value(min(bucket)) if bucket else None for bucket in held]
        curve["hi"] = [round_value(max(bucket)) if bucket else None for bucket in held]
    return curve


def round_value(value: float) -> float:
    """To five digits, which is finer than a pixel."""
    return float(f"{value:.5g}")


def format_label(name: str) -> str:
    """`discriminator/gradient_penalty` -> `D gradient penalty`."""
    network, slash, term = name.partition("/")
    return f"{_NETWORK_LETTERS.get(network, network)} {term.replace('_', ' ')}" if slash else name


def make_charts(run: RunRecord) -> list[Chart]:
    """The charts of a run, without its scores."""
    terms = run.terms
    accuracies = [name for name in terms if name.partition("/")[2].startswith("accuracy_")]
    probabilities = [name for name in terms if name.partition("/")[2].startswith("probability_")]
    losses = [name for name in terms if name not in {*accuracies, *probabilities, SEPARATION_TERM}]
    found = [
        _make_chart(run, "losses", "Loss terms", losses, smooth=True),
        _make_chart(
            run,
            "accuracies",
            "What D gets right, as a share",
            accuracies,
            _name_sides(accuracies),
            smooth=True,
            range=[0, 1],
        ),
        _make_chart(
            run,
            "probabilities",
            "How probably real, says D",
            probabilities,
            _name_sides(probabilities),
            smooth=True,
            range=[0, 1],
        ),
    ]
    changing = [name for name in run.values if not is_constant(run.columns[name])]
    rates = [name for name in changing if name.startswith("lr")]
    found.append(_make_chart(run, "rates", "Learning rates", rates))
    for place, name in enumerate(name for name in changing if name not in rates):
        found.append(_make_chart(run, f"value-{place}", f"Schedule: {name}", [name], step=name == "resolution"))
    found = [chart for chart in found if chart["series"]]
    marks = [[stage["from"], f"{stage['resolution']:g} px"] for stage in find_stages(run)]
    for chart in found:
        chart["marks"] = marks
        if chart["title"] == "Schedule: resolution":
            chart["scale"] = "log2"
    return found


def _make_chart(
    run: RunRecord, name: str, title: str, columns: Sequence[str], names: Sequence[str] | None = None, **more: Any
) -> Chart:
    series = []
    for place, column in enumerate(columns):
        curve = downsample(run.images, run.columns[column])
        series.append({"name": format_label(column) if names is None else names[place], "colour": place, **curve})
    chart: Chart = {"id": name, "title": title, "unit": "images", "series": series, **more}
    chart["smooth"] = bool(more.get("smooth")) and len(run.images) >= SMOOTH_MIN_POINTS
    return chart


def _name_sides(columns: Sequence[str]) -> list[str] | None:
    """What D was shown, where the columns are those that the engines report; else None."""
    words = {"real": "real images", "fake": "generated images"}
    found = [words.get(name.rpartition("_")[2], "") for name in columns]
    return found if all(found) and len(set(found)) == len(found) else None


def is_constant(values: Sequence[float]) -> bool:
    """Whether all numbers among them are the same."""
    return len({value for value in values if not math.isnan(value)}) <= 1


def find_constants(run: RunRecord) -> dict[str, float]:
    """Those of the schedule's values that never changed, with their value."""
    found = {}
    for name in run.values:
        numbers = [value for value in run.columns[name] if not math.isnan(value)]
        if numbers and is_constant(numbers):
            found[name] = numbers[0]
    return found


def find_stages(run: RunRecord) -> list[dict[str, float]]:
    """Of a run that grows: each `resolution`, the images `from` and `to` which it lasted, and when `faded` in."""
    found: list[dict[str, float]] = []
    resolutions = run.columns.get("resolution", [])
    fades = run.columns.get("fade", [])
    before = 0.0
    for place, (images, resolution) in enumerate(zip(run.images, resolutions, strict=False)):
        if math.isnan(resolution):
            continue
        if not found or found[-1]["resolution"] != resolution:
            found.append({"resolution": resolution, "from": before, "to": images})
        stage = found[-1]
        stage["to"] = before = images
        if fades and fades[place] >= 1:
            stage.setdefault("faded", images)
    return found if len(found) > 1 else []


def make_rows(chart: Chart, count: int = TABLE_ROWS) -> list[list[str]]:
    """A chart's values as the rows of a table: so many points, evenly spread, the first and the last among them.

    A curve with other points than the longest one gives its nearest, and nothing beyond its ends.
    """
    x = max((series["x"] for series in chart["series"]), key=len)
    last = len(x) - 1
    chosen = sorted({round(place * last / (count - 1)) for place in range(count)}) if last >= count else range(last + 1)
    return [
        [f"{x[place]:,.6g}", *(_format_value(_find_value(series, x[place])) for series in chart["series"])]
        for place in chosen
    ]


def _find_value(series: Mapping[str, list[Any]], x: float) -> float | None:
    xs = series["x"]
    if not xs[0] <= x <= xs[-1]:
        return None
    after = bisect_left(xs, x)
    place = after if after == 0 or xs[after] - x <= x - xs[after - 1] else after - 1
    value: float | None = series["y"][place]
    return value


def _format_value(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
