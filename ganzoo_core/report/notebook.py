"""What a notebook shows: a run, a saved generator, and a run as it goes on. Everything is made as the report makes it.

IPython is never imported for this; where a kernel runs, it is there already.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from ganzoo_core.errors import UsageError
from ganzoo_core.generation.notebook_view import SIDE_BY_SIDE, render_block, render_image, render_part
from ganzoo_core.html.chart import draw_chart
from ganzoo_core.html.markup import Html, join, tag
from ganzoo_core.report import curves, pictures, run_record, score_section, sections
from ganzoo_core.runs import layout
from ganzoo_core.terminal.progress import Progress, Reporter, format_progress
from ganzoo_core.terminal.text import clean_text

MimeBundle = Mapping[str, str]  # one thing to show, by its MIME type
Send = Callable[[MimeBundle], object]
REFRESH_SECONDS = 2.0  # seconds between two drawings of what goes on
MAX_TIME_SHARE = 20  # a drawing takes no more than one part in so many of the time
MAX_LINES = 12  # that are shown of what was said
MAX_GRID_BYTES = 400_000  # bytes of a grid, which may go to the browser every few seconds; a larger one is shrunk


def render_run(folder: Path) -> Html:
    """A run: its state, the newest grid, the curves, and the settings with their origins, folded; or why not."""
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
    """Tells a run's progress in one display, drawn anew as the run goes on: what was said, the curves, the newest grid.

    Args:
        send: shows it, in place of what it showed before.
        cpu, laptop_preset: see `Reporter`.
    """

    def __init__(self, send: Send, *, cpu: bool = True, laptop_preset: str = "") -> None:
        super().__init__(cpu=cpu, laptop_preset=laptop_preset)
        self._send = send
        self._messages: list[str | Html] = []
        self._folder: Path | None = None
        self._progress_text = ""
        self._drawn_at, self._min_interval = -REFRESH_SECONDS, REFRESH_SECONDS

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw()

    def begin(self, folder: Path) -> None:
        """The run is kept there."""
        self._folder = folder

    def say(self, text: str) -> None:
        """A line above the curves."""
        self._messages.append(text)
        self._draw()

    def warn(self, text: str) -> None:
        """A line above the curves that stands out."""
        self._messages.append(join([tag("strong", "note: "), text]))
        self._draw()

    def estimate(self, seconds: float) -> None:
        """The progress line has it; only the hint of a long run is said."""
        self.hint(seconds)

    def report(self, progress: Progress) -> None:
        """A report, drawn unless one has just been."""
        self._progress_text = format_progress(progress)
        if self.is_stale():
            self._draw()

    def is_stale(self) -> bool:
        """Whether the display was drawn long enough ago to be drawn again."""
        return time.monotonic() - self._drawn_at > self._min_interval

    def show(self, progress: Progress) -> None:
        """Draw the display."""
        self._progress_text = format_progress(progress)
        self._draw()

    def report_epoch(self, progress: Progress) -> None:
        """The curves show it."""

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
        said = [join([line, Html("<br>")]) for line in self._messages[-MAX_LINES:]]
        folder = self._folder
        return render_block(
            tag("p", *said),
            tag("p", self._progress_text, role="status") if self._progress_text else None,
            render_part("curves", lambda: _render_grid_and_curves(run_record.read(folder)))
            if folder and _has_begun(folder)
            else None,
        )


class Display:
    """One display of this notebook: made when it first shows something, and updated from then on."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, bundle: MimeBundle) -> None:
        if self._handle is None:
            self._handle = importlib.import_module("IPython.display").display(dict(bundle), raw=True, display_id=True)
        else:
            self._handle.update(dict(bundle), raw=True)


_relay_sends: list[Send] = []  # where a process that works for a notebook shows what goes on


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)


def make_reporter(*, quiet: bool, cpu: bool, laptop_preset: str) -> Reporter:
    """What tells of a run here: a display in a notebook, else lines; see `Reporter` for the arguments."""
    if not quiet and _relay_sends:
        return NotebookReporter(_relay_sends[-1], cpu=cpu, laptop_preset=laptop_preset)
    if not quiet and is_notebook():
        return NotebookReporter(Display(), cpu=cpu, laptop_preset=laptop_preset)
    return Reporter(quiet=quiet, cpu=cpu, laptop_preset=laptop_preset)


def relay_displays(say: Callable[[str], object]) -> None:
    """From now on, runs of this process are shown by the process that it works for; `make_relay_display` is the
    other end."""
    _relay_sends.append(lambda bundle: say(json.dumps(dict(bundle))))


def make_relay_display() -> Callable[[str], None]:
    """Shows here what another process draws; see `relay_displays`."""
    display = Display()
    return lambda text: display(json.loads(text))


def _has_begun(folder: Path) -> bool:
    return (folder / layout.STATS).exists()


def _render_grid_and_curves(run: run_record.RunRecord) -> Html:
    """The newest grid beside the curves."""
    found = pictures.read_picture_facts(run.folder / layout.SAMPLES / layout.LATEST_GRID)
    chosen = pictures.choose_pictures([found], MAX_GRID_BYTES) if found is not None else None
    grid = None
    if chosen is not None and chosen.uris:
        grid = render_image(chosen.uris[0], "The newest grid of generated images", min(360, chosen.pictures[0].size[0]))
    charts = [*curves.make_charts(run), *score_section.make_charts(run)]
    drawn = [render_part(chart["id"], partial(draw_chart, chart)) for chart in charts]
    return tag("div", grid, tag("div", *drawn, style=f"flex:1 1 400px;{SIDE_BY_SIDE}"), style=SIDE_BY_SIDE)


def _render_folded(title: str, body: Html) -> Html:
    return tag("details", tag("summary", title), body)
