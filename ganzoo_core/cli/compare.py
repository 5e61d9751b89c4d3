"""`ganzoo compare`: runs beside each other, on the terminal and as one HTML page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ganzoo_core.cli.options import DEVICE, ENGINE_SETTINGS
from ganzoo_core.cli.parser import Parser, parse_path
from ganzoo_core.messages import pluralise
from ganzoo_core.terminal.tables import print_table
from ganzoo_core.terminal.text import write_json, write_line

SCHEMA = 1
COLUMNS = 4  # settings in the terminal's table; the page shows all


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("paths", nargs="+", type=parse_path, metavar="RUN", help="runs, or folders of them")
    parser.add_argument(
        "--out", type=parse_path, metavar="FILE", help="the page (compare.html in the folder of runs, or here)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="draw nothing: show the last grids that the runs left instead"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the noise that all draw from (0)")
    parser.add_argument("--device", **DEVICE, default="auto", help="where they draw")
    parser.add_argument("--set", **ENGINE_SETTINGS)
    parser.add_argument(
        "--force", action="store_true", help="compare scores that were computed with different protocols, and mark them"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--json", action="store_true", help="for programs: stdout is JSON alone")


def execute(args: argparse.Namespace) -> int:
    """Compare the runs, write the page and print the table."""
    from ganzoo_core.arguments import check_seed
    from ganzoo_core.engines import check_device
    from ganzoo_core.report import comparison_page, run_groups, sample_sheets
    from ganzoo_core.runs.scores import mark_doubt
    from ganzoo_core.settings import parse_assignments, read_engine_settings

    settings = parse_assignments(args.set)
    read_engine_settings(settings)
    check_device(args.device)
    check_seed(args.seed)
    comparison = run_groups.compare_runs(run_groups.find_runs(args.paths), force=args.force)
    sheets = []
    if not args.quick:
        sheets = sample_sheets.draw_sheets(
            comparison, seed=args.seed, device=args.device, say=_print_paragraph, settings=settings
        )
    only = args.paths[0] if len(args.paths) == 1 else Path()
    page = comparison_page.write(
        comparison, args.out or only / comparison_page.PAGE_FILE, sheets, named=args.out is not None
    )
    if args.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    if args.json:
        write_json({"schema": SCHEMA, "page": str(page), **run_groups.as_json(comparison)})
        return 0
    keys = comparison.differing_settings[:COLUMNS]
    marks = comparison_page.mark_other_protocols(comparison)
    rows = [
        (
            group.name + mark,
            group.seeds,
            group.images,
            *(group.format_setting(key) for key in keys),
            *(
                mark_doubt(group.format_spread(metric), in_doubt=bool(group.find_doubt(metric)))
                for metric in comparison.metrics
            ),
        )
        for group, mark in zip(comparison.groups, marks, strict=True)
    ]
    print_table(("row", "seeds", "images", *keys, *comparison.metrics), rows)
    sys.stdout.flush()
    for note in (
        *comparison.notes,
        *dict.fromkeys(comparison.doubts.values()),
        *(f"* marks scores computed with another protocol: {words}" for words in comparison.protocol_differences),
    ):
        write_line(f"note: {note}", sys.stderr)
    if len(comparison.differing_settings) > COLUMNS:
        write_line(
            f"note: {pluralise(len(comparison.differing_settings) - COLUMNS, 'more setting')} "
            f"{'differs' if len(comparison.differing_settings) == COLUMNS + 1 else 'differ'}; the page has all",
            sys.stderr,
        )
    write_line(f"page: {page}", sys.stderr)
    return 0


def _print_paragraph(text: str) -> None:
    write_line(text, sys.stderr)
