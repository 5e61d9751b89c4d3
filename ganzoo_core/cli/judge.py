"""`ganzoo judge`: what a run's discriminator says of pictures, from its newest checkpoint."""

from __future__ import annotations

import argparse
import sys

from ganzoo_core.cli.options import CLASS, DEVICE, SETTINGS
from ganzoo_core.cli.parser import Parser, parse_path
from ganzoo_core.terminal.tables import print_table
from ganzoo_core.terminal.text import write_json

SCHEMA = 1


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("path", type=parse_path, metavar="RUN", help="the run's folder")
    parser.add_argument(
        "pictures",
        nargs="+",
        type=parse_path,
        metavar="IMAGE",
        help="pictures of any size, brought to the run's as its data was; or a folder or zip archive of them",
    )
    parser.add_argument("--class", **CLASS, help="the class that they are judged as, by name or index")
    parser.add_argument("--device", **DEVICE, default="auto", help="where it runs")
    parser.add_argument(
        "--set",
        **SETTINGS,
        help="of engine.*, such as engine.max_parameters=5e9 for a network that is refused as too large; or how "
        "pictures are read, such as data.skip_bad=true",
    )
    parser.add_argument(
        "--data-root", type=parse_path, metavar="DIR", help="where data sets lie; for a discriminator with batch norm"
    )
    parser.add_argument("--json", action="store_true", help="for programs: stdout is JSON alone")


def execute(args: argparse.Namespace) -> int:
    """Score the pictures with D and print a table."""
    from ganzoo_core.evaluation.discriminator import Judge
    from ganzoo_core.settings import parse_assignments
    from ganzoo_core.terminal.progress import Reporter

    judge = Judge(args.path, device=args.device, data_root=args.data_root, settings=parse_assignments(args.set))
    label = judge.find_label(args.label)
    verdicts = judge(args.pictures, label)
    if args.json:
        facts = {
            "schema": SCHEMA,
            "run": str(args.path),
            "images": judge.images_seen,
            "loss": judge.loss,
            "class": label,
            "notes": judge.notes,
            "pictures": [
                {
                    "path": str(verdict.path),
                    "size": list(verdict.size),
                    "score": verdict.score,
                    "probability": verdict.probability,
                    "real": verdict.real,
                }
                for verdict in verdicts
            ],
        }
        write_json(facts, indent=1)
        return 0
    columns = ["picture", "size", "score"]
    columns += ["real with"] if judge.probability else []
    decides = judge.decision is not None and not isinstance(judge.decision, str)
    columns += ["is called"] if decides else []
    rows = []
    for verdict in verdicts:
        row = [str(verdict.path), "×".join(map(str, verdict.size)), f"{verdict.score:.4g}"]
        row += [f"{verdict.probability:.2%}"] if verdict.probability is not None else []
        row += ["real" if verdict.real else "generated"] if decides else []
        rows.append(row)
    print_table(columns, rows)
    sys.stdout.flush()
    reporter = Reporter()
    for note in judge.notes:
        reporter.warn(note)
    if not judge.probability:
        reporter.say(
            f"{judge.loss} defines no probability: scores compare pictures with each other, the higher the more real"
        )
    return 0
