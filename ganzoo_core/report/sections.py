"""The sections of a run's report, each made from the run's folder alone."""

from __future__ import annotations

import contextlib
import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganzoo_core.html.chart import Chart
from ganzoo_core.html.markup import Html, join, table, tag
from ganzoo_core.report import curves
from ganzoo_core.report.pictures import Chosen, Picture
from ganzoo_core.report.run_record import Recorded, Setting, number
from ganzoo_core.runs import health, layout
from ganzoo_core.terminal.progress import duration

CELL = 60  # characters of a value in a table


def summary(run: Recorded) -> Html:
    """What was run, how far it is, and how fast it went."""
    settings, last = run.chosen, {name: column[-1] for name, column in run.columns.items() if column}
    facts: list[tuple[str, object]] = [
        ("loss", settings("use.loss")),
        ("schedule", settings("use.schedule")),
        ("modifiers", ", ".join(map(str, settings("use.with") or ()))),
        ("preset", run.fact("preset")),
        ("seed", settings("train.seed")),
        ("training images", _count(run.fact("data", "images"))),
        ("classes", _count(run.fact("data_summary", "classes", "count"))),
        ("pictures", run.fact("data_summary", "framing")),
        ("held out", _count(run.fact("data_summary", "held_out"))),
        ("files skipped", _count(run.fact("data_summary", "skipped") or "")),
        ("epochs seen", f"{last['epoch']:,.0f}" if number(last.get("epoch")) >= 0 else ""),
        ("trained for", duration(last["seconds"]) if number(last.get("seconds")) >= 0 else ""),
        ("speed", _speed(last.get("images_per_second"))),
        ("device", " on ".join(filter(None, (run.fact("engine", "framework"), run.fact("engine", "device"))))),
    ]
    shown = [
        tag("div", tag("dt", name), tag("dd", value)) for name, value in facts if str(value) not in ("", "None", "[]")
    ]
    warnings = run.fact("warnings")
    notes = [*(warnings if isinstance(warnings, list) else ()), *_separation(run), *run.notes]
    return join(
        [
            tag("dl", *shown, class_="facts") if shown else None,
            tag("ul", *(tag("li", note) for note in notes), class_="notes") if notes else None,
        ]
    )


def _separation(run: Recorded) -> list[str]:
    """A sentence where D told training images from generated ones without fail, found in the statistics."""
    watched = health.Separation()
    for values in zip(*run.columns.values(), strict=True):
        watched.see({name: value for name, value in zip(run.columns, values, strict=True) if not math.isnan(value)})
    if watched.found_at is None:
        return []
    lr_d = run.chosen("train.lr_d") or run.chosen("train.lr")
    ended = run.seen if run.seen >= run.length else 0
    schedule = str(run.chosen("use.schedule"))
    return [health.explain_separation(watched.found_at, run=run.folder, lr_d=lr_d, ended=ended, schedule=schedule)]


def _count(text: Any) -> str:
    return f"{text:,}" if isinstance(text, int) else ""


def _speed(rate: Any) -> str:
    return f"{number(rate):,.0f} images/s" if number(rate) > 0 else ""


def samples(run: Recorded, chosen: Chosen, real: tuple[Picture, str] | None) -> Html:
    """The grids over time, beside real images."""
    if not chosen.pictures:
        fake = sentence("No grid was drawn yet: the first comes with the first report.")
    else:
        alternative = f"Grid of generated images after {chosen.pictures[-1].images:,} images seen"
        size = tuple(max(picture.size[axis] for picture in chosen.pictures) for axis in (0, 1))
        fake = slides("samples", chosen.uris, captions(chosen.pictures), size, "generated", alternative)
    if real is None:
        beside = sentence(f"{layout.SAMPLES}/{layout.REAL_GRID} is not there, so no real images stand beside them.")
    else:
        picture = tag("img", src=real[1], alt="Grid of real training images", width=real[0].size[0])
        beside = tag("figure", tag("figcaption", tag("strong", "real")), picture, class_="picture")
    note = tag("p", chosen.note, class_="soft") if chosen.note else None
    about = tag(
        "p", "Each grid is drawn from the same noise, so a place shows one picture as it changes.", class_="soft"
    )
    # A conditional model's grid holds real images too, so it is twice as wide.
    is_wide = bool(chosen.pictures) and chosen.pictures[-1].size[0] > 1.3 * chosen.pictures[-1].size[1]
    return join([about, tag("div", fake, beside, class_="pair wide" if is_wide else "pair"), note])


