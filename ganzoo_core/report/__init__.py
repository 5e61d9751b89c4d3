"""A run as one HTML file that any browser opens without a network, and its curves as a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ganzoo_core import checkpoint
from ganzoo_core.api import UsageError
from ganzoo_core.report import curves, drawn, pictures, reading, scored, sections
from ganzoo_core.report.markup import Html
from ganzoo_core.report.page import Section, page

REPORT = "report.html"

T = TypeVar("T")


def write(folder: Path, out: Path | None = None) -> Path:
    """Write a run's report from what its folder holds; no framework is imported, and a run may still go on.

    What is missing or damaged is told in the report.

    Args:
        folder: the run's.
        out: the file; `report.html` in the run's folder without it.

    Returns:
        The file.

    Raises:
        UsageError: if the folder is no run's, or the file cannot be written.
    """
    path = out or folder / REPORT
    content = render(folder).encode("utf-8", "replace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_file(path, content)
    except OSError as error:
        raise UsageError(f"the report {path} cannot be written: {error.strerror}; choose another --out") from None
    return path


def render(folder: Path, *, live: bool = False) -> str:
    """The report as text.

    Args:
        folder: the run's.
        live: whether it asks its server for a newer one.

    Raises:
        UsageError: if the folder is no run's.
    """
    run = reading.read(folder)
    chosen = _or(pictures.Chosen([], []), lambda: pictures.choose(pictures.find(folder / "samples")))
    real = _or(None, lambda: pictures.one(folder / "samples" / "real.png"))
    nothing: list[curves.Chart] = []
    shown = _or(nothing, lambda: curves.charts(run))
    score_charts = _or(nothing, lambda: scored.charts(run))
    distances = _or(nothing, lambda: drawn.charts(run))
    walk = drawn.frames_of(run)
    parts = [
        Section("samples", "Samples", lambda: sections.samples(run, chosen, real)),
        Section("stages", "Stages", lambda: sections.stages(run, chosen)),
        Section("curves", "Curves", lambda: sections.charts(run, shown)),
        Section("scores", "Scores", lambda: scored.section(run, score_charts)),
        Section("nearest", "Is it memorising?", lambda: drawn.nearest(run)),
        Section("walk", "Latent walk", lambda: drawn.walk(run)),
        Section("settings", "Settings", lambda: sections.settings(run)),
        Section("again", "Make it again", lambda: sections.reproduction(run)),
    ]
    # A page holds its last picture already.
    slides = {
        "samples": {"frames": [*chosen.uris[:-1], None], "words": sections.captions(chosen.pictures)},
        "walk": {"frames": [*walk[:-1], None], "words": drawn.step_words(len(walk))},
    }
    data = {"charts": [*shown, *score_charts, *distances], "slides": slides}
    head = _or(Html(), lambda: sections.summary(run))
    return page(run.title, run.state, head, parts, data, live=live)


def _or(otherwise: T, make: Callable[[], T]) -> T:
    """What is made; the section that it is for says what went wrong, where something does."""
    try:
        return make()
    except Exception:
        return otherwise
