"""Training progress on stderr: one live line on a terminal, plain lines when piped.

Piped output always has the same form, so that cut and grep can rely on it. Colours follow rich: none with `NO_COLOR`;
with `FORCE_COLOR` also when piped, except for tables.
"""

from __future__ import annotations

import datetime
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ganzoo_core.messages import pluralise
from ganzoo_core.storage.records import SEPARATION_TERM
from ganzoo_core.terminal.text import clean_text

REFRESH_SECONDS = 0.25  # seconds between two updates of the live line
LONG_RUN_SECONDS = 3600.0  # seconds above which a smaller preset is suggested


@dataclass(frozen=True)
class Progress:
    """The progress of a run. `images_per_second` is in images per second, `seconds_left` in seconds."""

    images: int
    end: int
    step: int
    steps: int
    epoch: int
    epochs: int
    images_per_second: float
    seconds_left: float
    terms: Mapping[str, float]
    values: Mapping[str, float] = field(default_factory=dict)

    def format_terms(self) -> str:
        """Format every loss term briefly: `D 1.21 · G 0.83 · D accuracy 0.98/0.94` (real/fake)."""
        short = {"discriminator": "D", "generator": "G"}
        words: dict[str, str] = {}
        for name, value in self.terms.items():
            network, _, term = name.partition("/")
            if name == SEPARATION_TERM:
                continue
            letter = short.get(network, network)
            if term.endswith("_real") and f"{name.removesuffix('_real')}_fake" in self.terms:
                fake = self.terms[f"{name.removesuffix('_real')}_fake"]
                words[name] = f"{letter} {term.removesuffix('_real')} {value:.2f}/{fake:.2f}"
            elif not (term.endswith("_fake") and f"{name.removesuffix('_fake')}_real" in self.terms):
                words[name] = f"{letter} {value:.3g}" if term == "adversarial" else f"{letter} {term} {value:.3g}"
        return " · ".join(words.values())


class _Console(Console):
    """A console that raises when its reader is gone; rich's own would exit the program."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Reporter:
    """Report a run's progress; as a context manager it shows the live line.

    Args:
        quiet: print only warnings.
        cpu: whether the run trains on a CPU, where a hint is given if it will take long.
        laptop_preset: the preset for a machine without a GPU; "" if there is none or it is already in use.
    """

    def __init__(self, *, quiet: bool = False, cpu: bool = True, laptop_preset: str = "") -> None:
        self.console = _Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        self.quiet, self.cpu, self.laptop_preset = quiet, cpu, laptop_preset
        self._shown_at = 0.0
        self._is_closed = False
        self.live = Live(console=self.console, refresh_per_second=4) if self._is_live() else None

    def _is_live(self) -> bool:
        # With FORCE_COLOR rich treats a pipe as a terminal; a live line needs a real one.
        return not self.quiet and sys.stderr.isatty() and not self.console.is_dumb_terminal

    def __enter__(self) -> Reporter:
        self._write(lambda: self.live.start() if self.live else None)
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            live = self.live
            live.update("")
            self._write(live.stop)

    def _write(self, action: Callable[[], object]) -> None:
        """Run an action that writes to the terminal; after a write failed (connection or reader gone), do nothing."""
        if self._is_closed:
            return
        try:
            action()
        except OSError:
            self._is_closed, self.live = True, None

    def begin(self, folder: Path) -> None:
        """Called with the run's folder at the start, for subclasses that display its content; does nothing here."""

    def say(self, text: str) -> None:
        """Print a line, unless quiet."""
        if not self.quiet:
            self._write(lambda: self.console.print(Text(clean_text(text))))

    def warn(self, text: str) -> None:
        """Print a note, even when quiet."""
        line = Text.assemble(("note:", "yellow"), " ", clean_text(text))
        self._write(lambda: self.console.print(line))

    def advise(self, text: str) -> None:
        """Print advice as a note, unless quiet."""
        if not self.quiet:
            self.warn(text)

    def estimate(self, seconds: float) -> None:
        """Print when the run will end, estimated after the first steps."""
        end = datetime.datetime.now() + datetime.timedelta(seconds=seconds)
        when = f"{end:%H:%M}" if seconds < 20 * 3600 else f"{end:%a %d %b %H:%M}"
        self.say(f"about {format_duration(seconds)} left, done at {when}")
        self.hint(seconds)

    def hint(self, seconds: float) -> None:
        """Suggest the laptop preset if the run will take long on a CPU."""
        if self.cpu and self.laptop_preset and seconds > LONG_RUN_SECONDS:
            self.say(f"that is long for a CPU; `--preset {self.laptop_preset}` trains a smaller one in minutes")

    def report(self, progress: Progress) -> None:
        """Update the live line, or print a plain line if there is no terminal."""
        if self.live:
            self.show(progress)
        else:
            self.say("  " + format_progress(progress))

    def is_stale(self) -> bool:
        """Whether there is a live line that is due for an update."""
        return self.live is not None and time.monotonic() - self._shown_at > REFRESH_SECONDS

    def show(self, progress: Progress) -> None:
        """Update the live line, if there is one."""
        if self.live:
            self.live.update(self._make_line(progress))
            self._shown_at = time.monotonic()

    def report_epoch(self, progress: Progress) -> None:
        """Print a permanent line at the end of an epoch, with the means over it."""
        rate = f"{progress.images_per_second:,.0f} img/s"
        self.say(
            f"epoch {progress.epoch}/{progress.epochs} · {pluralise(progress.images, 'image')} · {rate} · "
            f"{progress.format_terms()}"
        )

    def _make_line(self, progress: Progress) -> Table:
        words = clean_text(format_progress(progress))
        width = self.console.width
        bar = ProgressBar(total=progress.end, completed=progress.images, width=20)
        grid = Table.grid(padding=(0, 1))
        if cell_len(words) + 21 < width:
            grid.add_row(bar, Text(words))
        else:
            bar.width = min(width - 1, 60)
            grid.add_row(bar)
            grid.add_row(Text("\n".join(_break_lines(words, width - 1)), no_wrap=True, overflow="ellipsis"))
        return grid


