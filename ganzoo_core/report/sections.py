"""The sections of a run's report that need only the run's folder."""

from __future__ import annotations

import contextlib
import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganzoo_core.html.chart import Chart, draw_chart
from ganzoo_core.html.markup import Html, join, render_table, tag
from ganzoo_core.messages import pluralise
from ganzoo_core.mix.finding import OBJECT
from ganzoo_core.report import curves
from ganzoo_core.report.pictures import ChosenPictures, Picture
from ganzoo_core.report.run_record import RunRecord, Setting, to_number
from ganzoo_core.runs import health, layout
from ganzoo_core.terminal.progress import format_duration

MAX_CELL_LENGTH = 60  # characters of a value in a table


def render_summary(run: RunRecord) -> Html:
    """The run's parts, data, progress and speed, with warnings and notes."""
    settings, last = run.get_setting, {name: column[-1] for name, column in run.columns.items() if column}
    conditions = run.get_fact("data_summary", "conditions") or {}
    facts: list[tuple[str, object]] = [
        ("loss", settings("use.loss")),
        ("schedule", settings("use.schedule")),
        ("modifiers", ", ".join(map(str, settings("use.with") or ()))),
        ("preset", run.get_fact("preset")),
        ("seed", settings("train.seed")),
        ("training images", _format_count(run.get_fact("data", "images"))),
        ("classes", _format_count(run.get_fact("data_summary", "classes", "count"))),
        ("pictures", run.get_fact("data_summary", "framing")),
        ("conditions", "; ".join(f"{name}: {text}" for name, text in conditions.items())),
        ("held out", _format_count(run.get_fact("data_summary", "held_out"))),
        ("files skipped", _format_count(run.get_fact("data_summary", "skipped") or "")),
        ("epochs seen", f"{last['epoch']:,.0f}" if to_number(last.get("epoch")) >= 0 else ""),
        ("trained for", format_duration(last["seconds"]) if to_number(last.get("seconds")) >= 0 else ""),
        ("speed", _format_speed(last.get("images_per_second"))),
        ("device", " on ".join(filter(None, (run.get_fact("engine", "framework"), run.get_fact("engine", "device"))))),
    ]
    shown = [
        tag("div", tag("dt", name), tag("dd", value)) for name, value in facts if str(value) not in ("", "None", "[]")
    ]
    warnings = run.get_fact("warnings")
    notes = [*(warnings if isinstance(warnings, list) else ()), *_explain_separation(run), *run.notes]
    return join(
        [
            tag("dl", *shown, class_="facts") if shown else None,
            tag("ul", *(tag("li", note) for note in notes), class_="notes") if notes else None,
        ]
    )


def _explain_separation(run: RunRecord) -> list[str]:
    """A warning if the statistics show that D separated real from generated images perfectly, else an empty list."""
    detector = health.SeparationDetector()
    for values in zip(*run.columns.values(), strict=True):
        detector.update({name: value for name, value in zip(run.columns, values, strict=True) if not math.isnan(value)})
    if detector.detected_at is None:
        return []
    lr_d = run.get_setting("train.lr_d") or run.get_setting("train.lr")
    ended = run.images_seen if run.images_seen >= run.length else 0
    schedule = str(run.get_setting("use.schedule"))
    return [
        health.explain_separation(
            detector.detected_at, run=run.folder, lr_d=lr_d, final_images=ended, schedule=schedule
        )
    ]


def _format_count(text: Any) -> str:
    return f"{text:,}" if isinstance(text, int) else ""


def _format_speed(rate: Any) -> str:
    return f"{to_number(rate):,.0f} images/s" if to_number(rate) > 0 else ""


def render_samples(run: RunRecord, grids: ChosenPictures, real: tuple[Picture, str] | None) -> Html:
    """The sample grids over time, beside real images."""
    if not grids.pictures:
        fake = render_note("No grid was drawn yet: the first comes with the first report.")
    else:
        alternative = f"Grid of generated images after {pluralise(grids.pictures[-1].images, 'image')} seen"
        size = tuple(max(picture.size[axis] for picture in grids.pictures) for axis in (0, 1))
        fake = render_slides("samples", grids.uris, make_captions(grids.pictures), size, "generated", alternative)
    if real is None:
        beside = render_note(f"{layout.SAMPLES}/{layout.REAL_GRID} is not there, so no real images stand beside them.")
    else:
        picture = tag("img", src=real[1], alt="Grid of real training images", width=real[0].size[0])
        beside = tag("figure", tag("figcaption", tag("strong", "real")), picture, class_="picture")
    note = tag("p", grids.note, class_="soft") if grids.note else None
    about = tag(
        "p", "Each grid is drawn from the same noise, so a place shows one picture as it changes.", class_="soft"
    )
    # A conditional model's grid contains real images too, so it is twice as wide.
    is_wide = bool(grids.pictures) and grids.pictures[-1].size[0] > 1.3 * grids.pictures[-1].size[1]
    return join([about, tag("div", fake, beside, class_="pair wide" if is_wide else "pair"), note])


