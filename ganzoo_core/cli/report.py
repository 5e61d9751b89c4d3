"""`ganzoo report`: a run as one HTML file that any browser opens without a network, and its curves as a picture."""

from __future__ import annotations

import argparse
import contextlib
import sys

from ganzoo_core.cli.options import DEVICE, ENGINE_SETTINGS
from ganzoo_core.cli.parser import Parser, parse_path
from ganzoo_core.terminal.text import write_exact, write_json, write_line

SCHEMA = 1


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("path", type=parse_path, metavar="RUN", help="the run's folder; the run may still go on")
    parser.add_argument("--out", type=parse_path, metavar="FILE", help="the page (report.html in RUN)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="leave out what takes the generator and the data: nearest training images and the latent walk",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the images that are drawn (0)")
    parser.add_argument("--device", **DEVICE, default="auto", help="where they are drawn")
    parser.add_argument("--set", **ENGINE_SETTINGS)
    parser.add_argument("--data-root", type=parse_path, metavar="DIR", help="where data sets lie")
    parser.add_argument(
        "--live", action="store_true", help="serve the page to this machine and refresh it while the run goes on"
    )
    parser.add_argument("--port", type=int, metavar="N", help="of --live (8765, or a free one)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--json", action="store_true", help="for programs: stdout is JSON alone")


def execute(args: argparse.Namespace) -> int:
    """Write the report, or serve it."""
    from ganzoo_core import report
    from ganzoo_core.arguments import check_seed
    from ganzoo_core.engines import check_device
    from ganzoo_core.errors import UsageError
    from ganzoo_core.report import plot, run_record
    from ganzoo_core.runs import layout
    from ganzoo_core.settings import parse_assignments, read_engine_settings

    settings = parse_assignments(args.set)
    read_engine_settings(settings)
    if args.live:
        return _serve(args)
    if args.port is not None:
        raise UsageError("--port is for --live; say both, or neither")
    check_device(args.device)
    check_seed(args.seed)
    run = run_record.read(args.path)
    notes = []
    if not args.quick:
        from ganzoo_core.report import nearest_and_walk

        try:
            nearest_and_walk.measure(
                run.folder, device=args.device, data_root=args.data_root, seed=args.seed, settings=settings
            )
        except OSError as error:
            notes.append(f"{layout.REPORT_FOLDER}/ in {run.folder} cannot be written: {error.strerror}")
    curves = None
    try:
        curves = plot.write(run.folder)
    except UsageError as error:
        notes.append(str(error))
    page = report.write(run.folder, args.out)
    if args.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    if args.json:
        facts = {"schema": SCHEMA, "report": str(page), "curves": str(curves) if curves else None, "notes": notes}
        write_json(facts)
        return 0
    for note in notes:
        write_line(f"note: {note}", sys.stderr)
    write_exact(page)
    return 0


def _serve(args: argparse.Namespace) -> int:
    from ganzoo_core import report
    from ganzoo_core.report import live

    with live.make_server(args.path, args.port) as server:
        where = f"http://{live.ADDRESS}:{server.server_address[1]}/"
        with contextlib.suppress(KeyboardInterrupt):
            if args.json:
                write_json({"schema": SCHEMA, "url": where})
            else:
                write_line(f"{where}  (Ctrl-C ends it)")
            if args.open:
                import webbrowser

                webbrowser.open(where)
            server.serve_forever()
    page = report.write(args.path, args.out)
    if not args.json:
        write_exact(page)
    return 0
