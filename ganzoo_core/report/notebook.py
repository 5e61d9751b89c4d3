"""Notebook displays of a run and of a run's progress, rendered with the report's functions.

IPython is not a dependency: it is used only in a kernel, which has loaded it already.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ganzoo_core.errors import UsageError
from ganzoo_core.generation.notebook_view import SIDE_BY_SIDE, render_block, render_image, render_part
from ganzoo_core.html.chart import draw_chart
from ganzoo_core.html.markup import Html, join, tag
from ganzoo_core.report import curves, pictures, run_record, score_section, sections
from ganzoo_core.runs import layout
from ganzoo_core.terminal.progress import Progress, Reporter, format_progress
from ganzoo_core.terminal.text import clean_text

MimeBundle = Mapping[str, str]  # representations of one output, by MIME type
Send = Callable[[MimeBundle], object]
REFRESH_SECONDS = 2.0  # seconds between updates of the display
MAX_TIME_SHARE = 20  # updates take at most 1/20 of the time
MAX_LINES = 12  # messages shown
FITS = "max-width:100%;height:auto"  # style of a chart
MAX_GRID_BYTES = 400_000  # bytes of a grid, sent every few seconds; a larger one is shrunk


def render_run(folder: Path) -> Html:
    """Render a run: its state, newest grid, curves and folded settings; or a note if the folder is not a run's."""
    try:
        run = run_record.read(folder)
    except UsageError as error:
        return sections.render_note(str(error))
    return render_block(
        tag("p", tag("strong", run.title), f" · {run.state} · ", tag("code", folder)),
        render_part("curves", lambda: _render_grid_and_curves(run)),
        render_part("settings", lambda: _render_folded("Settings", sections.render_settings(run))),
    )


class NotebookReporter(Reporter):
    """Reports a run's progress in one display, updated during the run: messages, progress, newest grid and curves.

    Args:
        send: shows the display, replacing the previous one.
        cpu, laptop_preset: see `Reporter`.
    """

    def __init__(self, send: Send, *, cpu: bool = True, laptop_preset: str = "") -> None:
        super().__init__(cpu=cpu, laptop_preset=laptop_preset)
        self._send = send
        self._messages: list[str | Html] = []
        self._folder: Path | None = None
        self._progress_text = ""
        self._drawn_at, self._min_interval = -REFRESH_SECONDS, REFRESH_SECONDS

    def __exit__(self, *_: object) -> None:
        self._draw()

    def begin(self, folder: Path) -> None:
        """Set the run's folder."""
        self._folder = folder

    def say(self, text: str) -> None:
        """Show a line above the curves."""
        self._messages.append(text)
        self._draw()

    def warn(self, text: str) -> None:
        """Show a highlighted line above the curves."""
        self._messages.append(join([tag("strong", "note: "), text]))
        self._draw()

    def estimate(self, seconds: float) -> None:
        """Show only the hint on a long run; the progress line has the estimate."""
        self.hint(seconds)

    def report(self, progress: Progress) -> None:
        """Update the progress, and draw the display unless it was just drawn."""
        self._progress_text = format_progress(progress)
        if self.is_stale():
            self._draw()

    def is_stale(self) -> bool:
        """Whether the last drawing is old enough to draw again."""
        return time.monotonic() - self._drawn_at > self._min_interval

    def show(self, progress: Progress) -> None:
        """Draw the display."""
        self._progress_text = format_progress(progress)
        self._draw()

    def report_epoch(self, progress: Progress) -> None:
        """Do nothing: the curves show it."""

    def _draw(self) -> None:
        began = time.monotonic()
        self._send(
            {
                "text/html": self._render(),
                "text/plain": clean_text(self._progress_text or (self._messages[-1] if self._messages else "")),
            }
        )
        self._drawn_at = time.monotonic()
        self._min_interval = max(REFRESH_SECONDS, MAX_TIME_SHARE * (self._drawn_at - began))

    def _render(self) -> Html:
        messages = [join([line, Html("<br>")]) for line in self._messages[-MAX_LINES:]]
        folder = self._folder
        return render_block(
            tag("p", *messages),
            tag("p", self._progress_text, role="status") if self._progress_text else None,
            render_part("curves", lambda: _render_grid_and_curves(run_record.read(folder)))
            if folder and _has_begun(folder)
            else None,
        )


class Display:
    """A display in this notebook: created by the first call, updated by later ones."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, bundle: MimeBundle) -> None:
        if self._handle is None:
            self._handle = importlib.import_module("IPython.display").display(dict(bundle), raw=True, display_id=True)
        else:
            self._handle.update(dict(bundle), raw=True)


_relay_sends: list[Send] = []  # used in a notebook's child process; see `relay_displays`


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)


def make_reporter(*, quiet: bool, cpu: bool, laptop_preset: str) -> Reporter:
    """Make the reporter for this process: a display in a notebook, else text; see `Reporter` for the arguments."""
    if not quiet and _relay_sends:
        return NotebookReporter(_relay_sends[-1], cpu=cpu, laptop_preset=laptop_preset)
    if not quiet and is_notebook():
        return NotebookReporter(Display(), cpu=cpu, laptop_preset=laptop_preset)
    return Reporter(quiet=quiet, cpu=cpu, laptop_preset=laptop_preset)


def relay_displays(say: Callable[[str], object]) -> None:
    """Relay the displays of this child process's runs to its parent, which shows them with `make_relay_display`."""
    _relay_sends.append(lambda bundle: say(json.dumps(dict(bundle))))


def make_relay_display() -> Callable[[str], None]:
    """Make a function that shows displays relayed by a child process; see `relay_displays`."""
    display = Display()
    return lambda text: display(json.loads(text))


def _has_begun(folder: Path) -> bool:
    return (folder / layout.STATS).exists()


def _render_grid_and_curves(run: run_record.RunRecord) -> Html:
    """The newest grid beside the curves."""
    latest = pictures.read_picture_facts(run.folder / layout.SAMPLES / layout.LATEST_GRID)
    chosen = pictures.choose_pictures([latest], MAX_GRID_BYTES) if latest is not None else None
    grid = None
    if chosen is not None and chosen.uris:
        grid = render_image(chosen.uris[0], "The newest grid of generated images", min(360, chosen.pictures[0].size[0]))
    charts = [*curves.make_charts(run), *score_section.make_charts(run)]
    drawn = [render_part(chart["id"], partial(draw_chart, chart, style=FITS)) for chart in charts]
    return tag("div", grid, tag("div", *drawn, style=f"flex:1 1 400px;{SIDE_BY_SIDE}"), style=SIDE_BY_SIDE)


def _render_folded(title: str, body: Html) -> Html:
    return tag("details", tag("summary", title), body)
