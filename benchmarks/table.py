"""What was measured, as a table for a terminal or for README.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pairs import was_busy

Found = Mapping[str, Any]
HEAD = ("row", "loop", "img/s", "ms a step", "runner over it", "spread", "faults a step")
WORK = ("row", "GFLOP an image", "roof GFLOP/s", "utilisation", "peak MB", "others' cores", "load before, after")


def as_text(found: Found) -> str:
    """The tables with columns of spaces."""
    return _laid_out(found, _spaced)


def as_markdown(found: Found) -> str:
    """The tables as README.md has them."""
    return _laid_out(found, _piped)


def warnings_of(found: Found) -> list[str]:
    """A sentence for each comparison that something else disturbed."""
    machine, said = found["machine"], []
    for row in found["rows"]:
        for game in row["games"]:
            why = was_busy(game, before=machine["load_before"], cores=machine["cores"])
            if why:
                said.append(f"the machine was busy during {_title(row, game)} ({why}): take that for no figure")
    return said


def _laid_out(found: Found, table: Any) -> str:
    machine = found["machine"]
    versions = {key: row[key] for row in found["rows"] for key in ("torch", "tensorflow", "keras") if key in row}
    threads = sorted({row["threads"] for row in found["rows"]})
    facts = [
        f"`{machine['command']}`" if table is _piped else machine["command"],
        f"{machine['processor']}, {machine['vectors']}, {machine['cores']} cores",
        f"{', '.join(map(str, threads))} threads",
        *(f"{name} {version}" for name, version in versions.items()),
        f"Python {machine['python']}",
        f"ganzoo {machine['ganzoo']}",
        f"load before {machine['load_before']:.2f}, after {machine['load_after']:.2f}",
    ]
    speeds = [line for row in found["rows"] for game in row["games"] for line in _speeds(row, game)]
    work = [_work(row, game) for row in found["rows"] for game in row["games"]]
    return "\n".join([" · ".join(facts), "", table(HEAD, speeds), "", table(WORK, work)])


def _title(row: Found, game: Found) -> str:
    return f"{row['name']}, {game['name']}"


def _speeds(row: Found, game: Found) -> list[Sequence[str]]:
    lines = []
    for name, values in game["rates"].items():
        median = statistics.median(values)
        ratios = [ours / theirs for ours, theirs in zip(game["rates"]["runner"], values, strict=True)]
        ratio, spread = f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"
        ours = name == "runner"
        lines.append(
            (
                _title(row, game) if ours else "",
                name,
                f"{median:.1f}",
                f"{1000 * row['batch'] / median:.1f}",
                "" if ours else ratio,
                "" if ours else spread,
                f"{game['faults'][name]:,.0f}",
            )
        )
    return lines


def _work(row: Found, game: Found) -> Sequence[str]:
    rate = statistics.median(game["rates"]["runner"])
    return (
        _title(row, game),
        f"{game['gflop']:.4g}",
        f"{row['roof']:.0f}",
        f"{rate * game['gflop'] / row['roof']:.0%}",
        f"{game['peak_mb']:.0f}",
        "" if game["others"] is None else f"{game['others']:.2f}",
        f"{game['load_before']:.2f}, {game['load_after']:.2f}",
    )


def _spaced(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]

    def spaced(line: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if column < 1 or head[column] == "loop" else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join(map(spaced, (head, *lines)))


def _piped(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---" if column in ("row", "loop") else "---:" for column in head]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
