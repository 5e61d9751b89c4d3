"""Locks of cache entries: of several processes that need the same entry, one makes it and the others wait."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from ganzoo_core.storage.paths import find_cache_folder

LOCK_TIMEOUT = 6 * 3600.0  # seconds; then the entry is made here as well
LOCK_FILES = 1000  # of a kind at most; two entries that share one are made one after the other


@contextlib.contextmanager
def hold_lock(
    kind: str, entry: Path, tell_waiting: Callable[[], contextlib.AbstractContextManager[object] | None]
) -> Iterator[None]:
    """Let one process at a time make a cache entry, if the user's cache folder allows locks.

    Within it look for the entry once more: another process may have made it meanwhile. What is done within it may hold
    locks of other kinds, not of its own. A lock file is not removed, since another process may be about to lock it; so
    entries share `LOCK_FILES` of them.

    Args:
        kind: of the entries, for the lock files' names.
        entry: the path; its name tells entries apart.
        tell_waiting: is called if another process holds the lock; a context manager that it returns lasts as long.
    """
    lock = filelock.FileLock(find_cache_folder() / "locks" / f"{kind}-{zlib.crc32(entry.name.encode()) % LOCK_FILES}")
    with contextlib.ExitStack() as stack:
        # A read-only folder, a file system without locks, or a process that takes too long.
        with contextlib.suppress(OSError, NotImplementedError, filelock.Timeout):
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(lock.acquire(timeout=0))
            except filelock.Timeout:
                with tell_waiting() or contextlib.nullcontext():
                    stack.enter_context(lock.acquire(timeout=LOCK_TIMEOUT))
        yield
