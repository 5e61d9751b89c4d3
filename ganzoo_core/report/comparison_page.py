"""Several runs on one HTML page: settings that differ, scores over seeds, curves overlaid, samples from equal noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.html.chart import COLOURS, Chart, draw_key
from ganzoo_core.html.markup import Html, join, render_table, tag
from ganzoo_core.html.page import Section, render_page
from ganzoo_core.messages import pluralise
from ganzoo_core.report import curves, score_section
from ganzoo_core.report.run_groups import Comparison
from ganzoo_core.report.sample_sheets import IMAGES_PER_ROW, SampleSheet, find_last_grid
from ganzoo_core.report.sections import format_value, quote_path, render_figures, render_note
from ganzoo_core.runs import scores
from ganzoo_core.storage.outputs import write_output

PAGE_FILE = "compare.html"
MAX_CURVES = 2 * len(COLOURS)  # rows whose curves are drawn: each colour solid and dashed


def write(comparison: Comparison, out: Path, sheets: Sequence[SampleSheet] = (), *, named: bool = True) -> Path:
    """Write the page.

    Args:
        comparison: see `run_groups`.
        out: the file.
        sheets: one per group, see `sample_sheets.draw_sheets`; by default the runs' last sample grids.
        named: whether the user named the file; see `outputs.write_output`.

    Raises:
        UsageError: if the file cannot be written.
    """
    content = render(comparison, sheets).encode("utf-8", "replace")
    write_output(out, content, named_by_user=named)
    return out


def render(comparison: Comparison, sheets: Sequence[SampleSheet] = ()) -> str:
    """Render the page as HTML text."""
    shown = make_charts(comparison)
    of_scores = make_score_charts(comparison, len(shown))
    count = sum(len(group.runs) for group in comparison.groups)
    rows = len(comparison.groups)
    shared = f" in {pluralise(rows, 'row')}: those that differ in their seed alone share one" if rows < count else ""
    state = f"{count} runs{shared}"
    parts = [
        Section("scores", "Scores", lambda: _render_scores(comparison, of_scores)),
        Section("settings", "What differs", lambda: _render_settings(comparison)),
        Section("samples", "Samples", lambda: _render_samples(comparison, sheets)),
        Section("curves", "Curves", lambda: _render_curves(comparison, shown)),
        Section("runs", "The runs", lambda: _render_runs(comparison)),
    ]
    notes = tag("ul", *(tag("li", note) for note in comparison.notes), class_="notes") if comparison.notes else Html()
    return render_page("Runs compared", state, notes, parts, {"charts": [*shown, *of_scores], "slides": {}})


def _render_scores(comparison: Comparison, charts: Sequence[Chart]) -> Html:
    if not comparison.metrics:
        return render_note("No run was evaluated, so there is nothing to rank them by: `ganzoo evaluate RUN` does it.")
    marks = mark_other_protocols(comparison)
    rows = [
        [
            tag("span", draw_key(index), " ", group.name, marks[index]),
            len(group.runs),
            group.images,
            *(
                score_section.mark_doubt(group.format_spread(metric), group.find_doubt(metric))
                for metric in comparison.metrics
            ),
        ]
        for index, group in enumerate(comparison.groups)
    ]
    arrows = [name + score_section.ARROWS.get(better, "") for name, better in comparison.metrics.items()]
    return join(
        [
            render_table(
                ["", "runs", "images", *arrows],
                rows,
                caption="Mean ± standard deviation over seeds",
                numeric=True,
                left_align_first=True,
            ),
            tag("p", "↓ lower is better, ↑ higher is better. Of each run the score after most images.", class_="soft"),
            score_section.render_doubts(comparison.doubts.values()),
            _render_protocol_note(comparison),
            render_figures(charts, small=len(charts) > 2) if charts else None,
        ]
    )


def _render_protocol_note(comparison: Comparison) -> Html | None:
    if not comparison.protocol_differences:
        return None
    return tag(
        "p",
        "* Computed with another protocol than the others, so compared by force: "
        f"{'; '.join(comparison.protocol_differences)}.",
    )


def mark_other_protocols(comparison: Comparison) -> list[str]:
    """For each group, ` *` if one of its scores has another protocol than the first score, else ""."""
    all_scores = [score for group in comparison.groups for score in group.scores if score is not None]
    return [
        " *"
        if any(score is not None and scores.find_differences(all_scores[0], score) for score in group.scores)
        else ""
        for group in comparison.groups
    ]


def _render_settings(comparison: Comparison) -> Html:
    if not comparison.differing_settings:
        return render_note("They differ in nothing but their seed.")
    rows = [[key, *(group.format_setting(key) for group in comparison.groups)] for key in comparison.differing_settings]
    return render_table(["setting", *(group.name for group in comparison.groups)], rows, caption="Settings that differ")


def _render_samples(comparison: Comparison, sheets: Sequence[SampleSheet]) -> Html:
    if sheets:
        explanation = (
            f"{IMAGES_PER_ROW} images of the first run of each row, drawn from the same noise: a place shows what "
            "each makes of one z, where the latents are of the same size and kind."
        )
    else:
        explanation = (
            "The last grid of the first run of each row. Runs with the same seed draw them from the same noise."
        )
        sheets = [find_last_grid(group) for group in comparison.groups]
    cards = []
    for index, (group, sheet) in enumerate(zip(comparison.groups, sheets, strict=True)):
        image = tag("img", src=sheet.uri, alt=f"Generated by {group.name}") if sheet.uri else render_note(sheet.reason)
        caption = tag("figcaption", tag("strong", draw_key(index), " ", group.name), sheet.caption)
        cards.append(tag("figure", image, caption))
    return join([tag("p", explanation, class_="soft"), tag("div", *cards, class_="stages sheets")])


def _render_curves(comparison: Comparison, charts: Sequence[Chart]) -> Html:
    if not charts:
        return render_note("No run has statistics yet.")
    explanation = "A line is the mean over a row's runs; the shade behind it reaches from the least to the largest. "
    explanation += "Losses of unlike kinds cannot be compared by their values."
    if len(comparison.groups) > MAX_CURVES:
        explanation += f" Drawn are the first {MAX_CURVES} of {len(comparison.groups)} rows."
    return join([tag("p", explanation, class_="soft"), render_figures(charts)])


def make_charts(comparison: Comparison) -> list[Chart]:
    """A chart for each loss term and each of D's accuracies, with a curve for each group."""
    groups = comparison.groups[:MAX_CURVES]
    names = dict.fromkeys(name for group in groups for run in group.runs for name in run.terms)
    shares = {name for name in names if name.partition("/")[2].startswith(("accuracy_", "probability_"))}
    shown: list[Chart] = []
    for name in sorted(names, key=lambda name: name in shares):
        series: list[dict[str, Any]] = []
        for index, group in enumerate(groups):
            each = [curves.downsample(run.images, run.columns[name]) for run in group.runs if name in run.columns]
            if each:
                series.append({"name": group.name, "colour": index, **merge_curves(each)})
        chart = {
            "id": f"c{len(shown)}",
            "title": curves.format_label(name),
            "unit": "images",
            "series": series,
            "legend": True,
            "smooth": max(len(curve["x"]) for curve in series) >= curves.SMOOTH_MIN_POINTS,
        }
        shown.append({**chart, "range": [0, 1]} if name in shares else chart)
    return shown


