"""Decode JSON files into typed records; damaged or forged ones raise an error that names the file and field."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value
from ganzoo_core.storage import files
from ganzoo_core.storage.records import FORMAT, PATTERN_WORDS

MAX_JSON = 1_000_000  # bytes of one file, or of one line
MAX_LINES = 10_000_000  # of one file
MAX_DEPTH = 30
MAX_INTEGER = 2**63
MAX_TEXT = 100_000  # characters

T = TypeVar("T")


def read_record(path: Path, record: type[T]) -> T:
    """Decode a JSON file.

    Raises:
        UsageError: naming the file and the field, if it is missing, too large, not a regular file, or invalid.
    """
    return decode(files.read_bytes(path, MAX_JSON), record, path)


def read_lines(path: Path, max_lines: int = MAX_LINES) -> Iterator[bytes]:
    """Yield the lines of a regular file with their newlines; skip an unterminated last line. Empty without a file.

    Raises:
        UsageError: for a line that is too long, for more than `max_lines`, and if it is not a regular file.
    """
    if not files.describe(path):
        return
    try:
        with files.open_file(path) as file:
            number = 0
            while line := file.readline(MAX_JSON + 1):
                number += 1
                if number > max_lines:
                    raise UsageError(f"{path} has more than {max_lines:,} lines, so it is not one of ganzoo's")
                if len(line) > MAX_JSON:
                    raise UsageError(f"{path}: line {number} is longer than {MAX_JSON:,} bytes")
                if line.endswith(b"\n"):
                    yield line
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def decode(content: bytes, record: type[T], source: object) -> T:
    """Decode JSON.

    Args:
        content: JSON in UTF-8.
        record: the expected type.
        source: the name of the content for error messages, such as its path.

    Raises:
        UsageError: naming the source and the field.
    """
    return convert(parse(content, source), record, source)


def decode_large(content: bytes, record: type[T], source: object) -> T:
    """Decode many megabytes of JSON into a record whose fields all have bounds; raises as `decode` does."""
    try:
        return msgspec.json.decode(content, type=record)
    except msgspec.ValidationError as error:
        raise UsageError(_explain(str(error), {}, source)) from None
    except RecursionError:
        raise UsageError(f"{source} is nested too deeply") from None
    except ValueError as error:  # msgspec.DecodeError or UnicodeDecodeError
        raise UsageError(f"{source} is not JSON: {error}") from None


def parse(content: bytes, source: object) -> Any:
    """JSON in UTF-8 -> dicts, lists, text and numbers within bounds; raises UsageError as `decode` does."""
    try:
        value = msgspec.json.decode(content.decode())  # str.decode's error does not depend on msgspec's release
        _check_bounds(value)
    except RecursionError:
        raise UsageError(f"{source} is nested too deeply") from None
    except UnicodeDecodeError:
        raise UsageError(f"{source} is not text in UTF-8") from None
    except msgspec.DecodeError as error:
        if content.strip() and "out of range" in str(error):
            raise UsageError(f"{source} holds a number that is out of range") from None
        raise UsageError(f"{source} is not JSON: {str(error).removeprefix('JSON is malformed: ')}") from None
    except ValueError as error:
        raise UsageError(f"{source}: {error}") from None
    return value


def convert(value: Any, record: type[T], source: object, *, as_text: bool = False) -> T:
    """Convert the result of `parse` to a record; raises UsageError as `decode` does.

    Args:
        value: dicts, lists, text and numbers.
        record: the expected type.
        source: the name of the content for error messages.
        as_text: whether numbers, true, false and null may be given as text.
    """
    try:
        return msgspec.convert(value, record, strict=not as_text)
    except msgspec.ValidationError as error:
        raise UsageError(_explain(str(error), value, source)) from None


def nan_to_null(value: Any) -> Any:
    """Replace non-finite numbers, which JSON cannot hold, by None, also in nested lists."""
    if isinstance(value, list | tuple):
        return [nan_to_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def null_to_nan(value: Any) -> Any:
    """Replace None by NaN, the inverse of `nan_to_null`."""
    if isinstance(value, list | tuple):
        return [null_to_nan(item) for item in value]
    return math.nan if value is None else value


def _check_bounds(value: Any, field: str = "", depth: int = 0) -> None:
    """Raise ValueError for a number, text or nesting depth beyond the limits of any file of ganzoo's."""
    if depth > MAX_DEPTH:
        raise ValueError(f"{field[:60]}… is nested too deeply")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_bounds(key, f"a name in {field or 'it'}")
            _check_bounds(item, f"{field}.{key}".removeprefix("."), depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_bounds(item, f"{field}[{index}]", depth + 1)
    elif isinstance(value, str):
        if len(value) > MAX_TEXT or "\0" in value:
            fault = "holds a NUL" if "\0" in value else f"has {len(value):,} characters"
            raise ValueError(f"{field[:200]} {fault}; expected at most {MAX_TEXT:,} characters of text")
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError(f"{field[:200]} is {format_value(value)}; expected a number below 2^63")


_TYPE_WORDS = {
    "int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "object": "a table",
    "array": "a list", "null": "null",
}  # fmt: skip


def _explain(problem: str, value: Any, source: object) -> str:
    """Rewrite msgspec's error message, with the value that was found."""
    what, _, location = problem.partition(" - at ")
    field = location.replace("`", "").removeprefix("key in ").removeprefix("$").removeprefix(".").removesuffix("[...]")
    if "[...]" in location or "key" in location:
        field = f"an entry of {field}" if field else "an entry"
    missing = re.fullmatch(r"Object missing required field `(.*)`", what)
    if missing:
        return f"{source} has no {'.'.join(filter(None, (field, missing[1])))}"
    expected = re.sub(r"`([a-z]+)( \| [a-z]+)*`", _name_types, what)
    expected = re.sub(r", got .*|^Invalid enum value .*", "", expected).replace("`", "")
    if "matching regex" in expected:
        descriptions = (words for pattern, words in PATTERN_WORDS.items() if expected.endswith(repr(pattern)))
        expected = f"expected {next(descriptions, 'other text')}"
    expected = expected or "expected another value"
    if not field:
        return f"{source} is damaged: {_lower_first(expected)}"
    if field.startswith("an entry"):
        return f"{source}: {field} is not as it must be; {_lower_first(expected)}"
    actual, known = _look_up(value, field)
    if field == "format":
        return f"{source} has the format {format_value(actual)}; this ganzoo reads {FORMAT}: upgrade ganzoo"
    return f"{source}: {field}{f' is {format_value(actual)}' if known else ''}; {_lower_first(expected)}"


def _name_types(match: re.Match[str]) -> str:
    return " or ".join(_TYPE_WORDS.get(word, word) for word in match[0].strip("`").split(" | "))


def _look_up(value: Any, field: str) -> tuple[Any, bool]:
    """The value at a path such as `spec.height` or `modifiers[0].name`, and whether the path exists."""
    for step in re.findall(r"[^.\[\]]+|\[\d+\]|\[\.\.\.\]", field):
        if step == "[...]":
            return None, False
        try:
            value = value[int(step[1:-1])] if step.startswith("[") else value[step]
        except (KeyError, IndexError, TypeError):
            return None, False
    return value, True


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
