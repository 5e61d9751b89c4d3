"""Read entry points and requirements of installed distributions without importing `importlib.metadata`.

That import brings email, zipfile and socket, and its `entry_points()` parses a file of every distribution: together
they would be a third of the CPU time of `ganzoo list`. Nearly every installation is plain: folders on `sys.path` that
hold `NAME-VERSION.dist-info` or `.egg-info`, and files with one entry a line. Those are read here. Anything else (an
archive, an egg, another finder of distributions, a line that is not understood) is left to `importlib.metadata`, so the
result is the same.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple, Protocol

from ganzoo_core.discovery.catalog.names import normalise_distribution

_SUFFIXES = (".dist-info", ".egg-info")
_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)  # no error to importlib.metadata
_SECTION = re.compile(r"\[([^\[\]]+)\]")
_VALUE = re.compile(r"[\w.]+(?::[\w.]+)?")
_HEADER_LINE = re.compile(r"([A-Za-z-]+):[ \t]*(.*)")


class Distribution(Protocol):
    """What is asked of a distribution here, and of one of `importlib.metadata`."""

    def read_text(self, filename: str, /) -> str | None:
        """The text of a metadata file; None if there is none."""


class EntryPoint(NamedTuple):
    """An entry point, with the fields of one of `importlib.metadata`."""

    name: str
    value: str
    dist: Distribution | None


class _PlainDistribution:
    """A distribution whose metadata is a folder (or, in old installations, a file)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read_text(self, filename: str, /) -> str | None:
        with contextlib.suppress(*_MISSING):
            return (self._path / filename).read_text(encoding="utf-8")
        return None


class _NotPlainError(Exception):
    """Something is installed, or written, in a way that only `importlib.metadata` understands."""


def find_entry_points(group: str) -> list[EntryPoint]:
    """The entry points of a group, in the order of `sys.path`; of two distributions of a name the first counts.

    A distribution that does not mention the group is not looked at further, even if its own entry points are broken.

    Raises:
        Exception: what `importlib.metadata` raises for broken metadata.
    """
    try:
        return list(_read_entry_points(group))
    except _NotPlainError:
        import importlib.metadata

        return [EntryPoint(each.name, each.value, each.dist) for each in importlib.metadata.entry_points(group=group)]


def list_requirements(name: str) -> list[str]:
    """The requirements of a distribution, with those of extras.

    Raises:
        Exception: what `importlib.metadata` raises for an unknown distribution, or for broken metadata.
    """
    try:
        return _read_requirements(name)
    except _NotPlainError:
        import importlib.metadata

        return importlib.metadata.requires(name) or []


def _find_folders() -> dict[str, str]:
    """Normalised name -> path of the metadata folder of each distribution, the first of a name on `sys.path`."""
    finders = [finder for finder in sys.meta_path if getattr(finder, "find_distributions", None)]
    if finders != [PathFinder]:
        raise _NotPlainError
    found: dict[str, str] = {}
    for place in sys.path:
        for entry in _list_folder(place):
            if entry.name.lower().endswith(_SUFFIXES):
                name = entry.name.rpartition(".")[0].partition("-")[0]
                if not name or not entry.name.endswith(_SUFFIXES):
                    raise _NotPlainError
                found.setdefault(normalise_distribution(name), entry.path)
    return found


def _list_folder(place: str) -> list[os.DirEntry[str]]:
    """What lies in a folder of `sys.path`; nothing if it is missing."""
    if not isinstance(place, str) or place.lower().rstrip(os.sep).endswith(".egg"):
        raise _NotPlainError
    try:
        with os.scandir(place or ".") as entries:
            return list(entries)
    except FileNotFoundError:
        return []
    except (OSError, ValueError):  # such as an archive; or it can be no path
        raise _NotPlainError from None


def _read_entry_points(group: str) -> Iterator[EntryPoint]:
    word = group.encode()
    for folder in _find_folders().values():
        content = _read_bytes(f"{folder}{os.sep}entry_points.txt")
        if word not in content:  # the usual case: none of its lines matters, not even a broken one
            continue
        try:
            lines = content.decode().splitlines()
        except UnicodeDecodeError:
            raise _NotPlainError from None
        distribution = _PlainDistribution(Path(folder))
        for name, value in _parse_entry_points(lines, group):
            yield EntryPoint(name, value, distribution)


def _read_bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  (there are hundreds, and a Path of each takes as long again)
            return file.read()
    except _MISSING:
        return b""
    except OSError:
        raise _NotPlainError from None


def _parse_entry_points(lines: Iterable[str], group: str) -> Iterator[tuple[str, str]]:
    """The names and values in the section of a group."""
    section = ""
    for line in map(str.strip, lines):
        if not line or line.startswith("#"):
            continue
        header = _SECTION.fullmatch(line)
        if header is not None:
            section = header[1]
            continue
        name, _, value = map(str.strip, line.partition("="))
        if not section or not name or not _VALUE.fullmatch(value):
            raise _NotPlainError
        if section == group:
            yield name, value


def _read_requirements(name: str) -> list[str]:
    folder = _find_folders().get(normalise_distribution(name), "")
    if not folder.endswith(".dist-info"):
        raise _NotPlainError
    distribution = _PlainDistribution(Path(folder))
    try:
        text, more = distribution.read_text("METADATA"), distribution.read_text("requires.txt")
    except (OSError, UnicodeDecodeError):
        raise _NotPlainError from None
    if not text or more is not None:
        raise _NotPlainError
    found = []
    field = ""
    for line in text.partition("\n\n")[0].rstrip("\n").split("\n"):
        header = _HEADER_LINE.fullmatch(line)
        if header is not None:
            field = header[1].lower()
            if field == "requires-dist":
                found.append(header[2])
        elif field in ("", "requires-dist") or not line.startswith((" ", "\t")):  # a folded line, or no header
            raise _NotPlainError
    return found
