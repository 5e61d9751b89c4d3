"""Find a class by name or number."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from ganzoo_core.arguments import is_integer
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value

MAX_NAME_LENGTH = 100  # characters of a class name in an error
_NUMBER = re.compile("[0-9]{1,9}")


def find_class(name_or_number: int | str, names: Sequence[str]) -> int:
    """The number of a class, by its name, ignoring case and punctuation, or by its number.

    Raises:
        UsageError: if there is no such class; the message suggests similar names.
    """
    if not isinstance(name_or_number, str) and not is_integer(name_or_number):
        raise UsageError(f"{format_value(name_or_number)} is no class; expected a name or a whole number")
    if isinstance(name_or_number, str) and name_or_number in names:
        return list(names).index(name_or_number)
    plain = {_normalise_name(name): number for number, name in enumerate(names)}
    if isinstance(name_or_number, str) and _normalise_name(name_or_number) in plain:
        return plain[_normalise_name(name_or_number)]
    number = int(name_or_number) if not isinstance(name_or_number, str) or _NUMBER.fullmatch(name_or_number) else -1
    if 0 <= number < len(names):
        return number
    name_or_number = (
        name_or_number[:MAX_NAME_LENGTH] if isinstance(name_or_number, str) else format_value(name_or_number)
    )
    near = difflib.get_close_matches(_normalise_name(name_or_number), plain, n=2, cutoff=0.5)
    meant = " or ".join(names[plain[name]] for name in near)
    raise UsageError(f"there is no class {name_or_number}" + (f", did you mean {meant}?" if meant else ""))


def _normalise_name(name: str) -> str:
    """Letters and digits only, in lower case."""
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name
