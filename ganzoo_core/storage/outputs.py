"""Write a command's output files atomically."""

from __future__ import annotations

import os
from pathlib import Path

from ganzoo_core.errors import UsageError
from ganzoo_core.storage import files
from ganzoo_core.storage.atomic import write_file


def write_output(path: Path, content: bytes, *, named_by_user: bool) -> None:
    """Write a temporary file next to the path and rename it there; parent folders are created.

    Args:
        path: the file.
        content: its whole content.
        named_by_user: whether the user named it; then a link is followed to the file to write. Else the link is
            replaced.

    Raises:
        UsageError: if it is a folder, a pipe or a device, or cannot be written.
    """
    try:
        target = Path(os.path.realpath(path)) if named_by_user else path
        entry = files.describe(target)
        if entry not in ("", "a file") and (named_by_user or entry != "a link"):
            raise UsageError(f"{path} is {entry}; expected the name of a file")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; choose another --out") from None
    except ValueError:
        raise UsageError(f"{str(path)!r} is no file's name; choose another --out") from None
