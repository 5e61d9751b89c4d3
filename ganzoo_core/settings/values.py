"""Convert setting values as they were written to values of their kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value
from ganzoo_core.settings import lengths
from ganzoo_core.settings.core import CORE_SETTINGS

_TRUE_WORDS, _FALSE_WORDS = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}
_NONE_WORDS = {"", "none", "null", "~"}
MAX_INTEGER = 2**63
MAX_TEXT = 10_000  # characters of a value
MAX_ITEMS = 1000  # of a list
_DIGITS = re.compile(r"[+-]?[0-9]+(?:_[0-9]+)*")
_INVALID_CHARACTERS = re.compile("[\0\ud800-\udfff]")  # NUL, and lone surrogates, which UTF-8 cannot encode


def find_kind(key: str, default: Any) -> str:
    """The kind of a setting: that of a core setting, else by the type of the default in the part's manifest."""
    if key in CORE_SETTINGS:
        return CORE_SETTINGS[key].kind
    if isinstance(default, list):
        if default and all(type(item) is int for item in default):
            return "integers"
        return "numbers" if all(isinstance(item, int | float) for item in default) else "words"
    return {bool: "bool", int: "int", float: "float", str: "text"}[type(default)]


def read_value(key: str, kind: str, raw: Any) -> Any:
    """Convert a value as it was written to a value of the setting's kind, and check its range.

    Args:
        key: the setting's full name.
        kind: see `Setting`.
        raw: text from the command line or YAML, or a Python value.

    Raises:
        UsageError: naming the key, what was found and what was expected.
    """
    is_nothing = raw is None or (isinstance(raw, str) and raw.strip().lower() in _NONE_WORDS)
    if key in CORE_SETTINGS and CORE_SETTINGS[key].default is None and is_nothing:
        return None
    try:
        _check_bounds(raw)
        value: Any = _READERS[kind](raw)
    except (ValueError, TypeError, OverflowError) as error:
        expected = str(error) if str(error).startswith("expected ") else f"expected {_EXPECTED[kind]}"
        raise UsageError(f"{key} is {format_value(raw)}; {expected}") from None
    problem = CORE_SETTINGS[key].describe_problem(value) if key in CORE_SETTINGS else ""
    if problem:
        raise UsageError(f"{key} is {format_value(raw)}; {problem}")
    return value


def _check_bounds(raw: Any) -> None:
    """Raise ValueError for text or a list that is too long, a number that is too large, or invalid characters."""
    if isinstance(raw, str):
        if len(raw) > MAX_TEXT:
            raise ValueError(f"expected at most {MAX_TEXT:,} characters")
        if _INVALID_CHARACTERS.search(raw):
            raise ValueError("expected text in UTF-8 without NUL")
    elif isinstance(raw, int):
        if abs(raw) > MAX_INTEGER:
            raise ValueError("expected a number of at most 2^63")
    elif isinstance(raw, list | tuple):
        if len(raw) > MAX_ITEMS:
            raise ValueError(f"expected at most {MAX_ITEMS:,} items")
        for item in raw:
            _check_bounds(item)


def _read_int(raw: Any) -> int:
    if isinstance(raw, bool) or (isinstance(raw, float) and not raw.is_integer()):
        raise ValueError
    if isinstance(raw, str):
        text = raw.strip()
        if not text.isascii():
            raise ValueError
        value = int(text, 10) if len(text) < 30 and _DIGITS.fullmatch(text) else _read_int(float(text))
    else:
        value = int(raw)
    if abs(value) > MAX_INTEGER:
        raise ValueError("expected a whole number of at most 2^63")
    return value


def _read_float(raw: Any) -> float:
    if isinstance(raw, bool) or (isinstance(raw, str) and not raw.isascii()):
        raise ValueError
    value = float(raw)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError
    return value


def _read_bool(raw: Any) -> bool:
    word = str(raw).strip().lower()
    if word in _TRUE_WORDS or word in _FALSE_WORDS:
        return word in _TRUE_WORDS
    raise ValueError


def _read_text(raw: Any) -> str:
    if isinstance(raw, str):
        return raw
    raise ValueError


def _read_items(raw: Any) -> list[Any]:
    """The items of a list, or of a text such as `a,b`, `[a, b]` or `["a", "b"]`."""
    if not isinstance(raw, str):
        if isinstance(raw, dict):
            raise ValueError
        return list(raw)
    text = raw.strip()
    if text.startswith("[") != text.endswith("]"):
        raise ValueError
    items = [item.strip() for item in text.removeprefix("[").removesuffix("]").split(",")]
    if len(items) > MAX_ITEMS:
        raise ValueError(f"expected at most {MAX_ITEMS:,} items")
    return [
        item[1:-1] if len(item) > 1 and item[0] == item[-1] and item[0] in "'\"" else item for item in items if item
    ]


def _list_of(read_item: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    return lambda raw: [read_item(item) for item in _read_items(raw)]


def _read_length(raw: Any) -> str:
    lengths.Interval.parse(raw)
    return str(raw).strip()


def _read_duration(raw: Any) -> str:
    try:
        minutes = lengths.parse_minutes(raw)
        is_none = minutes is None and lengths.Interval.parse(raw).count <= 0
    except ValueError as error:
        raise ValueError(str(error).replace("or off", "or 10minutes")) from None
    if is_none:
        raise ValueError("expected a length above 0")
    return str(raw).strip()


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "int": _read_int, "float": _read_float, "bool": _read_bool, "text": _read_text, "numbers": _list_of(_read_float),
    "integers": _list_of(_read_int), "words": _list_of(_read_text), "length": _read_length, "duration": _read_duration,
    "lengths": lengths.parse_list,
}  # fmt: skip
_EXPECTED = {
    "int": "a whole number", "float": "a number", "bool": "true or false (also on, off, yes, no)", "text": "text",
    "numbers": "numbers such as 0.5,0.999", "integers": "whole numbers such as 256,128", "words": "names such as a,b",
}  # fmt: skip
