"""Words for a terminal or a pipe. What draws on a terminal is imported only where there is one."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TextIO


def one_line(text: object) -> str:
    """Text of whatever origin on one line, without the control characters that a terminal obeys."""
    return "".join(character if character.isprintable() else " " for character in " ".join(str(text).split()))


def wrapped(text: str, stream: TextIO, *, indent: str = "") -> str:
    """Text for a stream: on a terminal broken between words, else as it is.

    Args:
        text: one paragraph.
        stream: where it will be written.
        indent: of all lines but the first.
    """
    if not stream.isatty():
        return text
    from rich.console import Console

    return "\n".join(filled(text, Console(file=stream).width, indent))


def filled(text: str, width: int, indent: str) -> list[str]:
    """Lines of so many letters; a word that is too long, such as a path, stays in one piece for copying."""
    return textwrap.wrap(text, max(width, 10), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def is_coloured(stream: TextIO) -> bool:
    """Whether what is written for a person to look at may have colours."""
    from rich.console import Console

    return Console(file=stream).color_system is not None and not os.environ.get("NO_COLOR")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", heads: int = 1) -> None:
    """A table on stdout; lines of tab-separated cells when it is piped, for cut and grep.

    On a terminal too narrow for every column's longest word, each row is a paragraph of its own: the first `heads`
    cells, then the others with the names of their columns.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(line) + "\n" for line in cells)
        return
    from ganzoo_core.console import draw_table

    draw_table(columns, cells, title=title, heads=heads)
