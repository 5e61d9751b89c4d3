"""A cache of decoded images as plain arrays, so that later starts are fast.

An entry is a folder `arrays/KEY` with `images.npy`, `labels.npy`, `sizes.npy`, `split_keys.npy`, `condition-NAME.npy`
and `about.json` under `GANZOO_CACHE`, else under the user's cache folder. KEY is a hash of the files' names, sizes and
times and of all settings that matter.
An entry is written to a temporary folder, renamed, and never changed. Where several processes need the same images, one
decodes them and the others wait. Where all entries would take more than `GANZOO_CACHE_GB`, or a tenth of the disk, the
ones not used for longest are removed. Any of it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import shutil
import socket
import stat
import sys
import tempfile
import time
import tokenize
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

import ganzoo_core as gz

FORMAT = 4  # part of every key: increment it when decoding changes
MAX_FACTS_BYTES = 100_000_000  # maximum size of an entry's about.json, which has a line per class
_DAY_SECONDS = 86_400
_DISK_SHARE = 0.1  # of the disk, which all entries may take together


def find_cache_folder() -> Path:
    """The folder of the cached arrays."""
    return find_base() / "arrays"


def find_base() -> Path:
    """The folder of all that can be made again: `GANZOO_CACHE`, else the user's cache folder."""
    override = os.environ.get("GANZOO_CACHE")
    return Path(override).expanduser() if override else platformdirs.user_cache_path("ganzoo")


def find_limit() -> int:
    """How many bytes all entries may take: `GANZOO_CACHE_GB`, else a tenth of the disk.

    Raises:
        UsageError: if the variable is no number of gigabytes.
    """
    given = os.environ.get("GANZOO_CACHE_GB")
    if not given:
        try:
            there = next(folder for folder in find_cache_folder().parents if folder.exists())
            return int(_DISK_SHARE * shutil.disk_usage(there).total)
        except OSError:  # where nothing can be stored either
            return sys.maxsize
    try:
        return round(float(given) * 1e9)
    except (ValueError, OverflowError):
        raise gz.UsageError(f"GANZOO_CACHE_GB is {given!r}; expected a number of gigabytes, such as 20") from None


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
    limit = find_limit()
    with hold_lock(entry):
        cached = _load_entry(entry)  # another process may have stored it meanwhile
        if cached is not None:
            return cached
        _remove(entry)  # missing, truncated by a full disk, or modified
        source = build()
        size = sum(math.prod(rows.shape) * rows.dtype.itemsize for rows in (source.images, *source.conditions.values()))
        if size > limit:
            what = (
                f"the images take {size / 1e9:.3g} GB and the array cache {limit / 1e9:.3g}, so they are not kept "
                "there; GANZOO_CACHE_GB sets its size"
            )
            return replace(source, notes=(*source.notes, what))
        with contextlib.suppress(OSError):
            _make_room(entry.parent, limit - size)
            _store(entry, source)
        return _load_entry(entry) or source


def hold_lock(entry: Path) -> contextlib.AbstractContextManager[None]:
    """Let one process at a time make this entry; see `gz.hold_lock`."""
    waiting = "waiting for another process, which reads the same images"
    return gz.hold_lock("images", entry, lambda: gz.show_progress(waiting, 0))


def _make_room(folder: Path, size: int) -> None:
    """Remove the entries that were not used for longest, until the others take at most `size` bytes."""
    entries = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):  # another process removed it
            if not entry.name.startswith("."):
                taken = sum(path.lstat().st_size for path in entry.iterdir())
                entries.append((entry.lstat().st_mtime_ns, taken, entry))
    for _, taken, entry in sorted(entries, reverse=True):
        size -= taken
        if size < 0:
            _remove(entry)


def save(folder: Path, source: gz.ImageSource) -> None:
    """Write a source into an existing folder."""
    np.save(folder / "images.npy", source.images, allow_pickle=False)
    for name, array in (("labels", source.labels), ("sizes", source.sizes), ("split_keys", source.split_keys)):
        if array is not None:
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
    for name, rows in source.conditions.items():
        np.save(folder / f"condition-{name}.npy", rows, allow_pickle=False)
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
        "conditions": list(source.conditions),
    }
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def load(folder: Path) -> gz.ImageSource:
    """Load what `save` wrote; the images and the conditions are read-only memory maps.

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
    conditions = about.get("conditions", [])
    if not (isinstance(conditions, list) and all(isinstance(name, str) and name.isidentifier() for name in conditions)):
        raise TypeError("its conditions are no names")
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
        conditions={
            name: np.load(folder / f"condition-{name}.npy", mmap_mode="r", allow_pickle=False) for name in conditions
        },
    )


def _load_entry(entry: Path) -> gz.ImageSource | None:
    """Load the entry and note its use; None if it is missing or damaged."""
    try:
        source = load(entry)
    except (OSError, EOFError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, tokenize.TokenError):
        return None
    with contextlib.suppress(OSError):  # a cache that is read-only
        os.utime(entry)
    return source


def _remove(entry: Path) -> None:
    """Remove an entry; if it is a link, only the link."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:  # not a folder, perhaps a named pipe, on which rmtree would block
        with contextlib.suppress(OSError):
            entry.unlink()


def _store(entry: Path, source: gz.ImageSource) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(entry.parent)
    made = make_temporary(entry.parent)
    try:
        save(made, source)
        made.chmod(0o755)
        made.replace(entry)
    except OSError:
        if not entry.is_dir():  # else another process stored the same images first
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def make_temporary(folder: Path) -> Path:
    """A new folder in this one, whose name tells which process it belongs to."""
    return Path(tempfile.mkdtemp(prefix=f".{_name_machine()}-{os.getpid()}-", suffix=".tmp", dir=folder))


def remove_leftovers(folder: Path) -> None:
    """Remove temporary folders of processes that ended; of other machines, those to which a day added nothing."""
    for leftover in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):  # another process removed it
            if _is_abandoned(leftover):
                shutil.rmtree(leftover, ignore_errors=True)


def _is_abandoned(temporary: Path) -> bool:
    machine, _, rest = temporary.name.removeprefix(".").partition("-")
    number = rest.partition("-")[0]
    if os.name == "posix" and machine == _name_machine() and number.isdecimal():
        try:
            os.kill(int(number), 0)  # sends nothing
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:  # another user's
            return False
        return False
    changed = max(path.stat().st_mtime for path in (temporary, *temporary.iterdir()))
    return time.time() - changed > _DAY_SECONDS


@functools.cache
def _name_machine() -> str:
    """A name for where process numbers are told apart: this machine since its start, and the container in it."""
    words = [socket.gethostname()]
    with contextlib.suppress(OSError):  # no Linux
        words += [Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")]
        words += [str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