def render_slides(
    name: str,
    uris: Sequence[str],
    words: Sequence[str],
    size: Sequence[int],
    title: str,
    alternative: str,
    at: int = -1,
) -> Html:
    """Pictures with a slider, moved by the page's script; without the script the last picture is shown.

    Args:
        name: of the frames in the page's data.
        uris, words: the pictures and their captions.
        size: width and height of the largest, in pixels.
        title, alternative: the title in one word, and the alternative text.
        at: index of the picture shown first, 0 or -1.
    """
    last = len(uris) - 1
    controls = tag(
        "div",
        tag("button", "Play", type="button", class_="play", aria_label=f"Play through the {title} pictures"),
        tag(
            "input", type="range", min=0, max=last, value=last if at else 0, step=1, aria_label=f"Which {title} picture"
        ),
        class_="controls",
    )
    return tag(
        "figure",
        tag("figcaption", tag("strong", title), " ", tag("output", words[at])),
        tag("img", src=uris[-1], alt=alternative, width=size[0], height=size[1]),
        controls if last else None,
        class_="picture",
        data_slides=name,
    )


def make_captions(pictures: Sequence[Picture]) -> list[str]:
    """Captions such as `3,504 images, resolution 32`."""
    return [
        ", ".join([pluralise(picture.images, "image"), *(f"{key} {value}" for key, value in picture.facts)])
        for picture in pictures
    ]


def render_charts(run: RunRecord, charts: Sequence[Chart]) -> Html:
    """Charts, each with a table of its values."""
    if not charts:
        return render_note("There are no statistics yet: the first line comes with the first report.")
    lines = len(run.images)
    thinned = any("lo" in series for chart in charts for series in chart["series"])
    about = f"From {lines:,} line{'s' * (lines != 1)} of {layout.STATS}, each the mean since the line before."
    if thinned:
        about += (
            f" Neighbouring lines are merged into at most {curves.MAX_POINTS} points: the line is their mean, and the "
            "shade behind it reaches from the least to the largest."
        )
    if any(chart.get("smooth") for chart in charts):
        about += " Pale: as reported. Strong: a running mean."
    constants = [f"{name} {value:g}" for name, value in curves.find_constants(run).items()]
    steady = tag("p", "Never changed: " + ", ".join(constants) + ".", class_="soft") if constants else None
    return join([tag("p", about, class_="soft"), render_figures(charts), steady])


def render_figures(charts: Sequence[Chart], *, small: bool = False) -> Html:
    """Charts side by side."""
    return tag("div", *(render_figure(chart) for chart in charts), class_="charts small" if small else "charts")


def render_figure(chart: Chart) -> Html:
    """A chart and a table of its values."""
    head = [chart["unit"], *(series["name"] for series in chart["series"])]
    values = render_table(head, curves.make_rows(chart), caption=f"{chart['title']}, by {chart['unit']}", numeric=True)
    return tag(
        "figure",
        tag("div", draw_chart(chart, interactive=True), class_="plot"),
        tag("details", tag("summary", "Values"), values),
        class_="chart",
        data_chart=chart["id"],
    )


def render_stages(run: RunRecord, grids: ChosenPictures) -> Html | None:
    """The stages of a progressively growing run; None for any other."""
    stages = curves.find_stages(run)
    if not stages:
        return None
    cards = []
    for stage in stages:
        within = [
            index
            for index, picture in enumerate(grids.pictures)
            if dict(picture.facts).get("resolution", "") == f"{stage['resolution']:g}"
        ]
        faded = stage.get("faded")
        words = [f"{stage['from']:,.0f} to {stage['to']:,.0f} images"]
        if faded is not None and faded > stage["from"] and stage is not stages[0]:
            words.append(f"faded in by {faded:,.0f}")
        elif faded is None:
            words.append("not yet faded in")
        size = f"{stage['resolution']:g}×{stage['resolution']:g}"
        image = tag("img", alt=f"Last grid at {size} pixels", data_frame=within[-1]) if within else None
        cards.append(
            tag("figure", image, tag("figcaption", tag("strong", f"{size} pixels"), " ", "; ".join(words) + "."))
        )
    return tag("div", *cards, class_="stages", data_frames="samples")


