"""Forked workers, each replaced when its process or what lies around it is no longer as it was."""

from __future__ import annotations

import faulthandler
import multiprocessing
import multiprocessing.connection
import os
import re
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_SECONDS, MAX_BYTES = 10.0, 2 * 2**30
HANGS = "tmp/hangs"  # in a worker's folder: where it was when it was asked
_CONTEXT = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Case:
    """One damaged input: the `number`-th of a kind. Number -1 is the undamaged one."""

    kind: str
    number: int


@dataclass(frozen=True)
class Result:
    """What became of a case.

    Attributes:
        outcome: `read`, `refused` or `fault`.
        group: of a fault, what it has in common with others: the error and where it was raised.
        detail: of a fault, the message or the traceback.
        input: of a fault, the damaged input in words.
        is_broken: whether the process must not be used any more.
        seconds: that it took.
    """

    outcome: str
    group: str = ""
    detail: str = ""
    input: str = ""
    is_broken: bool = False
    seconds: float = 0.0


Work = Callable[[Case], Result]


class _Worker:
    """One process and the end of its pipe."""

    def __init__(self, start: Callable[[Path], Work], root: Path) -> None:
        self.root = root
        self.pipe, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_serve, args=(start, root, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.case: Case | None = None
        self.until = 0.0

    def give(self, case: Case, seconds: float) -> None:
        self.case, self.until = case, time.monotonic() + seconds
        self.pipe.send(case)

    def stop(self) -> None:
        self.process.kill()
        self.process.join(timeout=60)
        self.pipe.close()
        shutil.rmtree(self.root, ignore_errors=True)


def run_cases(
    cases: Iterator[Case], start: Callable[[Path], Work], place: Path, *, workers: int, seconds: float = MAX_SECONDS
) -> Iterator[tuple[Case, Result]]:
    """Put cases through workers.

    Args:
        cases: which.
        start: called in each new process with a folder of its own; returns what does a case.
        place: a folder for the workers' folders.
        workers: at a time.
        seconds: after which a worker is killed, and its case a fault.
    """
    count = 0

    def fresh() -> _Worker:
        nonlocal count
        count += 1
        return _Worker(start, place / f"worker-{count}")

    waiting = iter(cases)
    idle, busy = [fresh() for _ in range(workers)], []
    try:
        while True:
            while idle and (case := next(waiting, None)) is not None:
                worker = idle.pop()
                worker.give(case, seconds)
                busy.append(worker)
            if not busy:
                return
            until = min(worker.until for worker in busy)
            multiprocessing.connection.wait([worker.pipe for worker in busy], max(0.0, until - time.monotonic()))
            for worker in list(busy):
                result = _read_result(worker, seconds)
                if result is None:
                    continue
                assert worker.case is not None
                busy.remove(worker)
                case = worker.case
                if result.is_broken:
                    worker.stop()
                    worker = fresh()
                idle.append(worker)
                yield case, result
    finally:
        for worker in [*idle, *busy]:
            worker.stop()


def _read_result(worker: _Worker, seconds: float) -> Result | None:
    """What a worker says, or what became of it; None while it works."""
    try:
        if worker.pipe.poll():
            result: Result = worker.pipe.recv()
            return result
    except (EOFError, OSError):
        worker.process.join(5)
        code = worker.process.exitcode
        return Result("fault", f"the process ended with {code}", is_broken=True)
    if time.monotonic() < worker.until:
        return None
    os.kill(worker.process.pid or 0, signal.SIGUSR1)
    worker.process.join(0.3)
    place = (worker.root / HANGS).read_text(errors="replace") if (worker.root / HANGS).exists() else ""
    ours = re.search(r'File ".*/([^/]*ganzoo[^"]*)", line (\d+) in (\w+)', place)
    where = f" at {ours[1]}:{ours[2]} {ours[3]}" if ours else ""
    return Result("fault", f"over {seconds:g} seconds{where}", place, is_broken=True)


def _serve(start: Callable[[Path], Work], root: Path, pipe: Any) -> None:
    """A worker's process."""
    root.mkdir(parents=True)
    work = start(root)
    faulthandler.register(signal.SIGUSR1, (root / HANGS).open("w"), all_threads=False)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MAX_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setrecursionlimit(1000)
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            os._exit(0)
        pipe.send(work(case))
