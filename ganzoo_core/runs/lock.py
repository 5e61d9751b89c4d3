"""Check that a run's folder is still the one that this process locked, not removed, moved or restarted."""

from __future__ import annotations

import shlex
from pathlib import Path

from ganzoo_core.errors import GanzooError
from ganzoo_core.storage import files


class LockedFolder:
    """A folder that only the holder of its lock writes to.

    Args:
        folder: of a run.
        lock: the name of its lock file.
        permanent_file: the name of a file in it that is never removed.
    """

    def __init__(self, folder: Path, *, lock: str, permanent_file: str) -> None:
        self.folder, self._lock, self._permanent_file = folder, folder / lock, folder / permanent_file
        self._lock_identity: tuple[int, int] | None = None

    def remember_lock(self) -> None:
        """Remember the lock file's device and inode, which are not reused while it is held open."""
        self._lock_identity = self._identify_lock()

    def check(self, path: Path | None = None, length: int = 0) -> None:
        """Raise GanzooError if this is no longer the locked folder: writing would split the run or mix it with another.

        Args:
            path: a file in it; raises GanzooError too if it is shorter than `length` bytes.
        """
        lock_identity = self._identify_lock()
        if self._lock_identity not in (None, lock_identity) and not (
            lock_identity is None and files.is_file(self._permanent_file)
        ):
            raise GanzooError(
                f"{self.folder} was removed, moved or begun anew while its run trained, so nothing more is written "
                "there; if it was moved, `ganzoo resume RUN` goes on from where it is now"
            )
        if path is not None and length and (not files.is_file(path) or path.stat().st_size < length):
            raise GanzooError(
                f"{path} was cut or removed while its run trained; the run stops at its last checkpoint, and goes on "
                f"in a new one: ganzoo resume {shlex.quote(str(self.folder))} --set train.checkpoint_keep=2"
            )

    def _identify_lock(self) -> tuple[int, int] | None:
        try:
            stat = self._lock.lstat()
        except OSError:
            return None
        return stat.st_dev, stat.st_ino