def render_settings(run: RunRecord) -> Html:
    """All settings with their origins; those chosen for this run first."""
    if not run.settings:
        return render_note(f"{layout.CONFIG} is not there or holds no settings.")
    chosen = [setting for setting in run.settings.values() if _is_chosen(setting)]
    rest = [setting for setting in run.settings.values() if not _is_chosen(setting)]
    head = ("setting", "value", "from")
    first = render_table(head, map(_make_row, chosen), caption="Chosen for this run") if chosen else None
    others = render_table(head, map(_make_row, rest), caption="As the core, the model and its parts have them")
    return join([first, tag("details", tag("summary", f"{len(rest)} others"), others, open=not chosen)])


def _is_chosen(setting: Setting) -> bool:
    """Whether the value was set by a flag, `--set` or a file."""
    return setting.origin.startswith("--") or setting.origin == "MODEL" or setting.origin.endswith((".yaml", ".yml"))


def _make_row(setting: Setting) -> tuple[str, str, str]:
    return setting.key, format_value(setting.value), setting.origin


def format_value(value: Any, max_length: int = MAX_CELL_LENGTH) -> str:
    """A value as text for a table cell, truncated to `max_length`."""
    if isinstance(value, list):
        text = ", ".join(map(str, value)) or "none"
    else:
        text = str(value).lower() if value is None or isinstance(value, bool) else str(value)
    return text if len(text) <= max_length else text[: max_length - 1] + "…"


def render_reproduction(run: RunRecord) -> Html:
    """Commands to reproduce, resume and draw from the run, and the versions it used."""
    folder = quote_path(run.folder)
    if not run.settings:
        return render_note(f"{layout.CONFIG} is not there, so the run cannot be made again from its folder.")
    objects = [key for key, setting in run.settings.items() if key.startswith("use.") and setting.value == OBJECT]
    if objects:
        first = render_note(
            f"{', '.join(objects)} was given as an object in Python, so no command makes the run again; give it again."
        )
    else:
        first = render_commands([f"ganzoo run --config {quote_path(run.folder / layout.CONFIG)}"], "The same run again")
    if run.images_seen and run.generator_images >= run.images_seen >= run.length:
        more = render_commands(
            [f"ganzoo resume {folder} --images {2 * run.images_seen}"],
            "Go on, for twice as long; a schedule that depends on the length does not allow it",
        )
    else:
        more = render_commands([f"ganzoo resume {folder}"], "Go on from where it stopped")
    draw = [f"ganzoo generate {folder} -n 64 --out grid.png"]
    if run.draws_from_conditions:
        draw = [f"ganzoo generate {folder} --on test --out grid.png"]
    parts = run.get_fact("parts")
    versions = [
        ("ganzoo", run.get_fact("ganzoo")),
        ("Python", run.get_fact("python")),
        ("numpy", run.get_fact("numpy")),
    ]
    versions += [(run.get_fact("engine", "framework"), run.get_fact("engine", "version"))]
    versions += [(slot, text) for slot, text in (parts.items() if isinstance(parts, dict) else ())]
    digest = run.get_fact("data", "sha256")
    versions += [("data's fingerprint", digest)] if digest else []
    rows = [(name, format_value(value, 80)) for name, value in versions if name and value]
    return join(
        [
            first,
            more,
            render_commands(draw, "Draw from it"),
            tag("h3", "Made with"),
            render_table(("what", "version"), rows, caption="Versions")
            if rows
            else render_note("The versions were not kept."),
        ]
    )


def render_commands(lines: Sequence[str], title: str = "") -> Html:
    """Shell commands with a copy button."""
    text = tag("pre", tag("code", "\n".join(lines)), tabindex="0")
    button = tag("button", "Copy", type="button", class_="copy")
    return tag("div", tag("p", title) if title else None, tag("div", text, button, class_="command"))


def quote_path(path: Path) -> str:
    """A path quoted for the shell; relative if it is inside the current folder."""
    with contextlib.suppress(ValueError, OSError):
        path = path.resolve().relative_to(Path.cwd())
    text = str(path)
    return text if re.fullmatch(r"[\w@%+=:,./\\-]+", text) else shlex.quote(text)


def render_note(text: str) -> Html:
    """A paragraph that explains why something is missing."""
    return tag("p", text, class_="absent")
