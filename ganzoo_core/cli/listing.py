"""`ganzoo list`: every installed part, and every problem with its reason."""

from __future__ import annotations

import argparse

from ganzoo_core.cli.parser import Parser
from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.manifest import KINDS
from ganzoo_core.frameworks import get_default_framework
from ganzoo_core.terminal.tables import print_table
from ganzoo_core.terminal.text import write_json, write_line

SCHEMA = 1


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("kind", nargs="?", metavar="KIND", choices=KINDS, help=f"one of {', '.join(KINDS)}")
    parser.add_argument("--json", action="store_true", help="for programs")


def execute(args: argparse.Namespace) -> int:
    """Print the list."""
    rows = catalog.scan().list_rows(args.kind)
    if args.json:
        write_json({"schema": SCHEMA, "parts": rows}, indent=1)
        return 0
    if not rows:
        if args.kind and catalog.scan().list_rows(None):
            write_line(f"no {args.kind} are installed; `ganzoo list` shows what is")
        else:
            write_line(f"nothing is installed; {get_default_framework().install_command}")
        return 0
    columns = ("kind", "name", "framework", "title", "from", "state")
    print_table(
        columns,
        [
            (
                row["kind"] or "-",
                row["name"] or "-",
                row["framework"] or "-",
                row["title"] or "-",
                f"{row['distribution']} {row['version']}",
                row["state"] + (f": {row['reason']}" if row["reason"] else ""),
            )
            for row in rows
        ],
        lead_cells=2,
    )
    return 0
