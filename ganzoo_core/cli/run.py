"""`ganzoo run`: train a mix of a model, data, a loss and whatever else is picked."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ganzoo_core.cli import completion
from ganzoo_core.cli.options import DEVICE, SETTINGS
from ganzoo_core.cli.parser import Parser, parse_path
from ganzoo_core.distributed import launchers
from ganzoo_core.messages import pluralise
from ganzoo_core.terminal.tables import print_table
from ganzoo_core.terminal.text import write_exact, write_json, write_line

if TYPE_CHECKING:
    from ganzoo_core.mix import DataFit, Mix, Request
    from ganzoo_core.python_api import Run

SCHEMA = 1


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_run_options(parser, out="the run's folder, new or empty (default: runs/MODEL-DATA-N)")


def add_run_options(parser: Parser, *, out: str) -> None:
    """Declare the options of a run, for this command and `sweep`; `out` is the help of `--out`."""
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        completer=completion.suggest_models,
        help="an installed model; `ganzoo list models`",
    )
    picks = parser.add_argument_group("what is trained")
    picks.add_argument(
        "--data",
        metavar="NAME[:ARGUMENT]",
        completer=completion.suggest_data,
        help="see `ganzoo list datasets`; such as folder:PATH (default: the embedded set)",
    )
    for option, metavar, kind, text in (
        ("--loss", "L", "losses", "another loss than the model's own"),
        ("--schedule", "S", "schedules", "another schedule"),
        ("--generator", "MODEL", "models", "the generator of this model"),
        ("--discriminator", "MODEL", "models", "the discriminator of this model"),
    ):
        picks.add_argument(option, metavar=metavar, completer=completion.make_completer(kind), help=text)
    for option, kind, text in (
        ("--with", "modifiers", "modifiers, the first innermost"),
        ("--track", "trackers", "trackers that watch; see `ganzoo list trackers`"),
    ):
        suggest = completion.make_list_completer(kind)
        picks.add_argument(option, dest=kind, metavar="A,B", completer=suggest, help=text)
    picks.add_argument(
        "--preset",
        metavar="P",
        completer=completion.suggest_presets,
        help="settings under a name (default: the one for the data); none for none",
    )
    settings = parser.add_argument_group("settings; `ganzoo info MODEL` lists them, --dry-run shows which value won")
    settings.add_argument("--config", metavar="FILE", type=parse_path, help="YAML, such as a run's config.yaml")
    settings.add_argument("--set", **SETTINGS, help="such as lr=1e-4; can be repeated")
    length = settings.add_mutually_exclusive_group()
    length.add_argument("--images", type=int, metavar="N", help="how long, in real images seen")
    length.add_argument("--epochs", type=float, metavar="N", help="how long, in epochs")
    length.add_argument("--steps", type=int, metavar="N", help="how long, in steps of the generator")
    length.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="how long, in minutes of training steps; told and kept as the images that they are at today's speed",
    )
    settings.add_argument("--batch-size", type=int, metavar="N", help="images a step")
    settings.add_argument("--seed", type=int, metavar="N", help="of every random number")
    settings.add_argument("--device", **DEVICE, help="where it runs")
    places = parser.add_argument_group("places and output")
    places.add_argument(
        "--data-root",
        type=parse_path,
        metavar="DIR",
        help="where data sets lie (default: GANZOO_DATA, else a cache folder)",
    )
    places.add_argument("--out", type=parse_path, metavar="DIR", help=out)
    settings.add_argument(
        "--from", dest="weights", type=parse_path, metavar="RUN", help="begin with another run's weights"
    )
    places.add_argument("--dry-run", action="store_true", help="print the mix, each value with its origin, and leave")
    places.add_argument("--quiet", action="store_true", help="no progress")
    places.add_argument("--json", action="store_true", help="for programs: stdout is JSON alone")


def execute(args: argparse.Namespace) -> int:
    """Resolve the mix, then print it or train it."""
    from ganzoo_core import mix, python_api
    from ganzoo_core.discovery import catalog
    from ganzoo_core.training import resuming, setup

    resolved = mix.resolve(catalog.scan(), make_request(args))
    start_point = resuming.start_from_weights(args.weights)
    if args.dry_run:
        fitted = setup.rehearse(resolved, args.data_root, args.out)
        return _print_mix(resolved, fitted, args.json) if launchers.rank_from_env().is_rank_zero else 0
    run = python_api.start(resolved, data_root=args.data_root, out=args.out, quiet=args.quiet, start_point=start_point)
    return print_outcome(run, as_json=args.json)


def make_request(args: argparse.Namespace) -> Request:
    """Make a Request from the options of `add_run_options`."""
    from ganzoo_core import mix
    from ganzoo_core.mix.flags import collect_flags
    from ganzoo_core.settings import parse_assignments, read_config

    flags = collect_flags(
        images=args.images,
        epochs=args.epochs,
        steps=args.steps,
        minutes=args.minutes,
        batch_size=args.batch_size,
        seed=args.seed,
        device=args.device,
    )
    return mix.Request(
        picks={
            "model": args.model,
            "generator": args.generator,
            "discriminator": args.discriminator,
            "loss": args.loss,
            "schedule": args.schedule,
            "data": args.data,
        },
        modifiers=split_names(args.modifiers),
        trackers=split_names(args.trackers),
        preset=args.preset,
        config=read_config(args.config, named_by_user=True) if args.config else {},
        config_name=str(args.config or ""),
        assigned=parse_assignments(args.set),
        flags=flags,
    )


def split_names(words: str | None) -> list[str] | None:
    """`a, b` -> the names; None -> None."""
    return None if words is None else [name.strip() for name in words.split(",") if name.strip()]


def print_outcome(run: Run, *, as_json: bool) -> int:
    """Print where a run is and how it ended; return the exit code."""
    if not launchers.rank_from_env().is_rank_zero:
        pass
    elif as_json:
        status = "interrupted" if run.interrupted else "done"
        last = run.stats[-1] if run.stats else None  # None if nothing was left to train
        write_json({"schema": SCHEMA, "run": str(run.folder), "status": status, "last": last})
    else:
        write_exact(run.folder)
    return 130 if run.interrupted else 0


def _print_mix(resolved: Mix, fitted: DataFit | None, as_json: bool) -> int:
    from ganzoo_core import mix

    settings, unread = resolved.settings.entries, mix.explain_unread(resolved)
    reasons = {key: f", but {why.reason}" for key, why in unread.items()}
    notes = [*resolved.warnings]
    if fitted is None:
        notes.append(f"whether {resolved.settings['use.data']} can be read and fits is known once the data is read")
    notes += [f"{key} is there only if such a preset is taken" for key in resolved.late]
    if as_json:
        facts = {
            "schema": SCHEMA,
            "framework": resolved.framework,
            "preset": resolved.preset,
            "presets_by_count": resolved.presets_by_max_images,
            "parts": {slot: part.qualified_name for slot, part in resolved.parts.items()},
            "modifiers": [part.qualified_name for part in resolved.modifiers],
            "trackers": [part.qualified_name for part in resolved.trackers],
            "size": None if fitted is None else [fitted.spec.height, fitted.spec.width, fitted.spec.channels],
            "settings": {
                key: {"value": entry.value, "origin": entry.origin} for key, entry in sorted(settings.items())
            },
            "unread": sorted(key for key, why in unread.items() if not why.in_part),
            "warnings": notes,
        }
        write_json(facts, indent=1)
        return 0
    if fitted is None:
        size = "known once the data is read"
    else:
        size = f"{fitted.spec.width}×{fitted.spec.height}×{fitted.spec.channels}"
    rows = [(slot, part.qualified_name, part.version) for slot, part in resolved.parts.items()]
    rows += [("with", part.qualified_name, part.version) for part in resolved.modifiers]
    rows += [("track", part.qualified_name, part.version) for part in resolved.trackers]
    print_table(("slot", "part", "version"), [*rows, ("images", size, "")], title="parts")
    write_line()
    print_table(
        ("setting", "value", "from"),
        [
            (key, "-" if entry.value is None else entry.value, entry.origin + reasons.get(key, ""))
            for key, entry in sorted(settings.items())
        ],
        title="settings",
    )
    for name, most in resolved.presets_by_max_images.items():
        write_line(
            f"note: the preset {name} is taken if the data has at most {pluralise(most, 'image')}; "
            "--preset none leaves it out"
        )
    for note in notes:
        write_line(f"note: {note}")
    return 0
