"""The command `ganzoo`: one small file a command, thin over `session`.

Exit codes: 0 done, 1 the run failed or something is wrong, 2 bad usage or settings, 3 a plugin failed, 4 diverged,
130 interrupted after saving.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ganzoo_core.api import GanzooError
from ganzoo_core.cli import doctor, generate, info, listing, run, show

COMMANDS = (listing, info, run, generate, show, doctor)
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    main_parser = argparse.ArgumentParser(
        prog="ganzoo",
        description="A zoo of generative adversarial networks. `ganzoo list` shows what is installed, "
        "`ganzoo run MODEL` trains it, `ganzoo generate RUN` draws from it.",
    )
    main_parser.add_argument("--version", action="store_true", help="print the version and leave")
    subparsers = main_parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for command in COMMANDS:
        sub = command.add(subparsers)
        sub.add_argument(
            "--no-plugin",
            action="append",
            default=[],
            metavar="NAME",
            help="leave a plugin out, by its distribution's name; can be repeated",
        )
        sub.set_defaults(execute=command.execute)
    return main_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    arguments = parser()
    args = arguments.parse_args(argv)
    if args.version:
        from importlib.metadata import version

        print(f"ganzoo {version('ganzoo')}")
        return 0
    if args.command is None:
        arguments.print_help()
        return 2
    try:
        return args.execute(args)
    except GanzooError as error:
        print(f"ganzoo {args.command}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, say) has left; keep Python from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
