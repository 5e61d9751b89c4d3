"""Regular files and real folders: how everything that may come from a stranger is opened.

Inside a run's folder nothing is read, written or deleted through a link, and no pipe or device is opened: such an entry
is refused by name. The path that a user names may lead through links; what lies below it may not.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from ganzoo_core.errors import UsageError

# A link is an error and a pipe does not block, where the system can say so; elsewhere `describe` has looked before.
SAFE_OPEN_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")  # ASCII digits: str.isdigit accepts ² as well
_ENTRY_KINDS = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def explain_os_error(error: OSError) -> str:
    """What the system refused, and for which file: `runs/a/config.yaml: No space left on device`."""
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"{error.filename}: {reason}"


def describe(path: Path) -> str:
    """What lies at a path, without following a link: `a file`, `a folder`, `a link` …; "" for nothing."""
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return ""
    return next((word for test, word in _ENTRY_KINDS if test(mode)), "a device")


def is_file(path: Path) -> bool:
    """Whether a regular file lies there, and no link to one."""
    return describe(path) == "a file"


def is_folder(path: Path) -> bool:
    """Whether a folder lies there, and no link to one."""
    return describe(path) == "a folder"


def check_folder(path: Path) -> None:
    """Raise UsageError where something else than a folder lies; nothing may lie there."""
    found = describe(path)
    if found not in ("", "a folder"):
        raise UsageError(f"{path} is {found}; expected a folder, since nothing in a run's folder is followed elsewhere")


def check_file(path: Path) -> None:
    """Raise UsageError where something else than a regular file lies; nothing may lie there."""
    found = describe(path)
    if found not in ("", "a file"):
        raise UsageError(f"{path} is {found}; expected a file, since nothing in a run's folder is followed elsewhere")


def open_file(path: Path, *, named_by_user: bool = False) -> BufferedReader:
    """Open a regular file for reading.

    Args:
        path: of the file.
        named_by_user: whether the user named it: then it may be a link to a regular file.

    Raises:
        UsageError: if it is a link, a pipe, a device or a folder.
        OSError: if it is missing or cannot be read.
    """
    if not named_by_user:
        check_file(path)
    flags = SAFE_OPEN_FLAGS & ~getattr(os, "O_NOFOLLOW", 0) if named_by_user else SAFE_OPEN_FLAGS
    try:
        handle = os.open(path, os.O_RDONLY | flags)
    except OSError as error:
        if error.errno == errno.ELOOP and not named_by_user:
            raise UsageError(f"{path} is a link; expected a file") from None
        raise
    except ValueError:
        raise UsageError(f"{str(path)!r} is no file's name") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UsageError(f"{path} is no regular file")
    return os.fdopen(handle, "rb")


def read_bytes(path: Path, limit: int, *, named_by_user: bool = False) -> bytes:
    """Read a whole regular file of at most `limit` bytes; `named_by_user` as in `open_file`.

    Raises:
        UsageError: if it is missing, too large, or no regular file.
    """
    try:
        with open_file(path, named_by_user=named_by_user) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise UsageError(f"{path} is larger than {limit:,} bytes, so it is not one of ganzoo's")
    return content


def list_folder(path: Path) -> Iterator[Path]:
    """The entries of a real folder, in the order of their names; none where there is no folder, or a link to one."""
    if is_folder(path):
        try:
            yield from sorted(path.iterdir())
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def is_number(name: str) -> bool:
    """Whether a name is a number as we write it: `12`, but neither `012` nor `²`."""
    return _NUMBER.fullmatch(name) is not None


def list_numbered(path: Path) -> dict[int, Path]:
    """The real folders in a real folder that a number names, in rising order: `12`, but neither `012` nor `²`."""
    found = {int(entry.name): entry for entry in list_folder(path) if is_number(entry.name) and is_folder(entry)}
    return dict(sorted(found.items()))
