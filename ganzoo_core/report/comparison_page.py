"""Several runs on one HTML page: settings that differ, scores over seeds, curves overlaid, samples from equal noise."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.data import picture_files, pixels
from ganzoo_core.errors import GanzooError
from ganzoo_core.html import markup
from ganzoo_core.html.chart import Chart
from ganzoo_core.html.markup import Html, join, table, tag
from ganzoo_core.html.page import Section, page
from ganzoo_core.processes import Child, Say
from ganzoo_core.report import curves, pictures, score_section
from ganzoo_core.report.run_groups import Comparison, Group
from ganzoo_core.report.sections import figures, plain, quoted, sentence
from ganzoo_core.runs import generators, layout, scores
from ganzoo_core.runs.folder import read_card
from ganzoo_core.storage.outputs import write_output

PAGE = "compare.html"
DRAWN = 16  # images of each row
COLOURS = 16  # rows whose curves are drawn: eight colours, full and dashed


@dataclass(frozen=True)
class Sheet:
    """What a row's first run draws: a picture and where it is from, or why there is none."""

    uri: str = ""
    words: str = ""
    reason: str = ""


def write(found: Comparison, out: Path, sheets: Sequence[Sheet] = (), *, named: bool = True) -> Path:
    """Write the page.

    Args:
        found: see `run_groups`.
        out: the file.
        sheets: of each group, see `draw`; the last grids that the runs left without them.
        named: whether the user named the file; see `outputs.write_output`.

    Raises:
        UsageError: if it cannot be written.
    """
    content = render(found, sheets).encode("utf-8", "replace")
    write_output(out, content, named=named)
    return out


def render(found: Comparison, sheets: Sequence[Sheet] = ()) -> str:
    """The page as text."""
    shown = charts(found)
    of_scores = score_charts(found, len(shown))
    count = sum(len(group.runs) for group in found.groups)
    rows = len(found.groups)
    shared = f" in {rows} rows: those that differ in their seed alone share one" if rows < count else ""
    state = f"{count} runs{shared}"
    parts = [
        Section("scores", "Scores", lambda: _scores(found, of_scores)),
        Section("settings", "What differs", lambda: _settings(found)),
        Section("samples", "Samples", lambda: _samples(found, sheets)),
        Section("curves", "Curves", lambda: _curves(found, shown)),
        Section("runs", "The runs", lambda: _runs(found)),
    ]
    notes = tag("ul", *(tag("li", note) for note in found.notes), class_="notes") if found.notes else Html()
    return page("Runs compared", state, notes, parts, {"charts": [*shown, *of_scores], "slides": {}})


def _key(place: int) -> Html:
    return tag("span", class_=f"key c{place % 8}{' dashed' if place >= 8 else ''}", aria_hidden="true")


def _scores(found: Comparison, shown: Sequence[Chart]) -> Html:
    if not found.metrics:
        return sentence("No run was evaluated, so there is nothing to rank them by: `ganzoo evaluate RUN` does it.")
    marks = marked(found)
    rows = [
        [
            tag("span", _key(place), " ", group.name, marks[place]),
            len(group.runs),
            group.images,
            *(group.spread(metric) for metric in found.metrics),
        ]
        for place, group in enumerate(found.groups)
    ]
    arrows = [name + score_section.ARROWS.get(better, "") for name, better in found.metrics.items()]
    return join(
        [
            table(
                ["", "runs", "images", *arrows],
                rows,
                caption="Mean ± standard deviation over seeds",
                numbers=True,
                named=True,
            ),
            tag("p", "↓ lower is better, ↑ higher is better. Of each run the score after most images.", class_="soft"),
            _unlike(found),
            figures(shown, small=len(shown) > 2) if shown else None,
        ]
    )


def _unlike(found: Comparison) -> Html | None:
    if not found.unlike:
        return None
    return tag(
        "p", f"* Computed with another protocol than the others, so compared by force: {'; '.join(found.unlike)}."
    )


