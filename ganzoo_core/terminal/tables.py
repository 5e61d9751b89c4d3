"""Print tables on a terminal, or tab-separated lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Sequence

from ganzoo_core.terminal.text import to_one_line


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str = "",
    lead_cells: int = 1,
    header_in_pipe: bool = False,
    faint: Container[int] = (),
) -> None:
    """Print a table on stdout; when piped, lines of tab-separated cells for cut and grep.

    On a terminal too narrow for every column's longest word, each row is printed as a paragraph: the first `lead_cells`
    cells, then the others with the names of their columns. With `header_in_pipe` the first piped line has the column
    names. The rows whose indices are in `faint` are grey on a terminal.
    """
    names = [to_one_line(column) for column in columns]
    cells = [[to_one_line(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(line) + "\n" for line in ([names] if header_in_pipe else []) + cells)
        return
    from ganzoo_core.terminal.rich_tables import draw_table

    draw_table(names, cells, title=to_one_line(title), lead_cells=lead_cells, faint=faint)
