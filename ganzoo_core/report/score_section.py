"""The section with a run's scores and their protocols."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ganzoo_core.errors import UsageError
from ganzoo_core.html.chart import Chart
from ganzoo_core.html.markup import Html, join, render_table, tag
from ganzoo_core.messages import pluralise
from ganzoo_core.mix.finding import OBJECT
from ganzoo_core.report.curves import round_value
from ganzoo_core.report.run_record import RunRecord, to_number
from ganzoo_core.report.sections import format_value, quote_path, render_commands, render_figures, render_note
from ganzoo_core.runs import scores

ARROWS = {"lower": " ↓", "higher": " ↑"}
HALVES = (
    "Real halves: one half of the reference against the other, the floor. A score that falls with the number of "
    "images, as Fréchet's distance does, may lie below it."
)
_NON_PROTOCOL_KEYS = {"images", "scores", "classes", "better", "protocol", "doubts", "real"}

ScoreEntry = Mapping[str, Any]


def render_scores(run: RunRecord, charts: Sequence[Chart]) -> Html:
    """Score curves, a table of scores, and the protocols."""
    if not run.scores:
        return _render_no_scores(run)
    names, groups = list_score_names(run.scores), group_by_protocol(run.scores)
    better = {key: word for entry in run.scores for key, word in _as_mapping(entry.get("better")).items()}
    rows = []
    for number, entry in sorted(
        ((number, entry) for number, group in enumerate(groups, 1) for entry in group), key=_get_images
    ):
        rows.append([f"{to_number(entry['images']):,.0f}", *(_render_score(entry, name) for name in names), number])
    for number, group in enumerate(groups, 1):
        if _has_halves(group[-1]):
            rows.append(["real halves", *(_render_score(group[-1], name, "real") for name in names), number])
    head = ["images", *(name + ARROWS.get(str(better.get(name)), "") for name in names), "protocol"]
    protocol_note = render_note("Scores of different protocols cannot be compared.") if len(groups) > 1 else None
    legend = tag("p", "↓ lower is better, ↑ higher is better.", class_="soft") if better else None
    return join(
        [
            render_figures(charts, small=len(charts) > 2) if charts else None,
            render_table(head, rows, caption="Scores by images seen", numeric=True),
            legend,
            render_doubts(doubt for entry in run.scores for doubt in _as_mapping(entry.get("doubts")).values()),
            render_note(HALVES) if any(map(_has_halves, run.scores)) else None,
            protocol_note,
            _render_by_class(run.scores),
            *(_render_protocol(number, group[-1], whole=len(groups) == 1) for number, group in enumerate(groups, 1)),
        ]
    )


def _has_halves(entry: ScoreEntry) -> bool:
    """Whether a score carries the floor; older ones hold scores of other real images instead."""
    return bool(_as_mapping(entry.get("real"))) and "real_halves" in _as_mapping(entry.get("protocol"))


def render_doubts(reasons: Iterable[Any]) -> Html | None:
    """Why scores are grey, or missing."""
    words = "; ".join(dict.fromkeys(map(str, reasons)))
    return render_note(f"Grey or left out: {words}.") if words else None


def _render_no_scores(run: RunRecord) -> Html:
    if run.get_setting("use.data") == OBJECT:
        return render_note(
            "There are no scores yet. The images were given as an object in Python; with a dataset that holds them, "
            f"`ganzoo evaluate {quote_path(run.folder)} --data NAME` computes them."
        )
    command = render_commands([f"ganzoo evaluate {quote_path(run.folder)}"])
    return join([render_note("There are no scores yet. This computes them:"), command])


def _render_score(entry: ScoreEntry, name: str, which: str = "scores") -> Html | str:
    """A score with its standard deviation, grey if it is in doubt."""
    values = _as_mapping(entry.get(which))
    value, spread = (to_number(values.get(key)) for key in (name, name + scores.STD_SUFFIX))
    text = scores.format_value(value, spread, missing="–")
    return mark_doubt(text, str(_as_mapping(entry.get("doubts")).get(name, "")))


def mark_doubt(text: str, reason: str) -> Html | str:
    """Text in grey, with the reason under the pointer; unchanged without one."""
    return tag("span", text, class_="doubt", title=reason) if reason else text


def _get_images(numbered_entry: tuple[int, ScoreEntry]) -> float:
    return to_number(numbered_entry[1]["images"])


def make_charts(run: RunRecord) -> list[Chart]:
    """A chart for each score computed at more than one number of images, using only the most common protocol.

    Of several scores at the same number of images, the last counts.
    """
    groups = group_by_protocol(run.scores)
    group = max(groups, key=len, default=[])
    title = "" if len(groups) == 1 else f", protocol {groups.index(group) + 1}" if groups else ""
    charts: list[Chart] = []
    for name in list_score_names(group):
        points = {to_number(entry["images"]): to_number(entry["scores"].get(name)) for entry in group}
        finite = {images: round_value(value) for images, value in points.items() if value == value}
        if len(finite) > 1:
            series = [{"name": name, "colour": 0, "x": list(finite), "y": list(finite.values())}]
            chart: Chart = {"id": f"score-{len(charts)}", "title": name + title, "unit": "images", "series": series}
            charts.append({**chart, "points": True})
    return charts


def list_score_names(entries: Sequence[ScoreEntry]) -> list[str]:
    """The names of all numeric scores, main ones first, those in doubt last, without standard deviations."""
    names = [
        name for entry in entries for name, value in entry["scores"].items() if to_number(value) == to_number(value)
    ]
    own = [name for name in dict.fromkeys(names) if not name.endswith(scores.STD_SUFFIX)]
    return scores.order_names(own, {name for entry in entries for name in _as_mapping(entry.get("doubts"))})


def group_by_protocol(entries: Sequence[ScoreEntry]) -> list[list[ScoreEntry]]:
    """Group scores so that those in a group are comparable."""
    groups: list[list[ScoreEntry]] = []
    for entry in entries:
        group = next((group for group in groups if _is_comparable(group[0], entry)), None)
        if group is None:
            groups.append([entry])
        else:
            group.append(entry)
    return groups


def _is_comparable(first: ScoreEntry, second: ScoreEntry) -> bool:
    try:
        return not scores.find_differences(scores.Score.from_json(first), scores.Score.from_json(second))
    except UsageError:  # not written by ganzoo
        return _get_protocol(first) == _get_protocol(second)


def _get_protocol(entry: ScoreEntry) -> Mapping[str, Any]:
    return _as_mapping(entry.get("protocol")) or {
        key: value for key, value in entry.items() if key not in _NON_PROTOCOL_KEYS
    }


def _render_protocol(place: int, entry: ScoreEntry, *, whole: bool) -> Html:
    listed = tag("ul", *(tag("li", line) for line in _flatten(_get_protocol(entry)) or ["nothing is said"]))
    return tag("details", tag("summary", f"Protocol {place}"), listed, open=whole)


def _render_by_class(entries: Sequence[ScoreEntry]) -> Html | None:
    """A table of the newest per-class scores, one row per class."""
    entry = next((entry for entry in reversed(entries) if _as_mapping(entry.get("classes"))), None)
    if entry is None:
        return None
    columns = {name: _as_mapping(values) for name, values in _as_mapping(entry["classes"]).items()}
    classes = dict.fromkeys(key for values in columns.values() for key in values)
    rows = [
        [
            key,
            *("–" if (value := to_number(values.get(key))) != value else f"{value:.3g}" for values in columns.values()),
        ]
        for key in classes
    ]
    title = f"By class, at {pluralise(round(to_number(entry['images'])), 'image')}"
    words = [name.replace("_", " ") for name in columns]
    return tag("details", tag("summary", title), render_table(["class", *words], rows, caption=title, numeric=True))


def _flatten(value: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`{"extractor": {"name": …}}` -> `extractor name: …`."""
    lines = []
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            lines += _flatten(inner, f"{prefix}{key} ")
        else:
            lines.append(f"{prefix}{key}: {format_value(inner, 200)}")
    return lines


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