def marked(found: Comparison) -> list[str]:
    """` *` for each group with a score that was computed with another protocol than the first one's, else ""."""
    everything = [score for group in found.groups for score in group.scores if score is not None]
    return [
        " *" if any(score is not None and scores.differences(everything[0], score) for score in group.scores) else ""
        for group in found.groups
    ]


def _settings(found: Comparison) -> Html:
    if not found.differ:
        return sentence("They differ in nothing but their seed.")
    rows = [[key, *(group.setting(key) for group in found.groups)] for key in found.differ]
    return table(["setting", *(group.name for group in found.groups)], rows, caption="Settings that differ")


def _samples(found: Comparison, sheets: Sequence[Sheet]) -> Html:
    if sheets:
        told = (
            f"{DRAWN} images of the first run of each row, drawn from the same noise: a place shows what each makes of "
            "one z, where the latents are of the same size and kind."
        )
    else:
        told = "The last grid of the first run of each row. Runs with the same seed draw them from the same noise."
        sheets = [_last_grid(group) for group in found.groups]
    cards = []
    for place, (group, sheet) in enumerate(zip(found.groups, sheets, strict=True)):
        image = tag("img", src=sheet.uri, alt=f"Generated by {group.name}") if sheet.uri else sentence(sheet.reason)
        caption = tag("figcaption", tag("strong", _key(place), " ", group.name), sheet.words)
        cards.append(tag("figure", image, caption))
    return join([tag("p", told, class_="soft"), tag("div", *cards, class_="stages sheets")])


