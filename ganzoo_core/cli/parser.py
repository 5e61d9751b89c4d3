"""An argument parser whose errors are one sentence that suggests the nearest word."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ganzoo_core.cli import completion
from ganzoo_core.errors import UsageError
from ganzoo_core.storage.paths import expand_user
from ganzoo_core.terminal.text import write_paragraph

_INVALID_CHOICE = re.compile(
    r"argument (?P<what>[^:]+): invalid choice: '(?P<found>.*)' \(choose from (?P<known>.*)\)", re.S
)
_INVALID_NUMBER = re.compile(r"argument (?P<what>[^:]+): invalid (?P<type>int|float) value: '(?P<found>.*)'", re.S)


def parse_path(text: str) -> Path:
    """Parse a path on the command line; `~` is the user's home, also in `--out=~/x`."""
    try:
        return expand_user(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class _HelpFormatter(argparse.HelpFormatter):
    """Finds the terminal's width without `shutil`, whose import brings the libraries of three kinds of archives.

    argparse makes a formatter for each argument, so every command would import it, not only `--help`.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_find_width())


def _find_width() -> int:
    """The width of help as argparse has it: two columns less than `COLUMNS` says, or than the terminal has."""
    with contextlib.suppress(ValueError):
        columns = int(os.environ.get("COLUMNS", ""))
        if columns > 0:
            return columns - 2
    try:
        found = os.get_terminal_size(sys.__stdout__.fileno()).columns  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):  # there is no stdout, or no terminal
        found = 0
    return (found or 80) - 2


class _Container(argparse._ActionsContainer):
    """Adds arguments that may have a completer of `completion`, for the Tab key."""

    def add_argument(
        self, *names: Any, completer: completion.Completer | None = None, **options: Any
    ) -> argparse.Action:
        action = super().add_argument(*names, **options)
        if completer is not None:
            action.completer = completion.guard(completer)  # type: ignore[attr-defined]
        return action


class Group(_Container, argparse._ArgumentGroup):
    """Options under a heading of their own."""


class Parser(_Container, argparse.ArgumentParser):
    """The parser of `ganzoo` or of one command. Options cannot be abbreviated: `--data` is not `--data-root`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, "formatter_class": _HelpFormatter, **options})

    def add_argument_group(self, *args: Any, **options: Any) -> Group:
        """Add a heading; options are added to the group that is returned."""
        group = Group(self, *args, **options)
        self._action_groups.append(group)
        return group

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one sentence on stderr, without the usage."""
        match = _INVALID_CHOICE.fullmatch(message)
        if match:
            known = re.findall(r"[\w.-]+", match["known"])
            message = f"{match['what']} is {match['found']!r}; {_suggest_nearest(match['found'], known)}"
        elif match := _INVALID_NUMBER.fullmatch(message):
            number = "a whole number" if match["type"] == "int" else "a number"
            message = f"{match['what']} is {match['found']!r}; expected {number}"
        message = " ".join(message.removeprefix("argument ").split())
        more = "" if message.endswith("?") else f"; `{self.prog} --help` says more"
        write_paragraph(f"{self.prog}: {message}{more}", sys.stderr)
        self.exit(2)

    def refuse(self, words: Sequence[str]) -> NoReturn:
        """Exit because of arguments that this command does not know."""
        word = words[0]
        if not word.startswith("-"):
            self.error(f"Unexpected argument {word!r}")
        option = word.partition("=")[0]
        known = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        self.error(f"Unknown option `{option}`; {_suggest_nearest(option, known)}")


def _suggest_nearest(word: str, known: Sequence[str]) -> str:
    alike = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {alike[0]}?" if alike else f"expected {', '.join(known)}"
