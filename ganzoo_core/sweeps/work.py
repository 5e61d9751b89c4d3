"""Run the jobs of a sweep: child processes, their logs, and interruption."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ganzoo_core.errors import GanzooError
from ganzoo_core.interrupts import STOPS_WITH_INPUT, list_stop_signals
from ganzoo_core.messages import pluralise
from ganzoo_core.processes import BackgroundProcess
from ganzoo_core.runs import layout
from ganzoo_core.storage import files
from ganzoo_core.sweeps.grid import Job, Sweep

EXIT_INTERRUPTED = 130
TAIL_BYTES = 100_000  # bytes at the end of a log that are searched for its last sentence
POLL_SECONDS = 0.05  # seconds between polls of the processes


@dataclass(frozen=True)
class Outcome:
    """How a run of a sweep ended.

    Attributes:
        job: the run.
        status: `done`, `there` (finished before), `failed`, `interrupted` or `left` (not started).
        code: its exit code; None if it was not started.
        reason: the error message of a failed run.
    """

    job: Job
    status: str
    code: int | None = None
    reason: str = ""


def run_jobs(
    sweep: Sweep, *, at_once: int, extra_arguments: Sequence[str] = (), say: Callable[[str], None] = lambda text: None
) -> list[Outcome]:
    """Run the unfinished jobs, each in its own process; a failure does not stop the others.

    Ctrl-C, SIGTERM and SIGHUP are forwarded to the running jobs once, which finish their step and save; so
    they do if this process is killed.

    Args:
        sweep: the runs.
        at_once: how many processes to run at a time.
        extra_arguments: arguments for runs that start now.
        say: prints a line for each start and end.

    Returns:
        The outcome of each run, in the sweep's order.
    """
    results = {job.name: Outcome(job, "there") for job in sweep.jobs if sweep.is_over(job)}
    if results:
        say(
            f"{len(results)} of {pluralise(len(sweep.jobs), 'run')} {'is' if len(results) == 1 else 'are'} over already"
        )
    for text in sweep.record_lengths(sweep.jobs):
        say(text)
    waiting = deque(job for job in sweep.jobs if job.name not in results)
    running: dict[str, tuple[Job, BackgroundProcess]] = {}
    with _interrupt_on_termination():
        while waiting or running:
            try:
                for text in sweep.record_lengths(job for job, _ in running.values()):
                    say(text)
                while len(running) < at_once and (
                    job := _next(sweep, waiting, [running_job for running_job, _ in running.values()])
                ):
                    waiting.remove(job)
                    begun = files.is_file(sweep.folder_of(job) / layout.CONFIG)
                    try:
                        running[job.name] = job, _start_job(sweep, job, extra_arguments)
                    except (GanzooError, OSError) as error:  # from its log or the operating system
                        results[job.name] = Outcome(job, "failed", None, str(error))
                        say(f"{job.name}: failed: {error}")
                    else:
                        say(f"{job.name}: {'goes on' if begun else 'begins'}")
                for name, (job, process) in list(running.items()):
                    if (code := process.poll()) is not None:
                        for text in sweep.record_lengths([job]):  # it may have measured since the last poll
                            say(text)
                        results[name] = _make_outcome(sweep, job, code)
                        del running[name]
                        outcome = results[name]
                        say(f"{name}: {outcome.status}" + (f": {outcome.reason}" if outcome.reason else ""))
                time.sleep(POLL_SECONDS if running else 0)
            except KeyboardInterrupt:
                waiting.clear()
                for _, process in running.values():
                    process.interrupt()
                say(f"{len(running)} under way save, and end; the same command goes on later")
    return [results.get(job.name, Outcome(job, "left")) for job in sweep.jobs]


def _next(sweep: Sweep, waiting: Sequence[Job], running: Sequence[Job]) -> Job | None:
    """Return the first job that can start; while a run measures its length, equally fast ones wait for it."""
    measuring = sweep.unmeasured(running)
    return next((job for job in waiting if sweep.groups.get(job.name) not in measuring), None)


def _start_job(sweep: Sweep, job: Job, extra_arguments: Sequence[str]) -> BackgroundProcess:
    command = sweep.make_command(job, extra_arguments=extra_arguments)
    path = sweep.folder / f"{job.name}.log"
    files.check_file(path)
    with path.open("ab") as log:
        log.write(f"$ {shlex.join(command)}\n".encode())
        log.flush()
        # However this process ends, the run then saves and ends too.
        return BackgroundProcess(command, environment={**os.environ, STOPS_WITH_INPUT: "1"}, log=log)


def _make_outcome(sweep: Sweep, job: Job, code: int) -> Outcome:
    if code == 0 and sweep.is_over(job):
        return Outcome(job, "done", 0)
    if code == 0:
        return Outcome(job, "failed", 1, "it ended without an error, and before its length")
    if code == EXIT_INTERRUPTED:
        return Outcome(job, "interrupted", code)
    try:
        with files.open_file(sweep.folder / f"{job.name}.log") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            text = log.read(TAIL_BYTES).decode("utf-8", "replace")
    except (GanzooError, OSError) as error:
        return Outcome(job, "failed", code, f"it ended with {code}, and its log cannot be read: {error}")
    lines = text.split("\n$ ")[-1].splitlines()[1:]
    printed = [line.strip() for line in lines if line.strip()]
    sentences = [line for line in printed if line.startswith("ganzoo ")]
    last = (sentences or printed or [f"it ended with {code}, without a word"])[-1]
    return Outcome(job, "failed", code, last.partition(": ")[2] if sentences else last)


@contextmanager
def _interrupt_on_termination() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        former = {number: signal.signal(number, interrupt) for number in list_stop_signals()}
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
