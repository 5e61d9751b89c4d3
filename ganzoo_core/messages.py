"""Format values and counts for messages."""

from __future__ import annotations

from typing import Any

_MAX_CHARACTERS = 80  # characters of a value in a message


def format_value(value: Any) -> str:
    """Format a value for a message: its repr on one line, truncated to 80 characters."""
    try:
        text = repr(value).replace("\n", " ")  # arrays and tensors write several lines
    except ValueError:  # Python refuses to print an int of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 1] + "…"


def quote_name(name: str, most: int = 1000) -> str:
    """A name of a file or a class for a message: its repr if it holds line ends or other unprintable characters.

    Args:
        name: the name.
        most: characters; a longer name is cut.
    """
    if len(name) > most:
        return f"{quote_name(name[: most - 1])}…"
    return name if name.isprintable() else repr(name)


def format_setting(value: Any) -> str:
    """Format a setting's value as in `--set KEY=VALUE`; `-` for none."""
    if value is None or value in ("", []):
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def pluralise(count: int, noun: str) -> str:
    """Format a count with its noun: `1 image`, `1,200 images`. The plural must end in a plain s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
