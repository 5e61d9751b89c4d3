"""What a reader may not do, seen from within its process and from the folders around its own.

ROOT/home  ROOT/tmp        of the process
ROOT/in/case-N/            the case's folder; what is read lies here, and here alone may be written
ROOT/in/outside/           a stranger's victim, with known contents
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

from fuzzing.fixtures import write_files

CANARY = "ran"  # written by a package that lies beside a case, should it be imported
FORBIDDEN_EVENTS = {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
    "os.kill",
}
CHANGE_EVENTS = {"os.remove", "os.rename", "os.rmdir", "os.chmod", "os.truncate", "os.link", "os.symlink"}
# What a terminal obeys or turns around; \r is what a progress line ends with.
_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Guard:
    """Watches one worker's process.

    Args:
        root: a new folder of its own.
        victim: files to put into `outside`, by path.
    """

    def __init__(self, root: Path, victim: dict[str, bytes]) -> None:
        self.root = Path(os.path.realpath(root))
        self.outside = self.root / "in" / "outside"
        write_files(self.outside, victim)
        for name in ("home", "tmp"):
            (self.root / name).mkdir()
        os.environ.update(HOME=str(self.root / "home"), TMPDIR=str(self.root / "tmp"))
        tempfile.tempdir = None  # it was found out before TMPDIR was set
        self.case = self.root / "in" / "none"
        self.violations: list[str] = []
        self.active = False
        self._output = (self.root / "output").open("w+b", buffering=0)
        for standard in (1, 2):
            os.dup2(self._output.fileno(), standard)
        self._before = self._list_surroundings()
        sys.addaudithook(self._audit)

    def begin(self, number: int) -> Path:
        """A new folder for a case, which is the current one as well, and in front of the path of imports."""
        self.case = self.root / "in" / f"case-{number}"
        self.case.mkdir()
        bait = self.case / "pictures"
        bait.mkdir()
        code = f"open({str(self.root / CANARY)!r}, 'w').close()\n"
        for name in ("__init__.py", "x.py"):
            (bait / name).write_text(code, encoding="utf-8")
        os.chdir(self.case)
        os.environ["GANZOO_CACHE"] = str(self.case / "cache")
        self._output.truncate(0)
        self._output.seek(0)
        return self.case

    def watch(self) -> None:
        """From here on it is the reader that acts."""
        self.violations, self.active = [], True

    def end(self) -> list[str]:
        """What was done that may not be; the case's folder goes."""
        self.active = False
        os.chdir(self.root)
        sys.stdout.flush()
        sys.stderr.flush()
        found = list(dict.fromkeys(self.violations))
        if (self.root / CANARY).exists() or "pictures" in sys.modules:
            found.append("code beside the file ran")
        self._output.seek(0)
        said = self._output.read().decode("utf-8", "replace")
        if _CONTROL_CHARACTERS.search(said):
            found.append(
                f"wrote to the terminal {said[max(0, _CONTROL_CHARACTERS.search(said).start() - 60) :][:200]!r}"
            )
        shutil.rmtree(self.case, ignore_errors=True)
        after = self._list_surroundings()
        found += [f"changed {name}" for name in sorted(self._before.keys() | after) if self._has_changed(name, after)]
        self._before = after
        return found

    def _has_changed(self, name: str, after: dict[str, Any]) -> bool:
        return self._before.get(name) != after.get(name)

    def _list_surroundings(self) -> dict[str, Any]:
        """Everything beside the case's folder: kind, size and time of change."""
        found: dict[str, Any] = {}
        folders = [self.root]
        while folders:
            for entry in os.scandir(folders.pop()):
                path = Path(entry.path)
                if path == self.case or path in (self.root / "tmp", self.root / "home", self.root / "output"):
                    continue
                status = entry.stat(follow_symlinks=False)
                is_folder = stat.S_ISDIR(status.st_mode)
                facts = () if path == self.root / "in" else (status.st_mtime_ns, status.st_size)
                found[str(path.relative_to(self.root))] = (status.st_mode, status.st_ino, *facts)
                if is_folder:
                    folders.append(path)
        return found

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        """Python's own reports of what is done, before it is done."""
        if not self.active:
            return
        if event == "open":
            self._audit_open(*args)
        elif event == "import" and str(args[0]).partition(".")[0] == "pictures":
            self.violations.append(f"import of {args[0]}")
        elif event in FORBIDDEN_EVENTS:
            self.violations.append(f"{event}{_find_caller()}: {str(args)[:200]}")
        elif event in CHANGE_EVENTS:
            paths = [arg for arg in args if isinstance(arg, str | bytes | os.PathLike)]
            paths = paths[1:] if event in ("os.link", "os.symlink") else paths
            places = [self._resolve(Path(os.fsdecode(path)).parent) for path in paths]
            if any(map(self._is_forbidden, places)):
                self.violations.append(f"{event}{_find_caller()}: {args[0]!r}")

    def _audit_open(self, path: Any, mode: Any, flags: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        place = self._resolve(path)
        writes = (isinstance(flags, int) and flags & WRITE_FLAGS) or (isinstance(mode, str) and set(mode) & set("wax+"))
        if place == "/etc/passwd" or place.startswith(str(self.outside)):
            words = f"open of {os.path.relpath(place, self.case)}"
            purpose = "writing" if writes else "reading"
            self.violations.append(f"open beyond its folder, for {purpose}{_find_caller()}: {words}")
        elif writes and self._is_forbidden(place):
            self.violations.append(f"open for writing{_find_caller()}: {place}")

    def _resolve(self, path: Any) -> str:
        try:
            return os.path.realpath(os.fsdecode(path))
        except (OSError, ValueError):
            return ""

    def _is_forbidden(self, place: str) -> bool:
        allowed = (str(self.case), str(self.root / "tmp"), str(self.root / "home"), "/dev/null", "/proc/self")
        return bool(place) and not place.startswith(allowed)


def _find_caller() -> str:
    """The line of ganzoo's that led to what was heard."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not re.search(r"/ganzoo_\w+/", frame.f_code.co_filename):
        frame = frame.f_back
    return f" at {Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}" if frame else ""
