"""A value as it was written -> a value of its kind."""

from __future__ import annotations

from typing import Any

from ganzoo_core import intervals
from ganzoo_core.api import UsageError
from ganzoo_core.settings.core import CORE, FRACTIONS, NOT_NEGATIVE, POSITIVE

_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}
_NOTHING = {"", "none", "null", "~"}
_SHOWN = 80  # characters of a value in a message


def kind_of(key: str, default: Any) -> str:
    """How values of a part's setting are read: by the type of the default in its manifest."""
    if key in CORE:
        return CORE[key].kind
    if isinstance(default, list):
        if default and all(type(item) is int for item in default):
            return "integers"
        return "numbers" if all(isinstance(item, int | float) for item in default) else "words"
    return {bool: "bool", int: "int", float: "float", str: "text"}[type(default)]


def read(key: str, kind: str, raw: Any) -> Any:
    """A value as it was written -> a value of that kind.

    Args:
        key: the setting's name, for the message.
        kind: see `Setting`.
        raw: text from the command line or YAML, or a Python value.

    Raises:
        UsageError: naming the key, what was found and what was expected.
    """
    if key in CORE and CORE[key].default is None and str("" if raw is None else raw).strip().lower() in _NOTHING:
        return None
    try:
        value: Any = _READERS[kind](raw)
    except (ValueError, TypeError, OverflowError) as error:
        expected = str(error) if kind.startswith("length") else f"expected {_EXPECTED[kind]}"
        raise UsageError(f"{key} is {shown(raw)}; {expected}") from None
    number = intervals.Interval.parse(value).count if kind == "length" else value
    if key in POSITIVE and number <= 0:
        raise UsageError(f"{key} is {shown(raw)}; expected a {'length' if kind == 'length' else 'number'} above 0")
    if key in NOT_NEGATIVE and number < 0:
        raise UsageError(f"{key} is {shown(raw)}; expected a number of at least 0")
    if key in FRACTIONS and not 0 <= number < 1:
        raise UsageError(f"{key} is {shown(raw)}; expected a number of at least 0 and below 1")
    return value


def shown(value: Any) -> str:
    """A value in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _int(raw: Any) -> int:
    if isinstance(raw, bool) or (isinstance(raw, float) and not raw.is_integer()):
        raise ValueError
    if isinstance(raw, str):
        text = raw.strip()
        return int(text, 10) if text.lstrip("+-").replace("_", "").isdecimal() else _int(float(text))
    return int(raw)


def _float(raw: Any) -> float:
    if isinstance(raw, bool):
        raise ValueError
    value = float(raw)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError
    return value


def _bool(raw: Any) -> bool:
    word = str(raw).strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError


def _text(raw: Any) -> str:
    if isinstance(raw, str):
        return raw
    raise ValueError


def _items(raw: Any) -> list[Any]:
    """The items of a list, or of a text such as `a,b`, `[a, b]` or `["a", "b"]`."""
    if not isinstance(raw, str):
        if isinstance(raw, dict):
            raise ValueError
        return list(raw)
    text = raw.strip()
    if text.startswith("[") != text.endswith("]"):
        raise ValueError
    items = (item.strip() for item in text.removeprefix("[").removesuffix("]").split(","))
    return [
        item[1:-1] if len(item) > 1 and item[0] == item[-1] and item[0] in "'\"" else item for item in items if item
    ]


def _numbers(raw: Any) -> list[float]:
    return [_float(item) for item in _items(raw)]


def _integers(raw: Any) -> list[int]:
    return [_int(item) for item in _items(raw)]


def _words(raw: Any) -> list[str]:
    return [_text(item) for item in _items(raw)]


def _length(raw: Any) -> str:
    intervals.Interval.parse(raw)
    return str(raw).strip()


_READERS = {
    "int": _int, "float": _float, "bool": _bool, "text": _text, "numbers": _numbers,
    "integers": _integers, "words": _words, "length": _length, "lengths": intervals.parse_list,
}  # fmt: skip
_EXPECTED = {
    "int": "a whole number", "float": "a number", "bool": "true or false (also on, off, yes, no)", "text": "text",
    "numbers": "numbers such as 0.5,0.999", "integers": "whole numbers such as 256,128", "words": "names such as a,b",
}  # fmt: skip
