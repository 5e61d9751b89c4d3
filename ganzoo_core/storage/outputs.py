"""Files that a command leaves where the user says, or where it is known to leave them: whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from ganzoo_core.errors import UsageError
from ganzoo_core.storage import files
from ganzoo_core.storage.atomic import write_file


def write_output(path: Path, content: bytes, *, named_by_user: bool) -> None:
    """Write a file beside its place and rename it there; the folders around it are made.

    Args:
        path: of the file.
        content: all of it.
        named_by_user: whether the user named it: then a link leads to the file that is written. Else the link is
        replaced.

    Raises:
        UsageError: if it is a folder, a pipe or a device, or cannot be written.
    """
    try:
        place = Path(os.path.realpath(path)) if named_by_user else path
        found = files.describe(place)
        if found not in ("", "a file") and (named_by_user or found != "a link"):
            raise UsageError(f"{path} is {found}; expected the name of a file")
        place.parent.mkdir(parents=True, exist_ok=True)
        write_file(place, content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; choose another --out") from None
    except ValueError:
        raise UsageError(f"{str(path)!r} is no file's name; choose another --out") from None