class MuteReporter(Reporter):
    """A reporter that prints nothing, because another process of the same run does."""

    def __init__(self) -> None:
        super().__init__(quiet=True)

    def warn(self, text: str) -> None:
        """Do nothing."""


def format_progress(progress: Progress) -> str:
    """Format the progress on one line: `epoch 3/56 · step 50/1250 · 3,200 images · … `."""
    # Learning rates are left to the statistics; values that change the images (a resolution, a fade) are shown.
    values = [f"{name} {value:.4g}" for name, value in progress.values.items() if not name.startswith("lr_")]
    parts = [
        f"epoch {min(progress.epoch + 1, progress.epochs)}/{progress.epochs}",
        f"step {progress.step}/{progress.steps}",
        pluralise(progress.images, "image"),
        f"{progress.images_per_second:,.0f} img/s",
        f"{format_duration(progress.seconds_left)} left",
        progress.format_terms(),
        *values,
    ]
    return " · ".join(part for part in parts if part)


def _break_lines(words: str, width: int) -> list[str]:
    """Break at ` · ` between values, and within a value only if it alone is too wide."""
    lines: list[str] = []
    for part in words.split(" · "):
        if lines and cell_len(lines[-1]) + 3 + cell_len(part) <= width:
            lines[-1] += f" · {part}"
        else:
            lines += textwrap.wrap(part, width) or [""]
    return lines


@contextmanager
def show_status(text: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner with text on a terminal; yield a function that replaces the text."""
    with Console(stderr=True).status(Text(clean_text(text))) as status:
        yield lambda words: status.update(Text(clean_text(words)))


def print_source(source: str) -> None:
    """Print Python source with colours on stdout. Long lines are not broken, so that copied text stays valid."""
    from rich.syntax import Syntax

    text = Syntax("", "python", theme="ansi_dark").highlight(clean_text(source, lines=True))
    Console().print(text, soft_wrap=True, end="")


def format_duration(seconds: float) -> str:
    """Format a duration: `45 s`, `2 min 05 s`, `3 h 20 min`, `2 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
