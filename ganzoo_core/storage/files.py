"""Open untrusted files and folders safely: only regular files and real folders, no links, pipes or devices.

Inside a run's folder nothing is read, written or deleted through a link, and no pipe or device is opened: such an entry
is refused by name. A path that the user names may contain links; entries below it may not be links.
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

# Opening a link fails and a pipe does not block, on systems with these flags; on others `describe` checks first.
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
    """The file and the reason of an OSError: `runs/a/config.yaml: No space left on device`."""
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"{error.filename}: {reason}"


def describe(path: Path) -> str:
    """The kind of entry at a path, without following a link: `a file`, `a folder`, `a link` …; "" for nothing."""
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return ""
    return next((word for test, word in _ENTRY_KINDS if test(mode)), "a device")


def is_file(path: Path) -> bool:
    """Whether the path is a regular file, not a link to one."""
    return describe(path) == "a file"


def is_folder(path: Path) -> bool:
    """Whether the path is a folder, not a link to one."""
    return describe(path) == "a folder"


def is_own(path: Path) -> bool:
    """Whether an entry belongs to this user; raises OSError if it is missing."""
    return os.name == "nt" or path.lstat().st_uid == os.geteuid()


def check_folder(path: Path) -> None:
    """Raise UsageError if the path is anything but a folder; it may be missing."""
    entry = describe(path)
    if entry not in ("", "a folder"):
        raise UsageError(f"{path} is {entry}; expected a folder, since nothing in a run's folder is followed elsewhere")


def check_file(path: Path) -> None:
    """Raise UsageError if the path is anything but a regular file; it may be missing."""
    entry = describe(path)
    if entry not in ("", "a file"):
        raise UsageError(f"{path} is {entry}; expected a file, since nothing in a run's folder is followed elsewhere")


def open_file(path: Path, *, named_by_user: bool = False) -> BufferedReader:
    """Open a regular file for reading.

    Args:
        path: the file.
        named_by_user: whether the user named it; then it may be a link to a regular file.

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
        UsageError: if it is missing, too large, or not a regular file.
    """
    try:
        with open_file(path, named_by_user=named_by_user) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise UsageError(f"{path} is larger than {limit:,} bytes, so it is not one of ganzoo's")
    return content


def compute_sha256(path: Path) -> str:
    """The SHA-256 of a regular file in hexadecimal; raises as `open_file` does."""
    import hashlib  # loads OpenSSL, which most commands do without

    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_folder(path: Path) -> Iterator[Path]:
    """Yield the entries of a real folder, sorted by name; nothing if it is missing or a link."""
    if is_folder(path):
        try:
            yield from sorted(path.iterdir())
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def is_number(name: str) -> bool:
    """Whether a name is a plain decimal number: `12`, but neither `012` nor `²`."""
    return _NUMBER.fullmatch(name) is not None


def list_numbered(path: Path) -> dict[int, Path]:
    """The subfolders whose name is a number, ascending: `12`, but neither `012` nor `²`; no links."""
    folders = {int(entry.name): entry for entry in list_folder(path) if is_number(entry.name) and is_folder(entry)}
    return dict(sorted(folders.items()))
