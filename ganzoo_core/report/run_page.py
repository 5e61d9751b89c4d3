"""A run as one HTML file that any browser opens without a network, and its curves as a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from ganzoo_core.html import chart
from ganzoo_core.html.markup import Html
from ganzoo_core.html.page import Section, make_or_explain, render_page
from ganzoo_core.report import curves, generator_sections, pictures, run_record, score_section, sections
from ganzoo_core.runs import layout
from ganzoo_core.runs.layout import REPORT
from ganzoo_core.storage.outputs import write_output

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
    write_output(path, content, named_by_user=out is not None)
    return path


def render(folder: Path, *, live: bool = False) -> str:
    """The report as text.

    Args:
        folder: the run's.
        live: whether it asks its server for a newer one.

    Raises:
        UsageError: if the folder is no run's.
    """
    run = run_record.read(folder)
    grids = folder / layout.SAMPLES
    chosen = _Attempt(lambda: pictures.choose_pictures(pictures.find_grids(grids)), pictures.ChosenPictures([], []))
    captions = _Attempt[list[str]](lambda: sections.make_captions(chosen.get().pictures), [])
    real = _Attempt[tuple[pictures.Picture, str] | None](lambda: pictures.load_picture(grids / layout.REAL_GRID), None)
    shown = _Attempt[list[chart.Chart]](lambda: curves.make_charts(run), [])
    score_charts = _Attempt[list[chart.Chart]](lambda: score_section.make_charts(run), [])
    distances = _Attempt[list[chart.Chart]](lambda: generator_sections.make_charts(run), [])
    frames = _Attempt[list[str]](lambda: generator_sections.list_frames(run), [])
    steps = _Attempt[list[str]](lambda: generator_sections.make_step_captions(len(frames.get())), [])
    parts = [
        Section("samples", "Samples", lambda: captions.require(sections.render_samples(run, chosen.get(), real.get()))),
        Section("stages", "Stages", lambda: sections.render_stages(run, chosen.get())),
        Section("curves", "Curves", lambda: sections.render_charts(run, shown.get())),
        Section("scores", "Scores", lambda: score_section.render_scores(run, score_charts.get())),
        Section("nearest", "Is it memorising?", lambda: distances.require(generator_sections.render_nearest(run))),
        Section("walk", "Latent walk", lambda: steps.require(generator_sections.render_walk(run))),
        Section("settings", "Settings", lambda: sections.render_settings(run)),
        Section("again", "Make it again", lambda: sections.render_reproduction(run)),
    ]
    # A page holds its last picture already.
    slides = {
        "samples": {"frames": [*chosen.value.uris[:-1], None], "words": captions.value},
        "walk": {"frames": [*frames.value[:-1], None], "words": steps.value},
    }
    data = {"charts": [*shown.value, *score_charts.value, *distances.value], "slides": slides}
    head = make_or_explain(Section("summary", "Summary", lambda: sections.render_summary(run))) or Html()
    return render_page(run.title, run.state, head, parts, data, live=live)


class _Attempt(Generic[T]):
    """What a section and the page's data share, made once; the section that asks for it raises what went wrong.

    Attributes:
        value: what was made, or `fallback`.
    """

    def __init__(self, make: Callable[[], T], fallback: T) -> None:
        self._error: Exception | None = None
        try:
            self.value = make()
        except Exception as error:
            self.value, self._error = fallback, error

    def get(self) -> T:
        """What was made; raises the error of making it."""
        if self._error is not None:
            raise self._error
        return self.value

    def require(self, section: Html) -> Html:
        """A section that stands only where this could be made; raises the error of making it."""
        self.get()
        return section
