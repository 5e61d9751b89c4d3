# PYTHON_ARGCOMPLETE_OK
"""The command `ganzoo`: one file per command, a thin layer over `python_api`.

Exit codes: 0 done, 1 the run failed or a problem was found, 2 bad usage or settings, 3 a plugin failed, 4 diverged,
130 interrupted (a run saves first).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ganzoo_core.cli import completion
from ganzoo_core.cli.parser import Parser
from ganzoo_core.errors import GanzooError, PluginError, UsageError
from ganzoo_core.interrupts import interrupt_on_signals, stop_at_end_of_input
from ganzoo_core.storage.files import explain_os_error
from ganzoo_core.terminal.text import clean_interpreter_output, mute_waiting, to_one_line, write_paragraph


class Command(NamedTuple):
    """The module that declares a command's arguments and runs it, and what it does, as `ganzoo --help` says it."""

    module: str
    summary: str


COMMANDS: Mapping[str, Command] = {
    "list": Command("listing", "what is installed"),
    "info": Command("info", "all about one part"),
    "run": Command("run", "train a model"),
    "sweep": Command("sweep", "train a grid of runs"),
    "resume": Command("resume", "go on with a run"),
    "generate": Command("generate", "draw images"),
    "judge": Command("judge", "what D says of pictures"),
    "evaluate": Command("evaluate", "score a run"),
    "report": Command("report", "a run as a page to look at"),
    "compare": Command("compare", "runs beside each other"),
    "show": Command("show", "a model's source, for reading"),
    "new": Command("new", "begin a plugin of your own"),
    "ship": Command("ship", "put a generator into its plugin"),
    "doctor": Command("doctor", "what is wrong, and what to do"),
}
_ONLY_LOOKING = ("list", "info")
EXIT_INTERRUPTED = 130

__all__ = ["COMMANDS", "EXIT_INTERRUPTED", "main", "make_parser"]


def make_parser(names: Iterable[str] = COMMANDS, *, with_arguments: bool = True) -> tuple[Parser, dict[str, Parser]]:
    """Return the main parser and the parsers of commands.

    Args:
        names: the commands.
        with_arguments: whether to import their modules, which declare their arguments; `ganzoo --help` shows none.
    """
    whole = Parser(
        prog="ganzoo",
        description="A zoo of generative adversarial networks. `ganzoo list` shows what is installed, "
        "`ganzoo run MODEL` trains it, `ganzoo generate RUN` draws from it.",
    )
    whole.add_argument("--version", action="store_true", help="ganzoo, frameworks and devices, with their versions")
    whole.add_argument("--json", action="store_true", dest="version_as_json", help="with --version: for programs")
    subparsers = whole.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name in names:
        sub = subparsers.add_parser(name, help=COMMANDS[name].summary)
        if not with_arguments:
            continue
        module = importlib.import_module(f"ganzoo_core.cli.{COMMANDS[name].module}")
        sub.description = module.__doc__
        module.add_arguments(sub)
        sub.add_argument(
            "--no-plugin",
            action="append",
            default=[],
            metavar="NAME",
            completer=completion.suggest_plugins,
            help="leave a plugin out, by its distribution's name; can be repeated",
        )
        sub.set_defaults(execute=module.execute)
    return whole, dict(subparsers.choices)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    _open_closed_streams()
    interrupt_on_signals()
    stop_at_end_of_input()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # characters that the terminal cannot encode must not raise
    if argv is None:
        clean_interpreter_output()
    words = list(sys.argv[1:] if argv is None else argv)
    name = next((word for word in words if not word.startswith("-")), "")
    try:
        return _run(words, argv)
    except MemoryError:
        _print_error(f"ganzoo {name}: there is not enough memory for this; ask for less at once")
        return 1
    except KeyboardInterrupt:
        _print_error("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        _silence_stdout()
        return 0
    except OSError as error:
        _print_error(f"ganzoo {name}: {to_one_line(explain_os_error(error))}")
        _silence_stdout()
        return 1


def _run(words: Sequence[str], argv: Sequence[str] | None) -> int:
    """Parse the arguments and run the command; print its error, if any."""
    whole, commands = _make_parser_for(words)
    if "_ARGCOMPLETE" in os.environ:
        completion.complete(whole)
    args, unknown = whole.parse_known_args(argv)
    if unknown:
        commands.get(args.command, whole).refuse(unknown)
    if args.version:
        from ganzoo_core.cli import version

        version.print_versions(as_json=args.version_as_json)
        return 0
    if args.version_as_json:
        whole.error("--json is for a command, and stands behind it: ganzoo list --json")
    if args.command is None:
        whole.print_help()
        return 2
    from ganzoo_core.discovery import catalog
    from ganzoo_core.distributed import launchers, ranks

    catalog.leave_out(args.no_plugin)
    rank = ranks.Rank()
    try:
        launch = launchers.read_launch()
        rank = launch.rank
        if not rank.is_alone and args.command not in ("run", "resume", "evaluate"):
            raise ranks.mark_shared(
                UsageError(
                    f"{launch.starter} started {rank.world_size} processes, and this takes one; say it without "
                    f"{launch.starter}"
                )
            )
        mute_waiting(getattr(args, "quiet", False) or getattr(args, "json", False))
        try:
            code: int = args.execute(args)
        except (SystemExit, GeneratorExit) as error:  # never raised by ganzoo's own commands
            raise PluginError(
                f"a plugin ended the program with {type(error).__name__}({error}); leave it out, or tell its author"
            ) from error
        sys.stdout.flush()
        if argv is None and args.command in _ONLY_LOOKING:
            gc.freeze()  # the process ends here; the garbage collection at exit would take a tenth of its time
        return code
    except GanzooError as error:
        text = ranks.describe_error(error, rank)
        if text is not None:
            _print_error(f"ganzoo {args.command}: {to_one_line(text)}")
        return error.exit_code


def _make_parser_for(words: Sequence[str]) -> tuple[Parser, dict[str, Parser]]:
    """Make only the parsers that these words need, since importing the modules of all commands is slow."""
    if "_ARGCOMPLETE" in os.environ:
        return make_parser()
    if words and words[0] in COMMANDS:
        return make_parser([words[0]])
    return make_parser(with_arguments=any(word in COMMANDS for word in words))


def _print_error(text: str) -> None:
    """Print to stderr, if it is still open."""
    with contextlib.suppress(OSError, ValueError):
        write_paragraph(text, sys.stderr)


def _open_closed_streams() -> None:
    """Open closed standard streams (`>&-`) on the null device; else the next file opened would become stdout."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            opened = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  (stays open)
            if opened.fileno() != number:
                os.dup2(opened.fileno(), number)
            setattr(sys, name, opened)
        with contextlib.suppress(OSError, ValueError):
            os.set_inheritable(number, True)  # for child processes


def _silence_stdout() -> None:
    """Redirect stdout to the null device, so that Python's flush at exit does not fail on a closed pipe."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
