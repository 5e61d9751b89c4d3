"""Is a run's folder still the one that this process locked, or was it removed, moved or begun anew meanwhile?"""

from __future__ import annotations

from pathlib import Path

from ganzoo_core.errors import GanzooError
from ganzoo_core.storage import files


class LockedFolder:
    """A folder that is written by whoever holds its lock.

    Args:
        folder: of a run.
        lock: the name of the lock's file in it.
        permanent_file: the name of a file in it that is never taken away.
    """

    def __init__(self, folder: Path, *, lock: str, permanent_file: str) -> None:
        self.folder, self._lock, self._permanent_file = folder, folder / lock, folder / permanent_file
        self._lock_identity: tuple[int, int] | None = None

    def remember_lock(self) -> None:
        """Remember the lock's file, which is held open: no other one has its number for as long as that is so."""
        self._lock_identity = self._identify_lock()

    def check(self, path: Path | None = None, length: int = 0) -> None:
        """Raise GanzooError if the folder is another one: a run there would be torn in two, or mixed with another.

        Args:
            path: a file in it, which is an error too where it has become shorter than `length` bytes.
        """
        found = self._identify_lock()
        if self._lock_identity not in (None, found) and not (found is None and files.is_file(self._permanent_file)):
            raise GanzooError(
                f"{self.folder} was removed, moved or begun anew while its run trained, so nothing more is written "
                "there; if it was moved, `ganzoo resume` goes on from where it is now"
            )
        if path is not None and length and (not files.is_file(path) or path.stat().st_size < length):
            raise GanzooError(
                f"{path} was cut or removed while its run trained; the run stops at its last checkpoint, and goes on "
                f"in a new one: ganzoo resume {self.folder} --set train.checkpoint_keep=2"
            )

    def _identify_lock(self) -> tuple[int, int] | None:
        try:
            found = self._lock.lstat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
