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
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo_core import images as sheets
from ganzoo_core import rundir
from ganzoo_core.api import UsageError
from ganzoo_core.console import Progress, Reporter, words_of
from ganzoo_core.report import curves, pictures, reading, scored, sections, vector
from ganzoo_core.report.markup import Html, join, tag
from ganzoo_core.report.page import Section, make_or_explain
from ganzoo_core.terminal import clean_text

if TYPE_CHECKING:
    from ganzoo_core.saved import SavedGenerator

Bundle = Mapping[str, str]  # one thing to show, by its MIME type
Send = Callable[[Bundle], object]

REFRESH = 2.0  # seconds between two drawings of what goes on
SHARE = 20  # a drawing takes no more than one part in so many of the time
LINES = 12  # that are shown of what was said
LARGEST = 400_000  # bytes of a grid, which may go to the browser every few seconds; a larger one is shrunk
SIDE_BY_SIDE = "display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start"
ROWS, COLUMNS = 10, 8  # classes that a saved generator shows, and pictures of each


def of_run(folder: Path) -> Html:
    """A run: its state, the newest grid, the curves, and the settings with their origins, folded; or why not."""
    try:
        run = reading.read(folder)
    except UsageError as error:
        return sections.sentence(str(error))
    return _block(
        tag("p", tag("strong", run.title), f" · {run.state} · ", tag("code", folder)),
        _part("curves", lambda: _body(run)),
        _part("settings", lambda: _folded("Settings", sections.settings(run))),
    )


def of_generator(generator: SavedGenerator) -> Html:
    """A saved generator: a few of the images that it draws, and its card."""

    def drawn() -> Html:
        names = generator.class_names[:ROWS]
        if names:
            labels = np.repeat(np.arange(len(names)), COLUMNS)
            found = generator.generate(len(labels), labels=labels)
        else:
            found = generator.generate(COLUMNS * COLUMNS // 2)
        sheet = sheets.annotated(sheets.enlarged(sheets.grid(found, COLUMNS), least=360), rows=names)
        return _image(pictures.uri(sheets.png_bytes(sheet)), "Grid of images that the generator draws", sheet.width)

    def card() -> Html:
        spec, names = generator.spec, generator.class_names
        origin = generator.card.part
        facts: dict[str, object] = {
            "made by": f"{origin.name} of {origin.distribution} {origin.version}" if origin else "an object",
            "images": f"{spec.width}×{spec.height}×{spec.channels}",
            "z": f"{spec.latent_dim} numbers, {generator.latent}",
            "classes": f"{', '.join(names[:ROWS])}{' …' if len(names) > ROWS else ''}" if names else "",
            "trained on": f"{generator.images_seen:,} images",
            "written in": spec.framework,
            "folder": tag("code", generator.folder),
        }
        lines = [join([tag("strong", f"{name}: "), fact, Html("<br>")]) for name, fact in facts.items() if fact]
        return tag("p", *lines)

    return _block(tag("div", _part("drawn", drawn), _part("card", card), style=SIDE_BY_SIDE))


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
        return _block(
            tag("p", *said),
            tag("p", self._at, role="status") if self._at else None,
            _part("curves", lambda: _body(reading.read(folder))) if folder and _has_begun(folder) else None,
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
    return (folder / rundir.STATS).exists()


def _body(run: reading.Recorded) -> Html:
    """The newest grid beside the curves."""
    found = pictures.look(run.folder / "samples" / "latest.png")
    chosen = pictures.choose([found], LARGEST) if found is not None else None
    grid = None
    if chosen is not None and chosen.uris:
        grid = _image(chosen.uris[0], "The newest grid of generated images", min(360, chosen.pictures[0].size[0]))
    charts = [*curves.charts(run), *scored.charts(run)]
    drawn = [_part(chart["id"], partial(vector.draw, chart)) for chart in charts]
    return tag("div", grid, tag("div", *drawn, style=f"flex:1 1 400px;{SIDE_BY_SIDE}"), style=SIDE_BY_SIDE)


def _part(name: str, make: Callable[[], Html]) -> Html | None:
    """One part; where it cannot be made, a sentence that says so."""
    return make_or_explain(Section(name, name, make))


def _block(*children: object) -> Html:
    return tag("div", *children, class_="ganzoo")


def _folded(title: str, body: Html) -> Html:
    return tag("details", tag("summary", title), body)


def _image(uri: str, alternative: str, width: int) -> Html:
    return tag(
        "img", src=uri, alt=alternative, width=width, style="max-width:100%;height:auto;image-rendering:pixelated"
    )
