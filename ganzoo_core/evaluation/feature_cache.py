"""Cache of the features of real images, so that an extractor looks at each set once.

An entry is a folder `features/KEY` below `GANZOO_CACHE`, else below the user's cache folder. KEY is a hash of all that
the features depend on, to the last bit, so what is read is what would be computed anew. An entry is written to a
temporary folder, renamed, and never changed. Any of it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError

from ganzoo_core.errors import GanzooError
from ganzoo_core.processes import Say
from ganzoo_core.storage import atomic, files
from ganzoo_core.storage.locks import hold_lock
from ganzoo_core.storage.paths import find_cache_folder
from ganzoo_core.storage.tensors import pack_tensors, read_all_tensors

FORMAT = 1  # part of every key: increment it when what is stored changes
FEATURES_FILE = "features.safetensors"
MAX_BYTES = 2_000_000_000  # of all entries; those not used for longest are removed
MIN_SECONDS = 0.5  # features that took less are not kept
LEFTOVER_SECONDS = 86_400.0  # the age at which a killed process's temporary folder is removed


class Extracted(NamedTuple):
    """What an extractor returns: features float32 [N,F], and logits [N,K] or None."""

    features: np.ndarray
    logits: np.ndarray | None


def load_or_extract(key: Mapping[str, Any], count: int, extract: Callable[[], Extracted], say: Say) -> Extracted:
    """Load the features under this key, else extract and store them.

    A cache that is read-only or full is no error. A damaged entry is replaced. If several processes need the same
    features, one extracts them and the others wait.

    Args:
        key: all that the features depend on, in JSON types.
        count: N.
        extract: is called if nothing is stored.
        say: receives whether the features come from the cache.
    """
    digest = hashlib.sha256(json.dumps({"format": FORMAT, **key}, sort_keys=True).encode()).hexdigest()
    entry = find_cache_folder() / "features" / digest[:40]
    cached = _load(entry, count, say)
    if cached is not None:
        return cached
    with hold_lock("features", entry, lambda: say("another process extracts features; waiting for it")):
        cached = _load(entry, count, say)  # another process may have stored it meanwhile
        if cached is not None:
            return cached
        started = time.monotonic()
        extracted = extract()
        if time.monotonic() - started >= MIN_SECONDS:
            _store(entry, extracted)
        return extracted


def _load(entry: Path, count: int, say: Say) -> Extracted | None:
    """Load an entry and note its use; None if it is missing, damaged, or another user's."""
    try:
        if not files.is_folder(entry) or not files.is_own(entry) or not atomic.is_valid(entry):
            return None
        # Copied, so that they are writable and aligned as those that were just extracted.
        tensors = {name: np.array(tensor) for name, tensor in read_all_tensors(entry / FEATURES_FILE).items()}
    except (GanzooError, OSError, ValueError):
        return None
    features, logits = tensors.pop("features", None), tensors.pop("logits", None)
    if features is None or features.dtype != np.float32 or features.ndim != 2 or len(features) != count:
        return None
    if tensors or (logits is not None and logits.shape[:1] != (count,)):
        return None
    with contextlib.suppress(OSError):  # a cache that is read-only
        os.utime(entry)
    say(f"features of {count:,} real images from the cache")
    return Extracted(features, logits)


def _store(entry: Path, extracted: Extracted) -> None:
    """Store features; nothing is stored where they are too large, the disk refuses, or a type has no safetensors."""
    tensors = {name: array for name, array in extracted._asdict().items() if array is not None}
    size = sum(array.nbytes for array in tensors.values())
    if size > MAX_BYTES:
        return
    with contextlib.suppress(GanzooError, OSError, MemoryError, SafetensorError):
        _make_room(entry.parent, MAX_BYTES - size)
        if files.describe(entry):
            atomic.remove(entry)  # it is damaged
        atomic.write_folder(entry, {FEATURES_FILE: pack_tensors(tensors)})


def _make_room(folder: Path, size: int) -> None:
    """Remove leftovers, and the entries not used for longest until the others take at most `size` bytes."""
    entries = []
    for entry in files.list_folder(folder):
        with contextlib.suppress(OSError):  # another process removed it
            changed = entry.lstat().st_mtime
            if not entry.name.startswith("."):
                entries.append((changed, sum(path.lstat().st_size for path in files.list_folder(entry)), entry))
            elif time.time() - changed > LEFTOVER_SECONDS:
                atomic.remove(entry)
    for _, taken, entry in sorted(entries, reverse=True):
        size -= taken
        if size < 0:
            atomic.remove(entry)
