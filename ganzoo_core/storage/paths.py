"""Paths as users write them: `~` means their home, and what a run keeps is found again from anywhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganzoo_core.errors import UsageError

MAX_PATH = 4096  # characters of a path that is kept


def expand_user(path: str | Path) -> Path:
    """Replace `~` and `~NAME` at the beginning of a path.

    Raises:
        UsageError: if there is no such user, or no home is known.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(f"{path}: there is no such user's home folder; write the path in full") from None


def make_absolute(path: str | Path) -> Path:
    """A path with `~` replaced that does not depend on the current folder. Links are left as they are."""
    return Path(os.path.normpath(expand_user(path).absolute()))


def find_cache_folder() -> Path:
    """Where files lie that can be made again: `GANZOO_CACHE`, else the user's cache folder."""
    import platformdirs

    override = os.environ.get("GANZOO_CACHE")
    return make_absolute(override) if override else platformdirs.user_cache_path("ganzoo")


def make_relative(path: str | Path, folder: Path) -> str:
    """A path as it is seen from a folder; "" where there is no way, as between two drives."""
    try:
        return os.path.relpath(make_absolute(path), make_absolute(folder))
    except ValueError:
        return ""


def find_moved_path(path: str, relative: str, folder: Path) -> str:
    """A path that was kept: as it was, or, where nothing lies there any more, as it is seen from the folder.

    Args:
        path: absolute.
        relative: the same from `folder` at the time that it was kept; "" if that is not known.
        folder: the run's, which may have been moved together with what lies at `path`.
    """
    if relative and not Path(path).exists():
        moved = make_absolute(folder / relative)
        if moved.exists():
            return str(moved)
    return path


def read_paths(facts: Mapping[str, Any]) -> dict[str, str]:
    """What a run's `config.yaml` says under `paths`; what is no path is left out."""
    found = facts.get("paths")
    table = found if isinstance(found, Mapping) else {}
    return {str(key): value for key, value in table.items() if isinstance(value, str) and _is_usable(value)}


def _is_usable(path: str) -> bool:
    return 0 < len(path) <= MAX_PATH and "\0" not in path
