"""`ganzoo evaluate`: score a run's generator, or images from anywhere, and keep with the score how it was found."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ganzoo_core.cli import completion
from ganzoo_core.cli.options import CHECKPOINT, DEVICE, SETTINGS
from ganzoo_core.cli.parser import Parser, parse_path
from ganzoo_core.cli.run import split_names
from ganzoo_core.distributed import launchers
from ganzoo_core.messages import pluralise
from ganzoo_core.terminal.tables import print_table
from ganzoo_core.terminal.text import write_json, write_line

if TYPE_CHECKING:
    from ganzoo_core.runs.scores import Score

SCHEMA = 1
MAX_CLASS_ROWS = 100  # classes in the table by class
DIRECTIONS = {"lower": "lower is better", "higher": "higher is better"}


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "path",
        nargs="?",
        type=parse_path,
        metavar="RUN",
        help="the run's folder; with --data also a MODEL that carries a generator, whose scores are not kept",
    )
    parser.add_argument(
        "--metrics",
        metavar="A,B",
        completer=completion.make_list_completer("metrics"),
        help="`ganzoo list metrics` (default: all that say they are)",
    )
    parser.add_argument(
        "--extractor",
        metavar="NAME",
        completer=completion.make_completer("extractors"),
        help="what images are looked at with; `ganzoo list extractors` (default: the first that suits the data)",
    )
    parser.add_argument(
        "-n", type=int, metavar="N", help="how many are drawn (default: as many as the reference has, 1,000 to 10,000)"
    )
    parser.add_argument("--checkpoint", **CHECKPOINT, help="IMAGES, epoch:N, best, last, or all of them (last)")
    parser.add_argument(
        "--images",
        type=parse_path,
        metavar="FOLDER|ZIP|NPZ",
        help="score all of these instead of drawing, pictures of one size, which are brought to the data's; an NPZ may "
        "hold the targets that belong to them; nothing is kept",
    )
    parser.add_argument(
        "--reference",
        choices=("test", "train", "all"),
        default="test",
        help="the part of the data it is held against (test)",
    )
    parser.add_argument(
        "--data",
        metavar="NAME[:ARGUMENT]",
        completer=completion.suggest_data,
        help="the dataset, where it is not the run's",
    )
    parser.add_argument("--data-root", type=parse_path, metavar="DIR", help="where data sets lie")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the noise and of the metrics (0)")
    parser.add_argument("--device", **DEVICE, default="auto", help="where it draws")
    parser.add_argument(
        "--set",
        **SETTINGS,
        help="of the extractor, a metric, engine.*, or how --images are read, e.g. data.skip_bad=true",
    )
    parser.add_argument("--no-real", action="store_true", help="leave out the scores of real halves")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="for programs: stdout is JSON alone")


def execute(args: argparse.Namespace) -> int:
    """Compute the scores and print them."""
    from ganzoo_core.evaluation import evaluate
    from ganzoo_core.settings import parse_assignments
    from ganzoo_core.terminal.progress import Reporter

    launch = launchers.read_launch()
    leads = launch.rank.is_rank_zero
    scores = evaluate(
        args.path,
        metrics=split_names(args.metrics),
        extractor=args.extractor,
        n=args.n,
        checkpoint=args.checkpoint,
        images=args.images,
        reference=args.reference,
        data=args.data,
        data_root=args.data_root,
        seed=args.seed,
        device=args.device,
        settings=parse_assignments(args.set),
        score_real_images=not args.no_real,
        say=Reporter(quiet=args.quiet or not leads).say,
        launch=launch,
    )
    if not leads:
        return 0
    if args.json:
        run = None if args.path is None else str(args.path)
        write_json({"schema": SCHEMA, "run": run, "scores": [score.as_json() for score in scores]}, indent=1)
        return 0
    _print_scores(scores)
    return 0


def _print_scores(scores: Sequence[Score]) -> None:
    from ganzoo_core.runs.scores import format_value, list_names, mark_doubt

    first, names = scores[0], list_names(scores)
    doubts = {name: reason for score in scores for name, reason in score.doubts.items()}
    write_line(describe_protocol(first.protocol))
    if len(scores) == 1:
        rows = [
            (name, first.format(name), first.format(name, real=True), _explain_score(first, name)) for name in names
        ]
        faint = [index for index, name in enumerate(names) if name in doubts]
        print_table(("score", "value", "real halves", ""), rows, header_in_pipe=True, faint=faint)
    else:
        several = [
            (f"{score.images:,}", *(mark_doubt(score.format(name), in_doubt=name in score.doubts) for name in names))
            for score in scores
        ]
        print_table(("images", *names), several, header_in_pipe=True)
        for reason in dict.fromkeys(doubts.values()):
            write_line(reason)
    if len(scores) == 1 and first.classes:
        write_line()
        labels = dict.fromkeys(label for values in first.classes.values() for label in values)
        by_class = [
            (label, *(format_value(values.get(label)) for values in first.classes.values()))
            for label in list(labels)[:MAX_CLASS_ROWS]
        ]
        print_table(("class", *first.classes), by_class, header_in_pipe=True)
        if len(labels) > MAX_CLASS_ROWS:
            write_line(f"and {len(labels) - MAX_CLASS_ROWS:,} more classes; --json has them all")


def _explain_score(score: Score, name: str) -> str:
    return "; ".join(filter(None, (DIRECTIONS.get(score.better.get(name, ""), ""), score.doubts.get(name, ""))))


def describe_protocol(protocol: Any) -> str:
    """Summarise a score's protocol in one line."""
    extractor = protocol["extractor"]
    text = f"{pluralise(protocol['samples'], 'image')} against {protocol['reference_count']:,} of {protocol['data']}, "
    text += f"{protocol['reference']} split, by {extractor['name']}"
    if extractor.get("balanced_accuracy") is not None:
        text += f", whose balanced accuracy on the test images is {extractor['balanced_accuracy']:.2%}"
    for reason in protocol.get("passed_over", {}).values():
        text += f", since {reason}"
    text += f"; seed {protocol['seed']}"
    if protocol.get("nothing_held_out"):
        text += "; nothing was held out, so training images are among these and a score cannot tell copies"
    return text
