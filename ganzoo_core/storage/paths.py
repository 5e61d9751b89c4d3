"""Paths as users write them (`~` is their home), and paths recorded in a run, which may have been moved."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganzoo_core.errors import UsageError

MAX_PATH_LENGTH = 4096  # characters of a recorded path


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
    """Make a path absolute and replace `~`. Links are not resolved."""
    return Path(os.path.normpath(expand_user(path).absolute()))


def find_cache_folder() -> Path:
    """The folder for files that can be regenerated: `GANZOO_CACHE`, else the user's cache folder."""
    import platformdirs

    override = os.environ.get("GANZOO_CACHE")
    return make_absolute(override) if override else platformdirs.user_cache_path("ganzoo")


def measure_folder(folder: Path) -> dict[str, int]:
    """The bytes of each sub-folder, with all that it contains; links are not followed, and what is unreadable is 0."""
    sizes = {}
    for current, inner, files in os.walk(folder):
        name = Path(current).relative_to(folder).parts[:1]
        if not name:
            sizes = dict.fromkeys(sorted(inner), 0)
        for file in files if name else ():
            with contextlib.suppress(OSError):
                sizes[name[0]] += Path(current, file).lstat().st_size
    return sizes


def make_relative(path: str | Path, folder: Path) -> str:
    """A path relative to a folder; "" if there is none, such as between two drives."""
    try:
        return os.path.relpath(make_absolute(path), make_absolute(folder))
    except ValueError:
        return ""


def find_moved_path(path: str, relative: str, folder: Path) -> str:
    """A recorded path: unchanged if it still exists, else resolved from the run's folder, which may have been moved.

    Args:
        path: the absolute path.
        relative: the same path relative to `folder` when it was recorded; "" if that is not known.
        folder: the run's folder, which may have been moved together with `path`.
    """
    if relative and not Path(path).exists():
        moved = make_absolute(folder / relative)
        if moved.exists():
            return str(moved)
    return path


def read_paths(facts: Mapping[str, Any]) -> dict[str, str]:
    """The paths recorded under `paths` in a run's `config.yaml`; invalid entries are left out."""
    recorded = facts.get("paths")
    table = recorded if isinstance(recorded, Mapping) else {}
    return {str(key): value for key, value in table.items() if isinstance(value, str) and _is_usable(value)}


def _is_usable(path: str) -> bool:
    return 0 < len(path) <= MAX_PATH_LENGTH and "\0" not in path
