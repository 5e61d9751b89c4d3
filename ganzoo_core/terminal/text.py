"""Text for a terminal or a pipe: the one place where what came from outside is freed of what a terminal obeys.

Names of files and classes, titles, notes, cards and messages that quote them may hold escape sequences, which clear the
screen, and marks of direction, which turn a line around. Nothing else in ganzoo prints, but for `progress` and
`rich_tables`, which draw with rich. What draws on a terminal is imported only where there is one.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from typing import Any, TextIO


def clean_text(text: object, *, lines: bool = False) -> str:
    """Text of whatever origin with a blank for each character that is none to be seen.

    Those are controls and escapes, marks of direction and other invisible formats, lone surrogates, separators of lines
    and paragraphs, and letters that Unicode does not know: what `str.isprintable` refuses.

    Args:
        text: of any kind.
        lines: whether ends of lines and tabs stay.
    """
    text = str(text)
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(character if character.isprintable() or character in kept else " " for character in text)


def to_one_line(text: object) -> str:
    """The same without blanks that follow each other, nor any at the ends."""
    return " ".join(clean_text(text).split())


def write_line(text: object = "", stream: TextIO | None = None) -> None:
    """Write a line to stdout, or to another stream."""
    print(clean_text(text), file=stream or sys.stdout, flush=True)


def write_lines(text: str, stream: TextIO | None = None) -> None:
    """Write text whose own ends of lines are meant, such as a traceback."""
    print(clean_text(text.rstrip("\n"), lines=True), file=stream or sys.stdout, flush=True)


def write_paragraph(text: str, stream: TextIO | None = None, *, indent: str = "") -> None:
    """Write a paragraph: on a terminal broken between words, with `indent` before all lines but the first."""
    stream = stream or sys.stdout
    if not stream.isatty():
        write_line(text, stream)
        return
    from rich.console import Console

    write_lines("\n".join(wrap_text(clean_text(text), Console(file=stream).width, indent)), stream)


def write_exact(text: object, *, lines: bool = False) -> None:
    """Write a path or a script to stdout: unchanged where a program reads it, clean on a terminal."""
    exact = str(text)
    print(clean_text(exact, lines=lines) if sys.stdout.isatty() else exact, end="" if lines else "\n", flush=True)


def write_json(value: Any, *, indent: int | None = None) -> None:
    """Write JSON to stdout, in ASCII: whatever a terminal obeys is escaped in it, and a program reads it as it was."""
    print(json.dumps(value, indent=indent, ensure_ascii=True), flush=True)


def clean_interpreter_output() -> None:
    """Have Python's own words on stderr, tracebacks and warnings, written clean: they quote what they are about."""

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
    """Lines of so many letters; a word that is too long, such as a path, stays in one piece for copying."""
    return textwrap.wrap(text, max(width, 10), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def is_coloured(stream: TextIO) -> bool:
    """Whether what is written for a person to look at may have colours."""
    from rich.console import Console

    return Console(file=stream).color_system is not None and not os.environ.get("NO_COLOR")
