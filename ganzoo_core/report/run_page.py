"""A run's report as one self-contained HTML file."""

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
    """Write a run's report from its folder, without importing a framework; the run may still be training.

    Missing or damaged files are noted in the report.

    Args:
        folder: the run's.
        out: the output file; by default `report.html` in the run's folder.

    Returns:
        The output file.

    Raises:
        UsageError: if the folder is not a run's, or the file cannot be written.
    """
    path = out or folder / REPORT
    content = render(folder).encode("utf-8", "replace")
    write_output(path, content, named_by_user=out is not None)
    return path


def render(folder: Path, *, live: bool = False) -> str:
    """Render the report as HTML text.

    Args:
        folder: the run's.
        live: whether the page polls its server for updates.

    Raises:
        UsageError: if the folder is not a run's.
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
    # The page's HTML contains the last picture already.
    slides = {
        "samples": {"frames": [*chosen.value.uris[:-1], None], "words": captions.value},
        "walk": {"frames": [*frames.value[:-1], None], "words": steps.value},
    }
    data = {"charts": [*shown.value, *score_charts.value, *distances.value], "slides": slides}
    head = make_or_explain(Section("summary", "Summary", lambda: sections.render_summary(run))) or Html()
    return render_page(run.title, run.state, head, parts, data, live=live)


class _Attempt(Generic[T]):
    """A value shared by a section and the page's data, made once; an error is raised only in the section.

    Attributes:
        value: the result, or `fallback` after an error.
    """

    def __init__(self, make: Callable[[], T], fallback: T) -> None:
        self._error: Exception | None = None
        try:
            self.value = make()
        except Exception as error:
            self.value, self._error = fallback, error

    def get(self) -> T:
        """The result; raises the error if making it failed."""
        if self._error is not None:
            raise self._error
        return self.value

    def require(self, section: Html) -> Html:
        """Return `section`; raises the error if making the value failed."""
        self.get()
        return section