def _last_grid(group: Group) -> Sheet:
    run = group.runs[0]
    found = pictures.find(run.folder / layout.SAMPLES)
    chosen = pictures.choose(found[-1:], cap=pictures.CAP // 20)
    if not chosen.uris:
        return Sheet(reason="This run left no grid.")
    return Sheet(chosen.uris[0], f"{run.folder.name}, {found[-1].images:,} images")


def draw(
    found: Comparison, *, seed: int, device: str, say: Say, settings: Mapping[str, Any] | None = None
) -> list[Sheet]:
    """Let the first run of each group draw from the same noise, each framework in a process of its own.

    Args:
        found: the groups.
        seed: of the noise.
        device: as `engine.device`.
        say: told what takes long.
        settings: of `engine.*`.

    Returns:
        A sheet for each group; what cannot be drawn says why.
    """
    sheets: dict[int, Sheet] = {}
    wanted: dict[str, list[tuple[int, Path, Group]]] = {}
    for place, group in enumerate(found.groups):
        try:
            folder = generators.find_generator(group.runs[0].folder)
            framework = read_card(folder).spec.framework
        except GanzooError as error:
            sheets[place] = Sheet(reason=f"Nothing can be drawn: {error}.")
        else:
            wanted.setdefault(framework, []).append((place, folder, group))
    request = {"n": DRAWN, "seed": seed, "device": device, "settings": dict(settings or {})}
    for entries in wanted.values():
        with (
            Child("ganzoo_core.evaluation.drawing_worker", "draws the images") as child,
            tempfile.TemporaryDirectory() as box,
        ):
            for place, folder, group in entries:
                sheets[place] = _drawn(child, folder, group, Path(box), request, say)
    return [sheets[place] for place in range(len(found.groups))]


def _drawn(child: Child, folder: Path, group: Group, box: Path, request: Mapping[str, Any], say: Say) -> Sheet:
    places = {name: str(box / f"{name}.npy") for name in ("images", "labels")}
    try:
        told = child.ask({**request, **places, "generator": str(folder.resolve())}, say)
        drawn = np.load(places["images"], allow_pickle=False)
    except (GanzooError, OSError, ValueError) as error:
        return Sheet(reason=f"Nothing can be drawn: {error}.")
    sheet = pixels.enlarged(pixels.grid(drawn), least=320)
    return Sheet(
        markup.png_uri(picture_files.png_bytes(sheet)), f"{group.runs[0].folder.name}, {told['images']:,} images"
    )


def _curves(found: Comparison, shown: Sequence[Chart]) -> Html:
    if not shown:
        return sentence("No run has statistics yet.")
    told = "A line is the mean over a row's runs; the shade behind it reaches from the least to the largest. "
    told += "Losses of unlike kinds cannot be compared by their values."
    if len(found.groups) > COLOURS:
        told += f" Drawn are the first {COLOURS} of {len(found.groups)} rows."
    return join([tag("p", told, class_="soft"), figures(shown)])


def charts(found: Comparison) -> list[Chart]:
    """A chart for each loss term and each of D's accuracies, with a curve for each group."""
    groups = found.groups[:COLOURS]
    names = dict.fromkeys(name for group in groups for run in group.runs for name in run.terms)
    shares = {name for name in names if name.partition("/")[2].startswith(("accuracy_", "probability_"))}
    shown: list[Chart] = []
    for name in sorted(names, key=lambda name: name in shares):
        series: list[dict[str, Any]] = []
        for place, group in enumerate(groups):
            each = [curves.thin(run.images, run.columns[name]) for run in group.runs if name in run.columns]
            if each:
                series.append({"name": group.name, "colour": place % 8, "dashed": place >= 8, **overlaid(each)})
        chart: Chart = {"id": f"c{len(shown)}", "title": curves.label(name), "unit": "images", "series": series}
        chart["legend"] = True
        chart["smooth"] = max(len(one["x"]) for one in series) >= curves.SMOOTH_FROM
        shown.append({**chart, "range": [0, 1]} if name in shares else chart)
    return shown


def score_charts(found: Comparison, number: int) -> list[Chart]:
    """A chart for each score that some run has at more than one time, found as the first of them was.

    Args:
        found: the groups.
        number: of charts before.
    """
    groups = found.groups[:COLOURS]
    entries = [entry for group in groups for run in group.runs for entry in run.scores]
    alike = max(score_section.protocols(entries), key=len, default=[])
    shown: list[Chart] = []
    for name in score_section.names_of(alike):
        series: list[dict[str, Any]] = []
        for place, group in enumerate(groups):
            each = [_points(run.scores, alike, name) for run in group.runs]
            each = [curve for curve in each if curve["x"]]
            if each:
                series.append({"name": group.name, "colour": place % 8, "dashed": place >= 8, **overlaid(each)})
        if any(len(one["x"]) > 1 for one in series):
            chart: Chart = {"id": f"c{number + len(shown)}", "title": name, "unit": "images", "series": series}
            shown.append({**chart, "points": True, "smooth": False, "legend": True})
    return shown


def _points(entries: Sequence[Mapping[str, Any]], alike: Sequence[Any], name: str) -> dict[str, list[Any]]:
    points = {entry["images"]: entry["scores"].get(name) for entry in entries if entry in alike}
    points = {x: y for x, y in points.items() if isinstance(y, int | float)}
    return {"x": list(points), "y": list(points.values())}


def overlaid(each: Sequence[Mapping[str, list[Any]]]) -> dict[str, list[Any]]:
    """Curves of several seeds -> their mean, and the least and the largest of them; of one alone, itself.

    Where they do not have the same places, they are read between their own points, and never beyond their ends.
    """
    if len(each) == 1:
        return dict(each[0])
    x = max((curve["x"] for curve in each), key=len)
    lines = []
    for curve in each:
        points = [(a, b) for a, b in zip(curve["x"], curve["y"], strict=True) if b is not None]
        at, values = zip(*points, strict=True) if points else ((0.0,), (np.nan,))
        lines.append(np.interp(x, at, values, left=np.nan, right=np.nan))
    columns = [[float(v) for v in column if v == v] for column in np.array(lines).T]
    return {
        "x": list(x),
        "y": [curves.rounded(sum(column) / len(column)) if column else None for column in columns],
        "lo": [curves.rounded(min(column)) if column else None for column in columns],
        "hi": [curves.rounded(max(column)) if column else None for column in columns],
    }


def _runs(found: Comparison) -> Html:
    rows = [
        [run.folder.name, group.name, plain(run.chosen("train.seed")), run.state, quoted(run.folder)]
        for group in found.groups
        for run in group.runs
    ]
    return table(["run", "row", "seed", "state", "where"], rows, caption="Each run")
