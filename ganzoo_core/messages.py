"""Values as error messages show them."""

from __future__ import annotations

from typing import Any

_MAX_CHARACTERS = 80  # characters of a value in a message


def format_value(value: Any) -> str:
    """A value in a message, on one line, cut where it is long."""
    try:
        text = repr(value).replace("\n", " ")  # arrays and tensors write several lines
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 1] + "…"


def pluralise(count: int, noun: str) -> str:
    """`1 image`, `1,200 images`; of nouns with a plain s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
