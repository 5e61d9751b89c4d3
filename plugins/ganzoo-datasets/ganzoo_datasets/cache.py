"""Decoded images kept as plain arrays, so that the second start is quick.

An entry is a folder `arrays/KEY` with `images.npy`, `labels.npy`, `sizes.npy` and `about.json` under `GANZOO_CACHE`,
else under the user's cache folder. KEY is a hash of the files' names, sizes and times and of all settings that matter.
An entry is made aside and renamed, and never changed afterwards. Any of it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
import tokenize
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

import ganzoo_core as gz

FORMAT = 2  # part of every key: raise it when decoding changes
MAX_FACTS_BYTES = 100_000_000  # bytes of an entry's facts, in which a class has a line
_DAY_SECONDS = 86_400


def find_cache_folder() -> Path:
    """Where the arrays lie."""
    override = os.environ.get("GANZOO_CACHE")
    base = Path(override).expanduser() if override else platformdirs.user_cache_path("ganzoo")
    return base / "arrays"


def stamp_files(files: Iterable[Path]) -> list[tuple[str, int, int, int]]:
    """Path, size and times of change of each file: what tells that it is still the same.

    The time of its last change of any kind is among them: that of its content is put back by `cp -p`, tar and rsync.
    """
    found = ((path, path.stat()) for path in files)
    return [(str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns) for path, status in found]


def load_or_build(key: Mapping[str, Any], build: Callable[[], gz.ImageSource]) -> gz.ImageSource:
    """The source that was stored under this key as memory maps, or what `build` returns, which is then stored.

    A cache folder that is read-only or full is no error: the source comes from memory then.

    Args:
        key: everything the images depend on, JSON-serialisable.
        build: decodes; called only when nothing is stored.
    """
    digest = hashlib.sha256(json.dumps({"format": FORMAT, **key}, sort_keys=True).encode()).hexdigest()
    entry = find_cache_folder() / digest[:40]
    kept = _load_entry(entry)
    if kept is not None:
        return kept
    _remove(entry)  # not there; or cut short by a full disk, or touched by someone
    source = build()
    with contextlib.suppress(OSError):
        _store(entry, source)
    return _load_entry(entry) or source


def save(folder: Path, source: gz.ImageSource) -> None:
    """Write a source into an existing folder."""
    np.save(folder / "images.npy", source.images, allow_pickle=False)
    for name, array in (("labels", source.labels), ("sizes", source.sizes)):
        if array is not None:
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
    about = {
        "class_names": list(source.class_names),
        "background": source.background,
        "notes": list(source.notes),
        "labelled": source.labels is not None,
        "whole": source.whole,
        "sized": source.sizes is not None,
        "held_out": source.held_out,
        "skipped": source.skipped,
    }
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def load(folder: Path) -> gz.ImageSource:
    """What `save` wrote, the images as a read-only memory map.

    Raises:
        OSError: if there is no such entry.
        ValueError, KeyError, TypeError, EOFError, RecursionError, DataError: if it is damaged.
    """
    if folder.is_symlink() or not all(stat.S_ISREG(path.lstat().st_mode) for path in folder.iterdir()):
        raise ValueError("a link or a pipe lies there")
    if (folder / "about.json").stat().st_size > MAX_FACTS_BYTES:
        raise ValueError("its facts are too long")
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    names, notes = about["class_names"], about["notes"]
    if not (
        isinstance(names, list) and isinstance(notes, list) and all(isinstance(text, str) for text in (*names, *notes))
    ):
        raise TypeError("its names are no texts")
    background = about["background"]
    if background is not None and not (type(background) is int and 0 <= background <= 255):
        raise ValueError("its background is no grey value")
    if type(about["whole"]) is not int or about["whole"] < 0:
        raise ValueError("its count is no number of images")
    return gz.ImageSource(
        images=np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False),
        labels=np.load(folder / "labels.npy", allow_pickle=False) if about["labelled"] else None,
        class_names=tuple(names),
        background=background,
        notes=tuple(notes),
        whole=about["whole"],
        sizes=np.load(folder / "sizes.npy", allow_pickle=False) if about["sized"] else None,
        held_out=about["held_out"],
        skipped=about["skipped"],
    )


def _load_entry(entry: Path) -> gz.ImageSource | None:
    """What the entry holds; None where there is none, or a damaged one."""
    try:
        return load(entry)
    except (OSError, EOFError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, tokenize.TokenError):
        return None


def _remove(entry: Path) -> None:
    """Remove an entry; of a link the link alone."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:  # where there is a pipe, rmtree would wait for a writer
        with contextlib.suppress(OSError):
            entry.unlink()


def _store(entry: Path, source: gz.ImageSource) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(entry.parent)
    made = Path(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=entry.parent))
    try:
        save(made, source)
        made.chmod(0o755)
        made.replace(entry)
    except OSError:
        if not entry.is_dir():  # otherwise another process was first, with the same images
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left behind, a day later."""
    for leftover in folder.glob(".*.tmp"):
        try:
            if time.time() - leftover.stat().st_mtime > _DAY_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
        except OSError:
            continue  # another process removed it
