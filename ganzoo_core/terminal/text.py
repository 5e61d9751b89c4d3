"""Sanitise and print text for a terminal or a pipe; the one place that removes terminal control characters.

Names of files and classes, titles, notes, cards and messages that quote them may contain escape sequences, which can
clear the screen, and bidirectional marks, which can reverse a line. Nothing else in ganzoo prints, except `progress`
and `rich_tables`, which draw with rich. Rich is imported only if there is a terminal.
"""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, TextIO


def clean_text(text: object, *, lines: bool = False) -> str:
    """Replace each character that `str.isprintable` rejects by a blank.

    Those are control and escape characters, bidirectional marks and other invisible formatting, lone surrogates, line
    and paragraph separators, and unassigned code points.

    Args:
        text: any object; it is converted with `str`.
        lines: whether to keep newlines and tabs.
    """
    text = str(text)
    if text.isprintable():
        return text
    allowed = "\n\t" if lines else ""
    return "".join(character if character.isprintable() or character in allowed else " " for character in text)


def to_one_line(text: object) -> str:
    """Clean text and collapse its whitespace to single blanks, with none at the ends."""
    return " ".join(clean_text(text).split())


def write_line(text: object = "", stream: TextIO | None = None) -> None:
    """Write a line to stdout, or to another stream."""
    print(clean_text(text), file=stream or sys.stdout, flush=True)


def write_lines(text: str, stream: TextIO | None = None) -> None:
    """Write text of several lines, such as a traceback; its newlines and tabs are kept."""
    print(clean_text(text.rstrip("\n"), lines=True), file=stream or sys.stdout, flush=True)


def write_paragraph(text: str, stream: TextIO | None = None, *, indent: str = "") -> None:
    """Write a paragraph; on a terminal it is wrapped, with `indent` before all lines but the first."""
    stream = stream or sys.stdout
    if not stream.isatty():
        write_line(text, stream)
        return
    from rich.console import Console

    write_lines("\n".join(wrap_text(clean_text(text), Console(file=stream).width, indent)), stream)


def write_exact(text: object, *, lines: bool = False) -> None:
    """Write a path or a script to stdout: unchanged in a pipe, cleaned on a terminal."""
    exact = str(text)
    print(clean_text(exact, lines=lines) if sys.stdout.isatty() else exact, end="" if lines else "\n", flush=True)


def write_json(value: Any, *, indent: int | None = None) -> None:
    """Write JSON to stdout in ASCII, so that control characters are escaped and programs still read the exact text."""
    import json

    print(json.dumps(value, indent=indent, ensure_ascii=True), flush=True)


_is_muted = False


def mute_waiting(muted: bool) -> None:
    """Whether `show_waiting` shows nothing from now on, as with `--quiet` and `--json`."""
    global _is_muted
    _is_muted = muted


@contextlib.contextmanager
def show_waiting(text: str) -> Iterator[None]:
    """Show a line on stderr until the block ends; nothing if stderr is piped.

    The line does not move: a framework may redirect stderr while it is imported.
    """
    is_shown = not _is_muted and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def write(words: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            if is_shown:
                print(words, end="\r", file=sys.stderr, flush=True)

    write(clean_text(text))
    try:
        yield
    finally:
        write(" " * len(text))


def clean_interpreter_output() -> None:
    """Clean the tracebacks and warnings that Python itself writes to stderr, since they may quote untrusted text."""

    def show_error(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        import traceback

        write_lines("".join(traceback.format_exception(kind, error, trace)), sys.stderr)

    def show_warning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        write_lines(warnings.formatwarning(message, category, filename, lineno, line), file or sys.stderr)

    def show_in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and args.exc_type is not SystemExit:
            show_error(args.exc_type, args.exc_value, args.exc_traceback)

    import threading
    import warnings

    sys.excepthook, threading.excepthook = show_error, show_in_thread
    warnings.showwarning = show_warning


def wrap_text(text: str, width: int, indent: str) -> list[str]:
    """Wrap text to lines of `width` characters; a longer word, such as a path, is not broken, so it can be copied."""
    return textwrap.wrap(text, max(width, 10), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def is_coloured(stream: TextIO) -> bool:
    """Whether output to the stream may have colours."""
    from rich.console import Console

    return Console(file=stream).color_system is not None and not os.environ.get("NO_COLOR")
