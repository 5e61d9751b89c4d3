"""Turn columns of statistics into charts, downsampled to a fixed number of points."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from ganzoo_core.html.chart import Chart
from ganzoo_core.report.run_record import RunRecord
from ganzoo_core.storage.records import SEPARATION_TERM

MAX_POINTS = 600  # per curve; about a chart's width in pixels
SMOOTH_MIN_POINTS = 60  # curves with at least this many points get a running mean
TABLE_ROWS = 12  # in the table below a chart
_NETWORK_LETTERS = {"discriminator": "D", "generator": "G"}


def downsample(images: Sequence[float], values: Sequence[float], buckets: int = MAX_POINTS) -> dict[str, list[Any]]:
    """Downsample a curve to at most `buckets` points.

    Consecutive lines are merged into a bucket: its x is the last line's, its y the mean; minimum and maximum are kept,
    so that no spike is lost.

    Args:
        images: [N], images seen at each line.
        values: [N]; NaN if missing.
        buckets: the maximum number of points.

    Returns:
        `x`, `y`, and `lo` and `hi` if lines were merged; None for a bucket without numbers.
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
    """Round to five significant digits, which is finer than a pixel."""
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
    charts = [
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
    charts.append(_make_chart(run, "rates", "Learning rates", rates))
    for index, name in enumerate(name for name in changing if name not in rates):
        more: dict[str, Any] = {"step": True, "scale": "log2"} if name == "resolution" else {}
        charts.append(_make_chart(run, f"value-{index}", f"Schedule: {name}", [name], **more))
    charts = [chart for chart in charts if chart["series"]]
    marks = [[stage["from"], f"{stage['resolution']:g} px"] for stage in find_stages(run)]
    return [{**chart, "marks": marks} for chart in charts]


def _make_chart(
    run: RunRecord, name: str, title: str, columns: Sequence[str], names: Sequence[str] | None = None, **more: Any
) -> Chart:
    series = []
    for index, column in enumerate(columns):
        curve = downsample(run.images, run.columns[column])
        series.append({"name": format_label(column) if names is None else names[index], "colour": index, **curve})
    smooth = bool(more.get("smooth")) and len(run.images) >= SMOOTH_MIN_POINTS
    return {"id": name, "title": title, "unit": "images", "series": series, **more, "smooth": smooth}


def _name_sides(columns: Sequence[str]) -> list[str] | None:
    """Labels such as `real images`, if the columns are those reported by the engines; else None."""
    words = {"real": "real images", "fake": "generated images"}
    labels = [words.get(name.rpartition("_")[2], "") for name in columns]
    return labels if all(labels) and len(set(labels)) == len(labels) else None


def is_constant(values: Sequence[float]) -> bool:
    """Whether all values but NaN are equal."""
    return len({value for value in values if not math.isnan(value)}) <= 1


def find_constants(run: RunRecord) -> dict[str, float]:
    """The schedule's values that never changed, by name."""
    constants = {}
    for name in run.values:
        numbers = [value for value in run.columns[name] if not math.isnan(value)]
        if numbers and is_constant(numbers):
            constants[name] = numbers[0]
    return constants


def find_stages(run: RunRecord) -> list[dict[str, float]]:
    """Stages of a progressively growing run: `resolution`; `from`, `to` and `faded` (fade-in complete) in images."""
    stages: list[dict[str, float]] = []
    resolutions = run.columns.get("resolution", [])
    fades = run.columns.get("fade", [])
    before = 0.0
    for index, (images, resolution) in enumerate(zip(run.images, resolutions, strict=False)):
        if math.isnan(resolution):
            continue
        if not stages or stages[-1]["resolution"] != resolution:
            stages.append({"resolution": resolution, "from": before, "to": images})
        stage = stages[-1]
        stage["to"] = before = images
        if fades and fades[index] >= 1:
            stage.setdefault("faded", images)
    return stages if len(stages) > 1 else []


def make_rows(chart: Chart) -> list[list[str]]:
    """A chart's values as table rows: `TABLE_ROWS` points, evenly spaced, including the first and the last.

    The rows are at points of the longest curve; other curves give their nearest value, none beyond their ends.
    """
    x = max((series["x"] for series in chart["series"]), key=len)
    last = len(x) - 1
    spread = {round(index * last / (TABLE_ROWS - 1)) for index in range(TABLE_ROWS)}
    chosen = sorted(spread) if last >= TABLE_ROWS else range(last + 1)
    return [
        [f"{x[index]:,.6g}", *(_format_value(_find_value(series, x[index])) for series in chart["series"])]
        for index in chosen
    ]


def _find_value(series: Mapping[str, list[Any]], x: float) -> float | None:
    xs = series["x"]
    if not xs[0] <= x <= xs[-1]:
        return None
    after = bisect_left(xs, x)
    nearest = after if after == 0 or xs[after] - x <= x - xs[after - 1] else after - 1
    value: float | None = series["y"][nearest]
    return value


def _format_value(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
