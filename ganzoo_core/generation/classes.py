"""Find a class by its name or number."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from ganzoo_core.arguments import is_whole
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import shown

LONGEST_NAME = 100  # characters of a class's name in an error
_NUMBER = re.compile("[0-9]{1,9}")


def find_class(wanted: int | str, names: Sequence[str]) -> int:
    """A class by its name, in which case and punctuation do not matter, or else by its number.

    Raises:
        UsageError: if there is none, with the nearest.
    """
    if not isinstance(wanted, str) and not is_whole(wanted):
        raise UsageError(f"{shown(wanted)} is no class; expected a name or a whole number")
    if isinstance(wanted, str) and wanted in names:
        return list(names).index(wanted)
    plain = {_plain(name): number for number, name in enumerate(names)}
    if isinstance(wanted, str) and _plain(wanted) in plain:
        return plain[_plain(wanted)]
    number = int(wanted) if not isinstance(wanted, str) or _NUMBER.fullmatch(wanted) else -1
    if 0 <= number < len(names):
        return number
    wanted = wanted[:LONGEST_NAME] if isinstance(wanted, str) else shown(wanted)
    near = difflib.get_close_matches(_plain(wanted), plain, n=2, cutoff=0.5)
    meant = " or ".join(names[plain[name]] for name in near)
    raise UsageError(f"there is no class {wanted}" + (f", did you mean {meant}?" if meant else ""))


def _plain(name: str) -> str:
    """Letters and digits alone, in lower case."""
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name
