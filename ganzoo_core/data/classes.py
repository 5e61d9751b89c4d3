"""The classes of a data set, and the one reading of a class that a user names: on the command line, in Python, in JSON.

Text that is a class's name means that class; other text of digits is an index, unless all names are numbers: then it is
a mistake. An integer is always an index.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ganzoo_core.api import ImageSource
from ganzoo_core.arguments import is_integer
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value, quote_name

MAX_CLASSES = 100_000
MAX_LISTED = 20  # classes listed in an error
MAX_NAME_LENGTH = 100  # characters of a class name in an error
_INDEX = re.compile("[0-9]{1,9}")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


@dataclass(frozen=True)
class Classes:
    """The classes of a data set; false without any.

    Attributes:
        names: one for each class; two may be equal.
        untrained: indices of the classes without training images, which are neither offered nor drawn.
    """

    names: Sequence[str]
    untrained: Sequence[int] = ()

    @classmethod
    def of(cls, source: ImageSource) -> Classes:
        """The classes of training images."""
        if source.labels is None:
            return cls(())
        counts = np.bincount(source.labels, minlength=len(source.class_names))
        return cls(tuple(map(str, source.class_names)), np.flatnonzero(counts == 0).tolist())

    def __bool__(self) -> bool:
        return bool(self.names)

    @cached_property
    def trained(self) -> np.ndarray:
        """Indices of the classes with training images, int64."""
        return np.setdiff1d(np.arange(len(self.names), dtype=np.int64), np.asarray(self.untrained, dtype=np.int64))

    @property
    def trained_names(self) -> list[str]:
        return [self.names[index] for index in self.trained]

    def take_turns(self, n: int) -> np.ndarray:
        """Labels int64 [N]: each trained class in turn."""
        return self.trained[np.arange(n) % len(self.trained)]

    def find(self, choice: Any) -> int:
        """The index of a class.

        Args:
            choice: its name; else a text that differs from one name only in case, spaces and punctuation; else its
                index, as an integer or as a text. Text without letters must match a name exactly: `1.0` is not `10`.
                Where all names are numbers, no text is an index: of the classes 0, 1, 2, 10 and 11, `3` is none.

        Raises:
            UsageError: if there is no such class, more than one, or one without training images; the message suggests
                similar names.
        """
        choice = _unwrap(choice)
        if not isinstance(choice, str) and not is_integer(choice):
            raise UsageError(f"{format_value(choice)} is not a class; expected a name, or an index: a whole number")
        index = self._find_name(choice) if isinstance(choice, str) else int(choice)
        is_index = index is None and _INDEX.fullmatch(choice)
        if is_index and not self._are_numbers:
            index = int(choice)
        if index is None or not 0 <= index < len(self.names):
            advice = "; all names are numbers, so an index is taken from Python alone, as an int"
            advice = advice if is_index and self._are_numbers and int(choice) < len(self.names) else ""
            raise UsageError(f"there is no class {_shorten(choice)}{self._suggest(choice)}{advice}")
        if index in self.untrained:
            raise UsageError(f"class {_shorten(self.names[index])} had no training images, so it was never learned")
        return index

    def read_labels(self, labels: Any, *, count: int) -> np.ndarray:
        """Labels int64 [N] from one class for all images, or N classes; see `find` and `list_labels` for errors."""
        labels = _unwrap(labels)
        if isinstance(labels, str) or is_integer(labels):
            return np.full(count, self.find(labels), dtype=np.int64)
        return read_labels(labels, self.find, count=count)

    def describe(self) -> str:
        """List the trained classes for a message: `0 cat, 1 dog`, or the names alone where all of them are numbers."""
        listed = [_shorten(self.names[index]) for index in self.trained[:MAX_LISTED]]
        if not self._are_numbers:
            listed = [f"{index} {name}" for index, name in zip(self.trained, listed, strict=False)]
        rest = f" and {len(self.trained) - MAX_LISTED} more" if len(self.trained) > MAX_LISTED else ""
        return ", ".join(listed) + rest

    @cached_property
    def _are_numbers(self) -> bool:
        return all(_NUMBER.fullmatch(name.strip()) for name in self.names)

    @cached_property
    def _indices_by_name(self) -> dict[str, list[int]]:
        return _group_indices(self.names)

    @cached_property
    def _indices_by_loose_name(self) -> dict[str, list[int]]:
        return _group_indices(map(_loosen, self.names))

    def _find_name(self, text: str) -> int | None:
        """The class of this name; None if there is none. Raises UsageError if there are several."""
        same = self._indices_by_name.get(text)
        if same is None and any(letter.isalpha() for letter in text):
            same = self._indices_by_loose_name.get(_loosen(text))
        if same is not None and len(same) > 1:
            listed = " or ".join(f"{index} {_shorten(self.names[index])}" for index in same[:MAX_LISTED])
            raise UsageError(f"class {_shorten(text)} is ambiguous: {listed}; give the exact name, or the index")
        return None if same is None else same[0]

    def _suggest(self, choice: int | str) -> str:
        if not isinstance(choice, str):
            return ""
        if _NUMBER.fullmatch(choice) and self._are_numbers:  # `02` for 2, or 2 for `002`
            same = [name for name in self.trained_names if name.lstrip("+0") == choice.lstrip("+0")]
            if same:
                return f", did you mean {' or '.join(map(_shorten, same[:2]))}?"
        offered = {_loosen(name): name for name in self.trained_names}
        near = difflib.get_close_matches(_loosen(choice[:MAX_NAME_LENGTH]), offered, n=2, cutoff=0.5)
        return f", did you mean {' or '.join(_shorten(offered[name]) for name in near)}?" if near else ""


def read_labels(labels: Any, find: Callable[[int | str], int], *, count: int) -> np.ndarray:
    """Labels int64 [N] from N classes.

    Args:
        labels: a list, a tuple or an array.
        find: the index of one of them, such as `Classes.find` or, where the classes have no names, `check_index`.
        count: N.

    Raises:
        UsageError: as `list_labels` and `find` do, naming the label.
    """
    find_once = lru_cache(maxsize=None)(find)  # no two items are equal and of different types
    found = np.empty(count, dtype=np.int64)
    for position, item in enumerate(list_labels(labels, count=count)):
        try:
            found[position] = find_once(item)
        except UsageError as error:
            raise UsageError(f"labels[{position}]: {error}") from None
    return found


def list_labels(labels: Any, *, count: int) -> list[int | str]:
    """The items of a list, a tuple or an array of class names and indices.

    Raises:
        UsageError: for anything else, another number of items than `count`, or items of other types, such as fractions
            and booleans.
    """
    expected = f"expected {count:,}, one for each image: class names or indices"
    try:
        items = labels if isinstance(labels, list | tuple | range) else np.asarray(labels).tolist()
    except (TypeError, ValueError, OverflowError, RuntimeError):  # such as a tensor on a GPU
        items = None
    if not isinstance(items, list | tuple | range):
        raise UsageError(f"labels are {format_value(labels)}; {expected}")
    if len(items) != count:
        raise UsageError(f"labels are {len(items):,}; {expected}")
    items = [_unwrap(item) for item in items]
    for position, item in enumerate(items):
        if not isinstance(item, str) and not is_integer(item):
            raise UsageError(f"labels[{position}] is {format_value(item)}; expected a class name or a whole number")
    return items


def check_index(label: int | str) -> int:
    """Return the label of a class without a name; raises UsageError for text, or if it is out of range."""
    if isinstance(label, str) or not 0 <= label < MAX_CLASSES:
        raise UsageError(
            f"{format_value(label)} is not an index; expected a whole number from 0 to {MAX_CLASSES - 1:,} (for named "
            "classes, give a gz.ImageSource with class_names)"
        )
    return label


def _unwrap(item: Any) -> Any:
    """The Python value of a scalar of numpy or torch; anything else unchanged."""
    return item.item() if hasattr(item, "item") and getattr(item, "shape", None) == () else item


def _group_indices(names: Any) -> dict[str, list[int]]:
    indices = defaultdict(list)
    for index, name in enumerate(names):
        indices[name].append(index)
    return dict(indices)


def _loosen(name: str) -> str:
    """The name in lower case without spaces and punctuation, and in one Unicode form (file names may be decomposed)."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return "".join(letter for letter in folded if unicodedata.category(letter)[0] not in "PZC") or name


def _shorten(name: int | str) -> str:
    return quote_name(name, MAX_NAME_LENGTH) if isinstance(name, str) else format_value(name)
