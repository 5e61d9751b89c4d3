"""The section with a run's scores, each with what it was computed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganzoo_core.errors import UsageError
from ganzoo_core.html.chart import Chart
from ganzoo_core.html.markup import Html, join, table, tag
from ganzoo_core.report.curves import rounded
from ganzoo_core.report.run_record import Recorded, number
from ganzoo_core.report.sections import commands, figures, plain, quoted, sentence
from ganzoo_core.runs import scores

ARROWS = {"lower": " ↓", "higher": " ↑"}
SPREAD = "_std"  # behind the name of a score: its standard deviation
_NAMED = {"images", "scores", "classes", "better", "protocol"}

Entry = Mapping[str, Any]


def section(run: Recorded, shown: Sequence[Chart]) -> Html:
    """Curves of the scores, a table, and the protocols."""
    if not run.scores:
        command = commands([f"ganzoo evaluate {quoted(run.folder)}"])
        return join([sentence("There are no scores yet. This computes them:"), command])
    names, groups = names_of(run.scores), protocols(run.scores)
    better = {key: word for entry in run.scores for key, word in _mapping(entry.get("better")).items()}
    rows = []
    for place, entry in sorted(((place, entry) for place, group in enumerate(groups, 1) for entry in group), key=_at):
        rows.append([f"{number(entry['images']):,.0f}", *(value_of(entry, name) for name in names), place])
    head = ["images", *(name + ARROWS.get(str(better.get(name)), "") for name in names), "protocol"]
    unlike = sentence("Scores of different protocols cannot be compared.") if len(groups) > 1 else None
    legend = tag("p", "↓ lower is better, ↑ higher is better.", class_="soft") if better else None
    return join(
        [
            figures(shown, small=len(shown) > 2) if shown else None,
            table(head, rows, caption="Scores by images seen", numbers=True),
            legend,
            unlike,
            _by_class(run.scores),
            *(_protocol(place, group[-1], whole=len(groups) == 1) for place, group in enumerate(groups, 1)),
        ]
    )


def value_of(entry: Entry, name: str) -> str:
    """A score, with its standard deviation where one stands beside it."""
    value, spread = (number(entry["scores"].get(key)) for key in (name, name + SPREAD))
    if value != value:
        return "–"
    return f"{value:.4g}" if spread != spread else f"{value:.4g} ± {spread:.2g}"


def _at(found: tuple[int, Entry]) -> float:
    return number(found[1]["images"])


def charts(run: Recorded) -> list[Chart]:
    """A chart for each score that was taken at more than one time, by the protocol that most of them have.

    The last one counts where a time has several.
    """
    groups = protocols(run.scores)
    group = max(groups, key=len, default=[])
    title = "" if len(groups) == 1 else f", protocol {groups.index(group) + 1}" if groups else ""
    found: list[Chart] = []
    for name in names_of(group):
        points = {number(entry["images"]): number(entry["scores"].get(name)) for entry in group}
        kept = {images: rounded(value) for images, value in points.items() if value == value}
        if len(kept) > 1:
            series = [{"name": name, "colour": 0, "x": list(kept), "y": list(kept.values())}]
            chart: Chart = {"id": f"score-{len(found)}", "title": name + title, "unit": "images", "series": series}
            found.append({**chart, "points": True, "smooth": False})
    return found


def names_of(entries: Sequence[Entry]) -> list[str]:
    """The names of all scores that are numbers, the main one first; a standard deviation is not one by itself."""
    names = [name for entry in entries for name, value in entry["scores"].items() if number(value) == number(value)]
    own = [name for name in dict.fromkeys(names) if name.removesuffix(SPREAD) == name]
    main = scores.find_main_score()
    return sorted(own, key=lambda name: name != main)


def protocols(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The scores in groups, in each of which they can be compared."""
    groups: list[list[Entry]] = []
    for entry in entries:
        group = next((group for group in groups if _alike(group[0], entry)), None)
        if group is None:
            groups.append([entry])
        else:
            group.append(entry)
    return groups


def _alike(first: Entry, second: Entry) -> bool:
    try:
        return not scores.differences(scores.Score.of_json(first), scores.Score.of_json(second))
    except UsageError:  # not written by ganzoo
        return _protocol_of(first) == _protocol_of(second)


def _protocol_of(entry: Entry) -> Mapping[str, Any]:
    return _mapping(entry.get("protocol")) or {key: value for key, value in entry.items() if key not in _NAMED}


def _protocol(place: int, entry: Entry, *, whole: bool) -> Html:
    listed = tag("ul", *(tag("li", line) for line in _lines(_protocol_of(entry)) or ["nothing is said"]))
    return tag("details", tag("summary", f"Protocol {place}"), listed, open=whole)


def _by_class(entries: Sequence[Entry]) -> Html | None:
    """The newest score that has numbers for each class, a row a class."""
    entry = next((entry for entry in reversed(entries) if _mapping(entry.get("classes"))), None)
    if entry is None:
        return None
    columns = {name: _mapping(values) for name, values in _mapping(entry["classes"]).items()}
    classes = dict.fromkeys(key for values in columns.values() for key in values)
    rows = [
        [key, *("–" if (value := number(values.get(key))) != value else f"{value:.3g}" for values in columns.values())]
        for key in classes
    ]
    title = f"By class, at {number(entry['images']):,.0f} images"
    words = [name.replace("_", " ") for name in columns]
    return tag("details", tag("summary", title), table(["class", *words], rows, caption=title, numbers=True))


def _lines(value: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`{"extractor": {"name": …}}` -> `extractor name: …`."""
    found = []
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            found += _lines(inner, f"{prefix}{key} ")
        else:
            found.append(f"{prefix}{key}: {plain(inner, 200)}")
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