def slides(
    name: str,
    uris: Sequence[str],
    words: Sequence[str],
    size: Sequence[int],
    title: str,
    alternative: str,
    at: int = -1,
) -> Html:
    """Pictures with a slider through them; the page's script moves it. Without it the last picture is there.

    Args:
        name: of the frames in the page's data.
        uris, words: the pictures, and what is said of each.
        size: width and height of the largest, in pixels.
        title, alternative: what they are, in a word and in a sentence.
        at: the one that is shown first, 0 or -1.
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


def captions(shown: Sequence[Picture]) -> list[str]:
    """`3,504 images`, and what the grid says of itself."""
    return [
        ", ".join([f"{picture.images:,} images", *(f"{key} {value}" for key, value in picture.facts)])
        for picture in shown
    ]


def charts(run: Recorded, shown: Sequence[Chart]) -> Html:
    """Places for the charts, which the page's script draws, each with its values as a table."""
    if not shown:
        return sentence("There are no statistics yet: the first line comes with the first report.")
    lines = len(run.images)
    thinned = any("lo" in series for chart in shown for series in chart["series"])
    about = f"From {lines:,} line{'s' * (lines != 1)} of {layout.STATS}, each the mean since the line before."
    if thinned:
        about += (
            f" Neighbouring lines are merged into at most {curves.BUCKETS} points: the line is their mean, and the "
            "shade behind it reaches from the least to the largest."
        )
    if any(chart["smooth"] for chart in shown):
        about += " Pale: as reported. Strong: a running mean."
    constants = [f"{name} {value:g}" for name, value in curves.constants(run).items()]
    steady = tag("p", "Never changed: " + ", ".join(constants) + ".", class_="soft") if constants else None
    return join([tag("p", about, class_="soft"), figures(shown), steady])


def figures(shown: Sequence[Chart], *, small: bool = False) -> Html:
    """The charts beside each other."""
    return tag("div", *(figure(chart) for chart in shown), class_="charts small" if small else "charts")


def figure(chart: Chart) -> Html:
    """One chart's place: its title, room for the curves, and the values as a table."""
    head = [chart["unit"], *(series["name"] for series in chart["series"])]
    values = table(head, curves.rows(chart), caption=f"{chart['title']}, by {chart['unit']}", numbers=True)
    return tag(
        "figure",
        tag("figcaption", tag("h3", chart["title"])),
        tag("div", class_="legend"),
        tag("div", class_="plot"),
        tag("p", class_="cut soft", hidden=True),
        tag("details", tag("summary", "Values"), values),
        class_="chart",
        data_chart=chart["id"],
    )


def stages(run: Recorded, chosen: Chosen) -> Html | None:
    """The stages of a run that grows; None for any other."""
    found = curves.stages(run)
    if not found:
        return None
    cards = []
    for stage in found:
        within = [
            place
            for place, picture in enumerate(chosen.pictures)
            if dict(picture.facts).get("resolution", "") == f"{stage['resolution']:g}"
        ]
        faded = stage.get("faded")
        words = [f"{stage['from']:,.0f} to {stage['to']:,.0f} images"]
        if faded is not None and faded > stage["from"] and stage is not found[0]:
            words.append(f"faded in by {faded:,.0f}")
        elif faded is None:
            words.append("not yet faded in")
        size = f"{stage['resolution']:g}×{stage['resolution']:g}"
        image = tag("img", alt=f"Last grid at {size} pixels", data_frame=within[-1]) if within else None
        cards.append(
            tag("figure", image, tag("figcaption", tag("strong", f"{size} pixels"), " ", "; ".join(words) + "."))
        )
    return tag("div", *cards, class_="stages", data_frames="samples")


