"""`ganzoo show`: a model's source, for reading."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ganzoo_core.cli import completion
from ganzoo_core.cli.parser import Parser
from ganzoo_core.discovery import catalog
from ganzoo_core.errors import UsageError
from ganzoo_core.terminal.text import is_coloured, write_exact

FILES = {"plain": "plain.py", "networks": "networks.py"}


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", metavar="MODEL", completer=completion.suggest_models, help="an installed model")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--plain", action="store_true", help="the whole GAN as one script (the default)")
    which.add_argument("--networks", action="store_true", help="the networks as ganzoo trains them")


def execute(args: argparse.Namespace) -> int:
    """Print the model's source."""
    part = catalog.scan().find("models", args.model)
    name = FILES["networks" if args.networks else "plain"]
    # A package with several models has a folder or a file prefix for each.
    stem = part.name.replace("-", "_")
    candidates = (Path(part.location) / stem / name, Path(part.location) / f"{stem}_{name}", Path(part.location) / name)
    path_shown = next((path for path in candidates if path.is_file()), None)
    if path_shown is None:
        raise UsageError(f"{part.label} holds no {name} to show; its files are in {part.location}")
    source = path_shown.read_text(encoding="utf-8")
    if is_coloured(sys.stdout):
        from ganzoo_core.terminal.progress import print_source

        print_source(source)
    else:
        write_exact(source, lines=True)
    return 0
