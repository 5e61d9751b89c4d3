"""Columns of a `metadata.csv` or `metadata.jsonl` that together are the condition `attributes`, float32 [N,F]."""

from __future__ import annotations

import csv
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import ganzoo_core as gz

CONDITION = "attributes"
_LARGEST = float(np.finfo(np.float32).max)
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def parse_columns(text: str) -> tuple[str, ...]:
    """The names in `data.attributes`, separated by commas; one that holds a comma stands in double quotes."""
    try:
        cells = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error as error:
        raise gz.UsageError(f"data.attributes is {text[:80]!r} ({error}); expected COLUMN,COLUMN") from None
    return tuple(filter(None, map(str.strip, cells)))


def check_columns(file: gz.ImageFile, names: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that `data.attributes` names; raises UsageError if one is missing, or is named twice."""
    for name in names:
        if name not in columns:
            nearest = difflib.get_close_matches(name, columns, n=1)
            listed = ", ".join(map(gz.quote_name, columns[:8])) + (", …" if len(columns) > 8 else "")
            hint = f"; did you mean {gz.quote_name(nearest[0])}?" if nearest else ""
            raise gz.UsageError(
                f"data.attributes names {gz.quote_name(name)}, and {file.title} has no such column; it has "
                f"{listed or 'only file_name'}{hint}"
            )
        if list(names).count(name) > 1:
            raise gz.UsageError(f"data.attributes names {gz.quote_name(name)} twice; once is enough")
    return tuple(names)


def read_numbers(values: Mapping[str, Any], names: Sequence[str], where: str) -> tuple[float, ...]:
    """The numbers of one line, as they are; `yes` and `true` are 1, `no` and `false` 0, in any case.

    Raises:
        DataError: for anything else, naming the line and the column.
    """
    return tuple(_read_number(values.get(name), name, where) for name in names)


def _read_number(value: Any, name: str, where: str) -> float:
    if isinstance(value, str):
        number = _WORDS.get(value.lower(), float(value) if _NUMBER.fullmatch(value) else math.nan)
    else:
        number = float(value) if isinstance(value, int | float) else math.nan
    if abs(number) <= _LARGEST:  # false for NaN
        return number
    found = "nothing" if value in ("", None) else f"{str(value)[:80]!r}"
    raise gz.DataError(
        f"{where}: the column {gz.quote_name(name)} holds {found}; expected a number, or yes or no, true or false"
    )
