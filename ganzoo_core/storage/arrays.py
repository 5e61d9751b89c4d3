"""Read numpy archives that a user names; whatever is wrong with one is a DataError."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ganzoo_core.errors import DataError


def read_archive(path: Path, names: Iterable[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read some arrays of a .npz file; nothing in it is unpickled.

    Args:
        path: of the file.
        names: the arrays to read; those that are not there are left out.

    Returns:
        The arrays by name, and the names of all that the archive holds.

    Raises:
        DataError: if it cannot be read, or is no archive.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array; save it with numpy.savez")
            with archive:
                return {name: archive[name] for name in names if name in archive}, list(archive.files)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError) as bad:
        raise DataError(f"{path} cannot be read as a numpy archive: {bad}") from None
