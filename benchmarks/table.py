"""What was measured, as a table for a terminal or for README.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pairs import explain_busy

Results = Mapping[str, Any]
SPEED_COLUMNS = ("row", "loop", "img/s", "ms a step", "runner over it", "spread", "faults a step")
WORK_COLUMNS = (
    "row",
    "GFLOP an image",
    "roof GFLOP/s",
    "utilisation",
    "peak MB",
    "others' cores",
    "load before, after",
)


def as_text(found: Results) -> str:
    """The tables with columns of spaces."""
    return _lay_out(found, _to_text_table)


def as_markdown(found: Results) -> str:
    """The tables as README.md has them."""
    return _lay_out(found, to_markdown_table)


def list_warnings(found: Results) -> list[str]:
    """A sentence for each comparison that something else disturbed."""
    machine, said = found["machine"], []
    for row in found["rows"]:
        for game in row["games"]:
            why = explain_busy(game, before=machine["load_before"], cores=machine["cores"])
            if why:
                said.append(f"the machine was busy during {_make_title(row, game)} ({why}): take that for no figure")
    return said


def _lay_out(found: Results, table: Any) -> str:
    machine = found["machine"]
    versions = {key: row[key] for row in found["rows"] for key in ("torch", "tensorflow", "keras") if key in row}
    threads = sorted({row["threads"] for row in found["rows"]})
    facts = [
        f"`{machine['command']}`" if table is to_markdown_table else machine["command"],
        f"{machine['processor']}, {machine['vectors']}, {machine['cores']} cores",
        f"{', '.join(map(str, threads))} threads",
        *(f"{name} {version}" for name, version in versions.items()),
        f"Python {machine['python']}",
        f"ganzoo {machine['ganzoo']}",
        f"load before {machine['load_before']:.2f}, after {machine['load_after']:.2f}",
    ]
    speeds = [line for row in found["rows"] for game in row["games"] for line in _make_speed_lines(row, game)]
    work = [_make_work_line(row, game) for row in found["rows"] for game in row["games"]]
    return "\n".join([" · ".join(facts), "", table(SPEED_COLUMNS, speeds), "", table(WORK_COLUMNS, work)])


def _make_title(row: Results, game: Results) -> str:
    return f"{row['name']}, {game['name']}"


def _make_speed_lines(row: Results, game: Results) -> list[Sequence[str]]:
    lines = []
    for name, values in game["rates"].items():
        median = statistics.median(values)
        ratios = [ours / theirs for ours, theirs in zip(game["rates"]["runner"], values, strict=True)]
        ratio, spread = f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"
        ours = name == "runner"
        lines.append(
            (
                _make_title(row, game) if ours else "",
                name,
                f"{median:.1f}",
                f"{1000 * row['batch'] / median:.1f}",
                "" if ours else ratio,
                "" if ours else spread,
                f"{game['faults'][name]:,.0f}",
            )
        )
    return lines


def _make_work_line(row: Results, game: Results) -> Sequence[str]:
    rate = statistics.median(game["rates"]["runner"])
    return (
        _make_title(row, game),
        f"{game['gflop']:.4g}",
        f"{row['roof']:.0f}",
        f"{rate * game['gflop'] / row['roof']:.0%}",
        f"{game['peak_mb']:.0f}",
        "" if game["others"] is None else f"{game['others']:.2f}",
        f"{game['load_before']:.2f}, {game['load_after']:.2f}",
    )


def _to_text_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]

    def spaced(line: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if column < 1 or head[column] == "loop" else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join(map(spaced, (head, *lines)))


def to_markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """The columns `row`, `loop`, `state` and `result` are aligned left."""
    rule = ["---" if column in ("row", "loop", "state", "result") else "---:" for column in head]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
