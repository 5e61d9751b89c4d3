"""Draw a table on a terminal with rich; imported only if there is a terminal."""

from __future__ import annotations

from collections.abc import Container, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganzoo_core.terminal.text import wrap_text

COLUMN_GAP = 2  # blanks between two columns of a table


def draw_table(
    columns: Sequence[str],
    cells: Sequence[Sequence[str]],
    *,
    title: str,
    lead_cells: int,
    faint: Container[int] = (),
) -> None:
    """Draw the table of `tables.print_table` on a terminal."""
    console = Console(highlight=False)
    widths = _choose_widths([columns, *cells], console.width)
    if widths is None:
        if title:
            console.print(Text(title, "italic"))
        for index, line in enumerate(cells):
            paragraph = _make_paragraph(columns, line, lead_cells, console.width)
            if index in faint:
                paragraph.stylize("dim")
            console.print(paragraph, soft_wrap=True)
        return
    grid = Table(
        title=Text(title) if title else None,
        title_justify="left",
        header_style="bold",
        box=None,
        padding=(0, COLUMN_GAP, 0, 0),
        pad_edge=False,
    )
    for column, width in zip(columns, widths, strict=True):
        grid.add_column(Text(column), width=width, overflow="fold")  # a name that is cut short cannot be copied
    for index, line in enumerate(cells):
        texts = (Text(cell, _choose_style(column, cell)) for column, cell in zip(columns, line, strict=True))
        grid.add_row(*texts, style="dim" if index in faint else None)
    console.print(grid)


def _choose_widths(lines: Sequence[Sequence[str]], available: int) -> list[int] | None:
    """Column widths that break no word, which those of rich may do; None if there is no room for that."""
    columns = list(zip(*lines, strict=True))
    widths = [max(cell_len(word) for cell in column for word in [*cell.split(), ""]) for column in columns]
    natural_widths = [max(map(cell_len, column)) for column in columns]
    spare = available - sum(widths) - COLUMN_GAP * len(columns)
    if spare < 0:
        return None
    while spare and widths != natural_widths:
        # Widen the narrowest incomplete column first, so that only long columns wrap.
        narrowest = min((i for i in range(len(widths)) if widths[i] < natural_widths[i]), key=lambda i: widths[i])
        widths[narrowest] += 1
        spare -= 1
    return widths


def _make_paragraph(columns: Sequence[str], cells: Sequence[str], lead_cells: int, width: int) -> Text:
    """Format a row as a paragraph, for narrow terminals: its lead cells, then `column cell` pairs, wrapped."""
    text = Text()
    text.append("\n".join(wrap_text(" ".join(cells[:lead_cells]), width, "")), "bold")
    here = width  # so that the first pair starts on a new line
    for column, cell in list(zip(columns, cells, strict=True))[lead_cells:]:
        if cell in ("", "-"):
            continue
        item = f"{column} {cell}"
        joins = here + 3 + cell_len(item) <= width
        text.append(" · " if joins else "\n  ")
        here = (here + 3 if joins else 2) + cell_len(item)
        if here > width:
            item = "\n  ".join(wrap_text(item, width - 2, "  "))
        text.append(column, "dim")
        text.append(item.removeprefix(column), _choose_style(column, cell))
    return text


def _choose_style(column: str, cell: str) -> str:
    if column != "state":
        return ""
    return "green" if cell == "ok" else "red"