def settings(run: Recorded) -> Html:
    """Every setting with its origin; those chosen for this run first."""
    if not run.settings:
        return sentence(f"{layout.CONFIG} is not there or holds no settings.")
    chosen = [setting for setting in run.settings.values() if _is_chosen(setting)]
    rest = [setting for setting in run.settings.values() if not _is_chosen(setting)]
    head = ("setting", "value", "from")
    first = table(head, map(_row, chosen), caption="Chosen for this run") if chosen else None
    others = table(head, map(_row, rest), caption="As the core, the model and its parts have them")
    return join([first, tag("details", tag("summary", f"{len(rest)} others"), others, open=not chosen)])


def _is_chosen(setting: Setting) -> bool:
    """Whether a flag, `--set` or a file said so."""
    return setting.origin.startswith("--") or setting.origin == "MODEL" or setting.origin.endswith((".yaml", ".yml"))


def _row(setting: Setting) -> tuple[str, str, str]:
    return setting.key, plain(setting.value), setting.origin


def plain(value: Any, longest: int = CELL) -> str:
    """A value in a table, cut where it is long."""
    if isinstance(value, list):
        text = ", ".join(map(str, value)) or "none"
    else:
        text = str(value).lower() if value is None or isinstance(value, bool) else str(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def reproduction(run: Recorded) -> Html:
    """The commands, and the versions that it was made with."""
    folder = quoted(run.folder)
    if not run.settings:
        return sentence(f"{layout.CONFIG} is not there, so the run cannot be made again from its folder.")
    objects = [key for key, setting in run.settings.items() if key.startswith("use.") and setting.value == "(object)"]
    if objects:
        first = sentence(
            f"{', '.join(objects)} was given as an object in Python, so no command makes the run again; give it again."
        )
    else:
        first = commands([f"ganzoo run --config {quoted(run.folder / layout.CONFIG)}"], "The same run again")
    if run.seen and run.finished_at >= run.seen >= run.length:
        more = commands(
            [f"ganzoo resume {folder} --images {2 * run.seen}"],
            "Go on, for twice as long; a schedule that depends on the length does not allow it",
        )
    else:
        more = commands([f"ganzoo resume {folder}"], "Go on from where it stopped")
    draw = [f"ganzoo generate {folder} -n 64 --out grid.png"]
    parts = run.fact("parts")
    versions = [("ganzoo", run.fact("ganzoo")), ("Python", run.fact("python")), ("numpy", run.fact("numpy"))]
    versions += [(run.fact("engine", "framework"), run.fact("engine", "version"))]
    versions += [(slot, text) for slot, text in (parts.items() if isinstance(parts, dict) else ())]
    digest = run.fact("data", "sha256")
    versions += [("data's fingerprint", digest)] if digest else []
    rows = [(name, plain(value, 80)) for name, value in versions if name and value]
    return join(
        [
            first,
            more,
            commands(draw, "Draw from it"),
            tag("h3", "Made with"),
            table(("what", "version"), rows, caption="Versions") if rows else sentence("The versions were not kept."),
        ]
    )


def commands(lines: Sequence[str], title: str = "") -> Html:
    """Lines for a terminal, with a button that copies them."""
    text = tag("pre", tag("code", "\n".join(lines)), tabindex="0")
    button = tag("button", "Copy", type="button", class_="copy")
    return tag("div", tag("p", title) if title else None, tag("div", text, button, class_="command"))


def quoted(path: Path) -> str:
    """A path as a shell takes it: relative where it lies below the current folder."""
    with contextlib.suppress(ValueError, OSError):
        path = path.resolve().relative_to(Path.cwd())
    text = str(path)
    return text if re.fullmatch(r"[\w@%+=:,./\\-]+", text) else shlex.quote(text)


def sentence(text: str) -> Html:
    """A paragraph that says why there is nothing to show."""
    return tag("p", text, class_="absent")
