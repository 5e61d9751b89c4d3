"""`ganzoo new`: a plugin of your own, whole and working, to be changed into what you have in mind."""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import shlex
import sys
from pathlib import Path

from ganzoo_core import scaffold
from ganzoo_core.cli.parser import Parser, parse_path
from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.catalog.names import normalise_distribution
from ganzoo_core.errors import UsageError
from ganzoo_core.frameworks import FRAMEWORKS, get_default_framework
from ganzoo_core.terminal.text import write_json, write_line

SCHEMA = 1


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="of the distribution and of the part in it, such as my-gan")
    parser.add_argument(
        "--kind",
        required=True,
        choices=tuple(scaffold.KINDS),
        help=", ".join(scaffold.KINDS),
        metavar="KIND",
    )
    parser.add_argument(
        "--framework",
        choices=tuple(_list_framework_words()),
        metavar="F",
        help=f"{' or '.join(each.suffix for each in scaffold.list_frameworks())}: of a model's networks, or of a "
        "modifier that changes networks; all other parts are written once for all, and it says which to try them in",
    )
    parser.add_argument(
        "--like",
        choices=scaffold.LIKES["model"],
        metavar="L",
        help="of a model: image-to-image for one that turns pictures into pictures, with a loss of its own",
    )
    parser.add_argument(
        "--license",
        choices=tuple(scaffold.LICENCES),
        default="mit",
        metavar="L",
        help=f"{', '.join(scaffold.LICENCES)} (default: mit)",
    )
    parser.add_argument("--author", metavar="A", help="'Name' or 'Name <address>' (default: as git has it)")
    parser.add_argument("--out", type=parse_path, metavar="DIR", help="its folder, new or empty (default: NAME)")
    parser.add_argument("--json", action="store_true", help="for programs")


def execute(args: argparse.Namespace) -> int:
    """Write the distribution and print the next steps."""
    scaffold.check_name(args.name)
    if args.like is not None and args.like not in scaffold.LIKES.get(args.kind, ()):
        raise UsageError(f"--like {args.like} is for --kind model, not {args.kind}; leave one of them out")
    same = catalog.scan().find_matches(scaffold.KINDS[args.kind], args.name)
    requested = _list_framework_words().get(args.framework, "")
    framework = requested or (_list_frameworks()[0] if args.kind == "model" else "")
    model = _find_model(framework)
    plan = scaffold.PluginPlan(
        name=args.name,
        kind=args.kind,
        framework=framework,
        licence=args.license,
        author=scaffold.find_default_author(args.name) if args.author is None else args.author,
        pick=f"{args.name}/{args.name}" if same else args.name,
        model=_find_model(framework, published=True) or "MODEL",
        like=args.like or "",
    )
    folder = args.out or Path(args.name)
    written = scaffold.write_plugin(plan, folder)
    notes = []
    if same:
        notes.append(
            f"{same[0].label} goes by this name too, so yours is said as {plan.pick}; another name would be friendlier"
        )
    if not model and args.kind != "model":
        wanted = FRAMEWORKS[framework] if framework else get_default_framework()
        notes.append(f"no model is installed to try it with; {wanted.install_command}")
    steps = [
        f'cd {shlex.quote(str(folder))} && pip install -e ".[dev]"',
        "pytest",
        plan.format_run_command(model or "MODEL"),
    ]
    if args.json:
        facts = {"name": plan.name, "kind": plan.kind, "framework": framework or None, "folder": str(folder)}
        write_json({"schema": SCHEMA, **facts, "files": written, "next": steps, "notes": notes}, indent=1)
        return 0
    for line in (f"{folder} holds a {args.kind} that works:", *(f"  {name}" for name in written), ""):
        write_line(line)
    for line in ("what to do next:", *(f"  {step}" for step in steps)):
        write_line(line)
    for note in notes:
        write_line(f"note: {note}", sys.stderr)
    return 0


def _list_frameworks() -> list[str]:
    """The installed frameworks with templates, or all if none is installed."""
    known = scaffold.list_frameworks()
    return [framework.name for framework in known if framework.is_installed()] or [each.name for each in known]


def _list_framework_words() -> dict[str, str]:
    """What `--framework` accepts -> the framework's name."""
    return {word: each.name for each in scaffold.list_frameworks() for word in (each.suffix, each.name)}


def _find_model(framework: str, *, published: bool = False) -> str:
    """An installed unconditional model without growing that can be trained here; "" if there is none.

    Args:
        framework: its name, or "" for any.
        published: only of the distributions that an extra of ganzoo-core installs, which anybody has, and none of the
            author's other plugins.
    """
    installed = catalog.scan()
    here = [framework] if framework else _list_frameworks()
    plain = [part for part in installed.list_kind("models") if not (part.conditional or part.takes or part.conditions)]
    if published:
        required = importlib.metadata.requires("ganzoo-core") or ()
        names = {normalise_distribution(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]) for line in required}
        plain = [part for part in plain if normalise_distribution(part.distribution) in names]
    fitting = [part for name in here for part in plain if name in part.frameworks]
    return installed.find_short_name(fitting[0]) if fitting else ""
