"""`ganzoo resume`: go on with a run from its newest checkpoint, as if it had never stopped."""

from __future__ import annotations

import argparse

from ganzoo_core.cli import completion
from ganzoo_core.cli.options import DEVICE, SETTINGS
from ganzoo_core.cli.parser import Parser, parse_path
from ganzoo_core.cli.run import print_outcome, split_names


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("path", type=parse_path, metavar="RUN", help="the run's folder")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--images", type=int, metavar="N", help="a new length in all, in real images seen")
    length.add_argument("--epochs", type=float, metavar="N", help="a new length in all, in epochs")
    length.add_argument("--steps", type=int, metavar="N", help="a new length in all, in steps of the generator")
    parser.add_argument("--set", **SETTINGS, help="begin a new run here, with this changed")
    parser.add_argument(
        "--track",
        dest="trackers",
        metavar="A,B",
        completer=completion.make_list_completer("trackers"),
        help="other trackers than the run had; '' for none",
    )
    parser.add_argument("--out", type=parse_path, metavar="DIR", help="the new run's folder")
    parser.add_argument("--device", **DEVICE, help="where it runs")
    parser.add_argument(
        "--data",
        metavar="NAME:PATH",
        completer=completion.suggest_data,
        help="where the run's data lie now; refused if they are not the same",
    )
    parser.add_argument("--data-root", type=parse_path, metavar="DIR", help="where data sets lie")
    parser.add_argument(
        "--allow-inexact", action="store_true", help="go on although versions, threads, device or data differ"
    )
    parser.add_argument("--restart", action="store_true", help="begin again from nothing, where no checkpoint is valid")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="for programs: stdout is JSON alone")


def execute(args: argparse.Namespace) -> int:
    """Resume the run."""
    from ganzoo_core import python_api
    from ganzoo_core.settings import parse_assignments

    run = python_api.resume(
        args.path,
        images=args.images,
        epochs=args.epochs,
        steps=args.steps,
        settings=parse_assignments(args.set),
        data=args.data,
        trackers=split_names(args.trackers),
        device=args.device,
        data_root=args.data_root,
        out=args.out,
        allow_inexact=args.allow_inexact,
        restart=args.restart,
        quiet=args.quiet,
    )
    return print_outcome(run, as_json=args.json)
