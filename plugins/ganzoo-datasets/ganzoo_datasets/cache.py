"""A cache of decoded images as plain arrays, so that later starts are fast.

An entry is a folder `arrays/KEY` with `images.npy`, `labels.npy`, `sizes.npy`, `split_keys.npy` and `about.json` under
`GANZOO_CACHE`, else under the user's cache folder. KEY is a hash of the files' names, sizes and times and of all
settings that matter.
An entry is written to a temporary folder, renamed, and never changed. Any of it may be deleted at any time.
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

FORMAT = 3  # part of every key: increment it when decoding changes
MAX_FACTS_BYTES = 100_000_000  # maximum size of an entry's about.json, which has a line per class
_DAY_SECONDS = 86_400


def find_cache_folder() -> Path:
    """The folder of the cached arrays."""
    override = os.environ.get("GANZOO_CACHE")
    base = Path(override).expanduser() if override else platformdirs.user_cache_path("ganzoo")
    return base / "arrays"


def stamp_files(files: Iterable[Path]) -> list[tuple[str, int, int, int]]:
    """Path, size, mtime and ctime of each file, to detect changes.

    mtime alone does not suffice: `cp -p`, tar and rsync restore it.
    """
    stats = ((path, path.stat()) for path in files)
    return [(str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns) for path, status in stats]


def load_or_build(key: Mapping[str, Any], build: Callable[[], gz.ImageSource]) -> gz.ImageSource:
    """Load the source stored under this key as memory maps, else call `build` and store its result.

    If the cache folder is read-only or full, the source stays in memory; this is no error.

    Args:
        key: everything the images depend on, JSON-serialisable.
        build: decodes the images; called only if nothing is stored.
    """
    digest = hashlib.sha256(json.dumps({"format": FORMAT, **key}, sort_keys=True).encode()).hexdigest()
    entry = find_cache_folder() / digest[:40]
    cached = _load_entry(entry)
    if cached is not None:
        return cached
    _remove(entry)  # missing, truncated by a full disk, or modified
    source = build()
    with contextlib.suppress(OSError):
        _store(entry, source)
    return _load_entry(entry) or source


def save(folder: Path, source: gz.ImageSource) -> None:
    """Write a source into an existing folder."""
    np.save(folder / "images.npy", source.images, allow_pickle=False)
    for name, array in (("labels", source.labels), ("sizes", source.sizes), ("split_keys", source.split_keys)):
        if array is not None:
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
    about = {
        "class_names": list(source.class_names),
        "background": source.background,
        "notes": list(source.notes),
        "labelled": source.labels is not None,
        "whole": source.whole,
        "sized": source.sizes is not None,
        "keyed": source.split_keys is not None,
        "held_out": source.held_out,
        "skipped": source.skipped,
    }
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def load(folder: Path) -> gz.ImageSource:
    """Load what `save` wrote; the images are a read-only memory map.

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
        split_keys=np.load(folder / "split_keys.npy", allow_pickle=False) if about["keyed"] else None,
    )


def _load_entry(entry: Path) -> gz.ImageSource | None:
    """Load the entry; None if it is missing or damaged."""
    try:
        return load(entry)
    except (OSError, EOFError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, tokenize.TokenError):
        return None


def _remove(entry: Path) -> None:
    """Remove an entry; if it is a link, only the link."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:  # not a folder, perhaps a named pipe, on which rmtree would block
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
        if not entry.is_dir():  # else another process stored the same images first
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove temporary folders of killed processes that are over a day old."""
    for leftover in folder.glob(".*.tmp"):
        try:
            if time.time() - leftover.stat().st_mtime > _DAY_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
        except OSError:
            continue  # another process removed it
