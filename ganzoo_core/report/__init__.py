"""A run as one HTML file that any browser opens without a network, and its curves as a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ganzoo_core.outputs import write_output
from ganzoo_core.report import curves, drawn, pictures, reading, scored, sections
from ganzoo_core.report.markup import Html
from ganzoo_core.report.page import Section, make_section, page

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
    write_output(path, content, named=out is not None)
    return path


def render(folder: Path, *, live: bool = False) -> str:
    """The report as text.

    Args:
        folder: the run's.
        live: whether it asks its server for a newer one.

    Raises:
        UsageError: if the folder is no run's.
    """
    run, attempts = reading.read(folder), _Attempts()
    samples = folder / "samples"
    chosen = attempts.make("samples", pictures.Chosen([], []), lambda: pictures.choose(pictures.find(samples)))
    real = attempts.make("samples", None, lambda: pictures.one(samples / "real.png"))
    nothing: list[curves.Chart] = []
    shown = attempts.make("curves", nothing, lambda: curves.charts(run))
    score_charts = attempts.make("scores", nothing, lambda: scored.charts(run))
    distances = attempts.make("nearest", nothing, lambda: drawn.charts(run))
    no_frames: list[str] = []
    walk = attempts.make("walk", no_frames, lambda: drawn.frames_of(run))
    parts = [
        attempts.section("samples", "Samples", lambda: sections.samples(run, chosen, real)),
        attempts.section("stages", "Stages", lambda: sections.stages(run, chosen), of="samples"),
        attempts.section("curves", "Curves", lambda: sections.charts(run, shown)),
        attempts.section("scores", "Scores", lambda: scored.section(run, score_charts)),
        attempts.section("nearest", "Is it memorising?", lambda: drawn.nearest(run)),
        attempts.section("walk", "Latent walk", lambda: drawn.walk(run)),
        attempts.section("settings", "Settings", lambda: sections.settings(run)),
        attempts.section("again", "Make it again", lambda: sections.reproduction(run)),
    ]
    # A page holds its last picture already.
    slides = {
        "samples": {"frames": [*chosen.uris[:-1], None], "words": sections.captions(chosen.pictures)},
        "walk": {"frames": [*walk[:-1], None], "words": drawn.step_words(len(walk))},
    }
    data = {"charts": [*shown, *score_charts, *distances], "slides": slides}
    head = make_section(Section("summary", "Summary", lambda: sections.summary(run))) or Html()
    return page(run.title, run.state, head, parts, data, live=live)


class _Attempts:
    """What several parts of a page need, each made on its own: an error in it is the error of those parts."""

    def __init__(self) -> None:
        self._errors: dict[str, Exception] = {}

    def make(self, name: str, otherwise: T, make: Callable[[], T]) -> T:
        """What `make` gives; `otherwise`, where it raises, and then `section` shows the error under that name."""
        try:
            return make()
        except Exception as error:
            self._errors[name] = error
            return otherwise

    def section(self, name: str, heading: str, make: Callable[[], Html | None], *, of: str = "") -> Section:
        """A section that shows what went wrong with what it needs, which was made under its name or as `of`."""

        def make_or_raise() -> Html | None:
            if (of or name) in self._errors:
                raise self._errors[of or name]
            return make()

        return Section(name, heading, make_or_raise)