def make_score_charts(comparison: Comparison, first_number: int) -> list[Chart]:
    """A chart for each score that some run has at more than one number of images, using only the most common protocol.

    Args:
        comparison: the groups.
        first_number: number of the first chart, for its id.
    """
    groups = comparison.groups[:MAX_CURVES]
    entries = [entry for group in groups for run in group.runs for entry in run.scores]
    comparable = max(score_section.group_by_protocol(entries), key=len, default=[])
    shown: list[Chart] = []
    for name in score_section.list_score_names(comparable):
        series: list[dict[str, Any]] = []
        for index, group in enumerate(groups):
            each = [_select_points(run.scores, comparable, name) for run in group.runs]
            each = [curve for curve in each if curve["x"]]
            if each:
                series.append({"name": group.name, "colour": index, **merge_curves(each)})
        if any(len(merged["x"]) > 1 for merged in series):
            chart = {"id": f"c{first_number + len(shown)}", "title": name, "unit": "images", "series": series}
            shown.append({**chart, "points": True, "legend": True})
    return shown


def _select_points(entries: Sequence[Mapping[str, Any]], comparable: Sequence[Any], name: str) -> dict[str, list[Any]]:
    points = {entry["images"]: entry["scores"].get(name) for entry in entries if entry in comparable}
    points = {x: y for x, y in points.items() if isinstance(y, int | float)}
    return {"x": list(points), "y": list(points.values())}


def merge_curves(seed_curves: Sequence[Mapping[str, list[Any]]]) -> dict[str, list[Any]]:
    """Merge the curves of several seeds into their mean, minimum and maximum; a single curve is unchanged.

    Curves are interpolated linearly at the x of the longest one, and not extrapolated.
    """
    if len(seed_curves) == 1:
        return dict(seed_curves[0])
    x = max((curve["x"] for curve in seed_curves), key=len)
    lines = []
    for curve in seed_curves:
        points = [(a, b) for a, b in zip(curve["x"], curve["y"], strict=True) if b is not None]
        at, values = zip(*points, strict=True) if points else ((0.0,), (np.nan,))
        lines.append(np.interp(x, at, values, left=np.nan, right=np.nan))
    columns = [[float(v) for v in column if v == v] for column in np.array(lines).T]
    return {
        "x": list(x),
        "y": [curves.round_value(sum(column) / len(column)) if column else None for column in columns],
        "lo": [curves.round_value(min(column)) if column else None for column in columns],
        "hi": [curves.round_value(max(column)) if column else None for column in columns],
    }


def _render_runs(comparison: Comparison) -> Html:
    rows = [
        [run.folder.name, group.name, format_value(run.get_setting("train.seed")), run.state, quote_path(run.folder)]
        for group in comparison.groups
        for run in group.runs
    ]
    return render_table(["run", "row", "seed", "state", "where"], rows, caption="Each run")
