"""Break the writer of folders and files at each of its system calls, and look at what is left.

    python tests/faults.py

For each call the process is killed there (half of a write done), or the call fails with ENOSPC, EIO or EROFS, once with
all calls after it and once alone. Each case runs in a process of its own. Afterwards there must be a valid checkpoint,
no torn one taken for whole, and no leftovers after the next start.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.errors import UsageError
from ganzoo_core.runs import layout
from ganzoo_core.runs.folder import RunFolder
from ganzoo_core.storage import tensors

SYSTEM_CALLS = ("open", "write", "fsync", "close", "mkdir", "rename", "replace", "rmdir", "unlink", "ftruncate")
FAULTS = {"kill": 0, "ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EROFS": errno.EROFS}
OLD_TENSORS, NEW_TENSORS = {"w": np.full(300, 1.0)}, {"w": np.full(300, 2.0)}


class Breaker:
    """Counts the calls of the writer, and breaks one of them.

    Args:
        point: which call, from 0.
        fault: `kill` or the name of an error.
        stays: whether all calls after it fail too, as on a disk that is full or went read-only.
    """

    def __init__(self, point: int, fault: str, *, stays: bool) -> None:
        self.point, self.fault, self.stays = point, fault, stays
        self.count = 0

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def broken(*args: Any, **keywords: Any) -> Any:
            here, self.count = self.count, self.count + 1
            if here < self.point or (here > self.point and not self.stays):
                return call(*args, **keywords)
            if name == "write" and len(args[1]) > 1:
                call(args[0], args[1][: len(args[1]) // 2])
            if self.fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if name == "close":
                call(*args, **keywords)
            raise OSError(FAULTS[self.fault], os.strerror(FAULTS[self.fault]))

        return broken

    def install(self) -> None:
        for name in SYSTEM_CALLS:
            setattr(os, name, self.wrap(name, getattr(os, name)))


def make_position(images: int) -> dict[str, Any]:
    """Of a run with one image a step; a card here holds no more."""
    counts = {"images": images, "step": images, "end": images, "read_at": images, "sampled_at": -1, "rollbacks": 0}
    sums: dict[str, Any] = {"facts": {}, "values": {}, "pending": [], "report_terms": [], "epoch_terms": []}
    return {"format": 1, **counts, **sums, "stats_lines": 0, "seconds": 0.0}


def save_next(folder: RunFolder) -> None:
    """A new checkpoint, after which an older one goes."""
    folder.write_checkpoint(200, NEW_TENSORS, make_position(200), keep=1)


def save_again(folder: RunFolder) -> None:
    """One in the place of another."""
    folder.write_checkpoint(100, NEW_TENSORS, make_position(100), keep=1)


def replace_generator(folder: RunFolder) -> None:
    folder.write_generator(folder.generator, NEW_TENSORS, make_position(200))


def rewrite_stats(folder: RunFolder) -> None:
    folder.truncate_stats(2)


def add_line(folder: RunFolder) -> None:
    folder.add_stats({"images": 3})


SAVES = {save.__name__: save for save in (add_line, save_next, save_again, replace_generator, rewrite_stats)}


def prepare(path: Path) -> RunFolder:
    """A run with a checkpoint at 100 images, a generator and three lines of statistics."""
    path.mkdir()
    (path / layout.CONFIG).write_text("run:\n  id: 0123456789abcdef\n")
    folder = RunFolder(path)
    for number in range(3):
        folder.add_stats({"images": number})
    folder.write_checkpoint(100, OLD_TENSORS, make_position(100), keep=1)
    folder.write_generator(folder.generator, OLD_TENSORS, make_position(100))
    return folder


def check_result(path: Path, *, finished: bool) -> None:
    """What the next start finds: everything old or everything new, and no leftovers."""
    folder = RunFolder.open(path)
    folder.lock().release()  # which clears what is left over
    newest = folder.find_newest_checkpoint()
    assert newest is not None, "no valid checkpoint"
    for found, weights in ((newest, layout.STATE), (folder.generator, layout.WEIGHTS)):
        card = layout.CARD if weights == layout.WEIGHTS else layout.POSITION
        images = json.loads((found / card).read_text())["images"]
        values = tensors.read_all_tensors(found / weights)["w"]
        assert values.shape == (300,)
        assert len(set(values.tolist())) == 1, "torn"
        assert (values[0], images) in {(1.0, 100), (2.0, 200), (2.0, 100)}, "old weights with a new position"
    folder.truncate_stats(2)
    lines = (path / layout.STATS).read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    assert all(json.loads(line)["images"] == number for number, line in enumerate(lines))
    assert [entry.name for entry in path.rglob(".*")] == [layout.LOCK], "leftovers"
    # And the run can be saved again.
    folder.write_checkpoint(300, NEW_TENSORS, make_position(300), keep=1)
    assert finished or folder.find_newest_checkpoint() == path / "checkpoints" / "300"


def try_at(place: Path, save: str, point: int, fault: str, *, stays: bool) -> bool:
    """One case; False when the save has fewer calls than that."""
    path = place / f"{save}-{point}-{fault}-{stays}"
    prepare(path)
    child = os.fork()
    if child == 0:
        code = 0
        try:
            folder = RunFolder.open(path)
            folder.truncate_stats(3)
            breaker = Breaker(point, fault, stays=stays)
            breaker.install()
            try:
                SAVES[save](folder)
            except (OSError, UsageError):  # what cannot be read is refused
                folder.flush_stats()  # as at the next report
                code = 1
            if save == "add_line":
                lines = (path / layout.STATS).read_text().splitlines()
                assert [json.loads(line)["images"] for line in lines] == [0, 1, 2, 3]
            code = 10 if breaker.count <= point else code
        except (OSError, UsageError):
            code = 1
        except BaseException:
            code = 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    ended = os.waitstatus_to_exitcode(status)
    assert ended == -signal.SIGKILL if fault == "kill" and ended != 10 else ended in (0, 1, 10), f"{path}: {ended}"
    check_result(path, finished=ended in (0, 10))
    return ended != 10


def main() -> dict[str, int]:
    """Every case; the number of them by fault."""
    counts = dict.fromkeys(FAULTS, 0)
    with tempfile.TemporaryDirectory() as place:
        for save in SAVES:
            for fault in FAULTS:
                for stays in (True,) if fault == "kill" else (True, False):
                    point = 0
                    while try_at(Path(place), save, point, fault, stays=stays):
                        point += 1
                        counts[fault] += 1
    return counts


if __name__ == "__main__":
    print(json.dumps({"broken at": main(), "lost or torn": 0}))
    sys.exit(0)
