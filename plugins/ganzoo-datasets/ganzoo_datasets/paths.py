"""Resolve the path in `--data NAME:PATH`, with a suggestion if it does not exist."""

from __future__ import annotations

import difflib
from pathlib import Path

import ganzoo_core as gz


def resolve_path(name: str, argument: str) -> Path:
    """The path of `--data NAME:PATH`: absolute, with `~` expanded; relative to the current folder.

    Raises:
        UsageError: if there is no argument.
        DataError: if it does not exist, suggesting the nearest name that does.
    """
    if not argument:
        raise gz.UsageError(f"{name} needs a path: write --data {name}:PATH")
    try:
        path = Path(argument).expanduser().absolute()
    except RuntimeError:
        raise gz.DataError(f"{name}:{argument}: there is no such user's home folder") from None
    if not path.exists():
        nearest = _find_nearest(path)
        hint = f"; did you mean {gz.quote_name(str(nearest))}?" if nearest else ""
        given, full = gz.quote_name(argument), gz.quote_name(str(path))
        raise gz.DataError(f"{name}:{given}: {full} does not exist{hint}")
    return path


def resolve_folder(name: str, argument: str) -> Path:
    """As `resolve_path`; the path must be a folder."""
    path = resolve_path(name, argument)
    if not path.is_dir():
        packed = path.name.endswith((".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar"))
        advice = "unpack it and give the folder" if packed else f"give the folder it lies in, {path.parent}"
        raise gz.DataError(f"{name}:{argument}: {path} is a file; expected a folder; {advice}")
    return path


def _find_nearest(path: Path) -> Path | None:
    """The existing path most similar to a missing one, differing in its first missing component."""
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    try:
        siblings = [entry.name for entry in missing.parent.iterdir() if not entry.name.startswith(".")]
    except OSError:
        return None
    matches = difflib.get_close_matches(missing.name, siblings, n=1)
    return missing.parent / matches[0] if matches else None
