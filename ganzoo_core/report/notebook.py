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
from ganzoo_core.generation.notebook_view import SIDE_BY_SIDE, block, image, part
from ganzoo_core.html.chart import draw
from ganzoo_core.html.markup import Html, join, tag
from ganzoo_core.report import curves, pictures, run_record, score_section, sections
from ganzoo_core.runs import layout
from ganzoo_core.terminal.progress import Progress, Reporter, words_of
from ganzoo_core.terminal.text import clean_text

Bundle = Mapping[str, str]  # one thing to show, by its MIME type
Send = Callable[[Bundle], object]
REFRESH = 2.0  # seconds between two drawings of what goes on
SHARE = 20  # a drawing takes no more than one part in so many of the time
LINES = 12  # that are shown of what was said
LARGEST = 400_000  # bytes of a grid, which may go to the browser every few seconds; a larger one is shrunk


def of_run(folder: Path) -> Html:
    """A run: its state, the newest grid, the curves, and the settings with their origins, folded; or why not."""
    try:
        run = run_record.read(folder)
    except UsageError as error:
        return sections.sentence(str(error))
    return block(
        tag("p", tag("strong", run.title), f" · {run.state} · ", tag("code", folder)),
        part("curves", lambda: _body(run)),
        part("settings", lambda: _folded("Settings", sections.settings(run))),
    )


class Live(Reporter):
    """Tells a run's progress in one display, drawn anew as the run goes on: what was said, the curves, the newest grid.

    Args:
        send: shows it, in place of what it showed before.
        cpu, laptop_preset: see `Reporter`.
    """

    def __init__(self, send: Send, *, cpu: bool = True, laptop_preset: str = "") -> None:
        super().__init__(cpu=cpu, laptop_preset=laptop_preset)
        self._send = send
        self._said: list[str | Html] = []
        self._folder: Path | None = None
        self._at = ""
        self._drawn_at, self._rest = -REFRESH, REFRESH

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw()

    def begin(self, folder: Path) -> None:
        """The run is kept there."""
        self._folder = folder

    def say(self, text: str) -> None:
        """A line above the curves."""
        self._said.append(text)
        self._draw()

    def warn(self, text: str) -> None:
        """A line above the curves that stands out."""
        self._said.append(join([tag("strong", "note: "), text]))
        self._draw()

    def estimate(self, seconds: float) -> None:
        """The progress line has it; only the hint of a long run is said."""
        self.hint(seconds)

    def report(self, progress: Progress) -> None:
        """A report, drawn unless one has just been."""
        self._at = words_of(progress)
        if self.is_stale():
            self._draw()

    def is_stale(self) -> bool:
        """Whether the display was drawn long enough ago to be drawn again."""
        return time.monotonic() - self._drawn_at > self._rest

    def show(self, progress: Progress) -> None:
        """Draw the display."""
        self._at = words_of(progress)
        self._draw()

    def epoch(self, progress: Progress) -> None:
        """The curves show it."""

    def _draw(self) -> None:
        began = time.monotonic()
        self._send(
            {"text/html": self._html(), "text/plain": clean_text(self._at or (self._said[-1] if self._said else ""))}
        )
        self._drawn_at = time.monotonic()
        self._rest = max(REFRESH, SHARE * (self._drawn_at - began))

    def _html(self) -> Html:
        said = [join([line, Html("<br>")]) for line in self._said[-LINES:]]
        folder = self._folder
        return block(
            tag("p", *said),
            tag("p", self._at, role="status") if self._at else None,
            part("curves", lambda: _body(run_record.read(folder))) if folder and _has_begun(folder) else None,
        )


class Display:
    """One display of this notebook: made when it first shows something, and updated from then on."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, bundle: Bundle) -> None:
        if self._handle is None:
            self._handle = importlib.import_module("IPython.display").display(dict(bundle), raw=True, display_id=True)
        else:
            self._handle.update(dict(bundle), raw=True)


_sends: list[Send] = []  # where a process that works for a notebook shows what goes on


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)


def reporter(*, quiet: bool, cpu: bool, laptop_preset: str) -> Reporter:
    """What tells of a run here: a display in a notebook, else lines; see `Reporter` for the arguments."""
    if not quiet and _sends:
        return Live(_sends[-1], cpu=cpu, laptop_preset=laptop_preset)
    if not quiet and is_notebook():
        return Live(Display(), cpu=cpu, laptop_preset=laptop_preset)
    return Reporter(quiet=quiet, cpu=cpu, laptop_preset=laptop_preset)


def relay(say: Callable[[str], object]) -> None:
    """From now on, runs of this process are shown by the process that it works for; `relayed` is the other end."""
    _sends.append(lambda bundle: say(json.dumps(dict(bundle))))


def relayed() -> Callable[[str], None]:
    """Shows here what another process draws; see `relay`."""
    display = Display()
    return lambda text: display(json.loads(text))


def _has_begun(folder: Path) -> bool:
    return (folder / layout.STATS).exists()


def _body(run: run_record.Recorded) -> Html:
    """The newest grid beside the curves."""
    found = pictures.look(run.folder / layout.SAMPLES / layout.LATEST_GRID)
    chosen = pictures.choose([found], LARGEST) if found is not None else None
    grid = None
    if chosen is not None and chosen.uris:
        grid = image(chosen.uris[0], "The newest grid of generated images", min(360, chosen.pictures[0].size[0]))
    charts = [*curves.charts(run), *score_section.charts(run)]
    drawn = [part(chart["id"], partial(draw, chart)) for chart in charts]
    return tag("div", grid, tag("div", *drawn, style=f"flex:1 1 400px;{SIDE_BY_SIDE}"), style=SIDE_BY_SIDE)


def _folded(title: str, body: Html) -> Html:
    return tag("details", tag("summary", title), body)
