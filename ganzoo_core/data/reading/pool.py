"""Perform a reading task with many files: in threads, or in processes where there is much to decode."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ganzoo_core.data import memory
from ganzoo_core.data.reading.decoding import Header, Task, perform
from ganzoo_core.data.reading.formats import BadImage, limit_pillow
from ganzoo_core.data.reading.scan import ImageFile
from ganzoo_core.data.reading.worker import MODULE, ask
from ganzoo_core.processes import Child
from ganzoo_core.terminal.bars import show_progress

MAX_WORKERS = 8
MIN_PROCESS_PIXELS, MIN_PROCESS_FILES = 1_000_000_000, 20_000  # from here on, processes are worth their start
CHUNK_PIXELS, CHUNK_FILES, CHUNK_BYTES = 200_000_000, 256, 50_000_000  # of one request to a process; of its result
BYTES_PER_PIXEL = 16  # of an image that is being decoded, at most: RGBA, the paper under it, and the result
WORKER_BYTES = 100_000_000  # of a process that decodes nothing


def perform_all(
    task: Task, files: Sequence[ImageFile], headers: Sequence[Header | None], *, title: str
) -> Iterator[Any]:
    """Perform a task with each file, in parallel and with a progress bar.

    Args:
        task: what is done.
        files: with which.
        headers: of the files; None before they are known.
        title: shown beside the progress bar.

    Yields:
        For each file in order, the result of `perform` or its BadImage.
    """
    workers = count_workers(max((header.pixels for header in headers if header), default=0))
    # A JPEG that is decoded small is still read whole.
    pixels = [header.height * header.width if header else 0 for header in headers]
    in_processes = workers > 1 and (sum(pixels) >= MIN_PROCESS_PIXELS or len(files) >= MIN_PROCESS_FILES)
    with show_progress(title, len(files)) as advance:
        perform_in = _perform_in_processes if in_processes and sys.executable else _perform_in_threads
        for result in perform_in(task, files, pixels, workers):
            yield result
            advance(1)


def count_workers(largest: int, *, most: int = MAX_WORKERS) -> int:
    """How many images of this number of pixels may be decoded at a time, by the processors and the free memory."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on every system
    processors = len(allowed(0)) if allowed else os.cpu_count() or 1
    fitting = memory.measure_free_memory() // 2 // (WORKER_BYTES + largest * BYTES_PER_PIXEL)
    return max(1, min(most, processors, fitting))


def _perform_in_threads(task: Task, files: Sequence[ImageFile], pixels: Sequence[int], workers: int) -> Iterator[Any]:
    def attempt(file: ImageFile) -> Any:
        try:
            return perform(task, file)
        except BadImage as error:
            return error

    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        with limit_pillow():
            yield from pool.map(attempt, files)
    finally:
        pool.shutdown(cancel_futures=True)


def _perform_in_processes(task: Task, files: Sequence[ImageFile], pixels: Sequence[int], workers: int) -> Iterator[Any]:
    chunks = list(_split(files, pixels, find_chunk_size(task)))
    with WorkerPool(min(workers, len(chunks))) as pool:
        for results in pool.perform(task, chunks):
            yield from results


def find_chunk_size(task: Task) -> int:
    """How many files one request to a process may have, by the bytes of its result."""
    count = CHUNK_BYTES // max(1, task.height * task.width * task.channels)
    return max(1, min(count, CHUNK_FILES))


class WorkerPool:
    """Processes that perform reading tasks. They are started here and not forked, and end when this is closed or gone.

    Args:
        workers: how many, at least 1.
    """

    def __init__(self, workers: int) -> None:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ganzoo-reading-")))
            self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="ganzoo-decoding")
            stack.callback(self._threads.shutdown, cancel_futures=True)
            self._idle: queue.SimpleQueue[tuple[Child, Path]] = queue.SimpleQueue()
            for number in range(workers):
                own = folder / str(number)
                own.mkdir()
                # Closed before the threads are shut down, so that none goes on waiting for an answer.
                self._idle.put((stack.enter_context(Child(MODULE, "decodes images")), own))
            self.close = weakref.finalize(self, stack.pop_all().close)

    def perform(self, task: Task, chunks: Iterable[Sequence[ImageFile]]) -> Iterator[list[Any]]:
        """Perform a task with chunks of files: each thread hands one to a process; yields the results in order.

        Raises:
            ChildEnded: if a process ended instead of answering.
        """

        def work(chunk: Sequence[ImageFile]) -> list[Any]:
            child, own = self._idle.get()
            try:
                return ask(child, task, chunk, own)
            finally:
                self._idle.put((child, own))

        return self._threads.map(work, chunks)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _split(files: Sequence[ImageFile], pixels: Sequence[int], most: int) -> Iterator[list[ImageFile]]:
    """Split files into chunks of about the same work, with at most so many files."""
    chunk: list[ImageFile] = []
    total = 0
    for file, count in zip(files, pixels, strict=True):
        if chunk and (total + count > CHUNK_PIXELS or len(chunk) == most):
            yield chunk
            chunk, total = [], 0
        chunk.append(file)
        total += count
    if chunk:
        yield chunk
