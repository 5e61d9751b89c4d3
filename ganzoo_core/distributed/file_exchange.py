"""What the ranks of one command give to rank 0 through a folder that all machines see, where no framework is at hand.

Each rank makes a box: a folder of its own in there, which holds what it gives, and a file that counts its signs of
life. A box whose count stands still is of a process that ended, perhaps long ago. Every wait ends so.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct

from ganzoo_core.distributed.launchers import Launch
from ganzoo_core.distributed.ranks import MOST_LONG_SECONDS, RankError, mark_shared
from ganzoo_core.errors import GanzooError, UsageError
from ganzoo_core.storage import decoding, files

R = TypeVar("R")
MOST_BEAT_SECONDS = 1.0  # between two signs of life
POLL_SECONDS = 0.05
MOST_SILENT_SECONDS = 3_600.0  # that a rank may be alive and give nothing: what it started may hang
LATE_SECONDS = 20.0  # that rank 0 waits at its end for ranks that are not there yet, to tell them
LEFTOVER_SECONDS = 86_400.0  # the age at which a killed process's box is removed
_ALIVE, _FAILED, _OUTCOME = "alive", "failed.json", "outcome.json"
# What tells one launch from another, beside where its processes meet.
_LAUNCH_VARIABLES = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_JOB_ID", "SLURM_STEP_ID")


class Failure(Struct):
    """Why a rank cannot go on."""

    why: Annotated[str, Meta(max_length=10_000)]


class Outcome(Struct):
    """How rank 0 ended."""

    succeeded: bool


class FileExchange:
    """The boxes of all ranks. A context manager; this rank's box is removed at its end.

    A rank that fails within it says why to rank 0, which raises it; if rank 0 fails, the others raise a shared
    RankError.

    Args:
        folder: where the boxes stand; its parent is there, and all machines see it.
        launch: how the processes were started.
        timeout: seconds without a sign of life after which a rank has ended.

    Attributes:
        box: this rank's.

    Raises:
        UsageError: if the folder cannot be written.
    """

    def __init__(self, folder: Path, launch: Launch, *, timeout: float) -> None:
        self.rank, self.timeout = launch.rank, timeout
        words = [launch.starter, launch.meeting_point, str(launch.rank.world_size)]
        words += [os.environ.get(name, "") for name in _LAUNCH_VARIABLES]
        self._folder, self._launch_id = folder, hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
        self.box = folder / f"{self._launch_id}-{self.rank.number}-{secrets.token_hex(8)}"
        self._is_over, self._last_act = threading.Event(), time.monotonic()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._beats: dict[Path, tuple[bytes, float | None]] = {}  # the last one, and when it was another than before
        self._sought_since: dict[int, float] = {}

    def __enter__(self) -> FileExchange:
        try:
            self._folder.mkdir(exist_ok=True)
            files.check_folder(self._folder)
            self.box.mkdir()
        except OSError as error:
            raise UsageError(
                f"{files.explain_os_error(error)}; the {self.rank.world_size} processes pass files to each other there"
            ) from None
        if self.rank.is_rank_zero:
            self._remove_leftovers()
        self._heart.start()
        return self

    def _beat(self) -> None:
        count = 0
        while time.monotonic() - self._last_act < MOST_LONG_SECONDS:  # else what this process waits for hangs
            with contextlib.suppress(OSError):  # a full disk; what counts is tried again
                _write(self.box / _ALIVE, str(count).encode())
            count += 1
            if self._is_over.wait(min(MOST_BEAT_SECONDS, self.timeout / 4)):
                return

    def put(self, name: str, record: Mapping[str, Any]) -> None:
        """Give rank 0 a record in JSON, after the files of which it tells; it is seen whole or not at all."""
        self._last_act = time.monotonic()
        _write(self.box / name, json.dumps(record).encode())

    def take(self, number: int, name: str, kind: type[R]) -> tuple[R, Path]:
        """Wait for a record of another rank, in rank 0.

        Returns:
            The record, and the rank's box.

        Raises:
            RankError: if that rank has failed or ended, or gives nothing for an hour.
        """
        self._last_act = time.monotonic()
        until = self._last_act + MOST_SILENT_SECONDS
        while time.monotonic() < until:
            box = self._find_box(number)
            if box is not None and files.is_file(box / name):
                return decoding.read_record(box / name, kind), box
            if box is not None and files.is_file(box / _FAILED):
                raise RankError(f"rank {number}: {decoding.read_record(box / _FAILED, Failure).why}")
            time.sleep(POLL_SECONDS)
        raise RankError(f"rank {number} is alive, and gave nothing for {MOST_SILENT_SECONDS:g} seconds")

    def check(self) -> None:
        """Raise a shared RankError if rank 0 has failed, and RankError if it ended without a word."""
        outcome = self._read_outcome()
        if outcome is None and not self.rank.is_rank_zero:
            try:
                self._find_box(0)
            except RankError:
                outcome = self._read_outcome()  # rank 0 may have been done, and have removed its box
                if outcome is None:
                    raise
        if outcome is not None and not outcome.succeeded:
            raise mark_shared(RankError("rank 0 cannot go on, and says why"))

    def wait_for_rank_zero(self) -> None:
        """Wait until rank 0 is done; raises what `check` does."""
        while self._read_outcome() is None:
            self.check()
            time.sleep(POLL_SECONDS)
        self.check()

    def _read_outcome(self) -> Outcome | None:
        path = self.box / _OUTCOME
        return decoding.read_record(path, Outcome) if files.is_file(path) else None

    def _list_boxes(self, number: int) -> Iterator[Path]:
        """The boxes of a rank of this launch, and of former ones that were started alike."""
        prefix = f"{self._launch_id}-{number}-"
        return (box for box in files.list_folder(self._folder) if box.name.startswith(prefix) and files.is_folder(box))

    def _find_box(self, number: int) -> Path | None:
        """The box of a rank that has given a sign of life since it was first looked for; None before it does.

        Raises:
            RankError: if it gave none for the timeout, or its box is gone.
        """
        now = time.monotonic()
        since = self._sought_since.setdefault(number, now)
        alive = [(when, box) for box in self._list_boxes(number) if (when := self._feel_pulse(box, now)) is not None]
        known = [box for box, (_, when) in self._beats.items() if when is not None and _read_number(box) == number]
        if known and not alive:
            raise RankError(f"rank {number} of {self.rank.world_size} ended; see what it says itself")
        latest, box = max(alive, default=(since, None))
        if now - latest <= self.timeout:
            return box
        if box is not None:
            shutil.rmtree(box, ignore_errors=True)
            raise RankError(
                f"rank {number} of {self.rank.world_size} gave no sign of life for {self.timeout:g} seconds"
            )
        ended = "" if number else "it may have ended before this process came; "
        raise RankError(
            f"rank {number} of {self.rank.world_size} was not seen in {self._folder} within {self.timeout:g} seconds; "
            f"{ended}all machines must see this folder"
        )

    def _feel_pulse(self, box: Path, now: float) -> float | None:
        """When a box's last sign of life was noticed; None if it has not changed since it was first seen."""
        beat = b""
        with contextlib.suppress(GanzooError, OSError):  # it is being replaced, or removed
            beat = files.read_bytes(box / _ALIVE, 100)
        last, when = self._beats.setdefault(box, (beat, None))
        if beat and beat != last:
            when = now
        self._beats[box] = (beat or last, when)
        return when

    def _remove_leftovers(self) -> None:
        for box in files.list_folder(self._folder):
            with contextlib.suppress(OSError):
                if time.time() - box.lstat().st_mtime > LEFTOVER_SECONDS and files.is_folder(box):
                    shutil.rmtree(box, ignore_errors=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if self.rank.is_rank_zero:
                self._tell_outcome(succeeded=error is None)
            elif error is None:
                self.wait_for_rank_zero()
            elif isinstance(error, GanzooError | OSError) and self._read_outcome() is None:
                self._tell_failure(error)
        finally:
            self._is_over.set()
            self._heart.join()
            shutil.rmtree(self.box, ignore_errors=True)
            with contextlib.suppress(OSError):  # others are still there
                self._folder.rmdir()

    def _tell_outcome(self, *, succeeded: bool) -> None:
        """Tell all ranks, also those that come a little later."""
        waiting, told = set(range(1, self.rank.world_size)), set[Path]()
        until = time.monotonic() + min(self.timeout, LATE_SECONDS)
        while waiting and time.monotonic() < until:
            for number in tuple(waiting):
                for box in self._list_boxes(number):
                    if box not in told:
                        with contextlib.suppress(OSError):  # the rank has just removed it
                            _write(box / _OUTCOME, json.dumps({"succeeded": succeeded}).encode())
                            told.add(box)
                    if box in told and self._feel_pulse(box, time.monotonic()) is not None:
                        waiting.discard(number)
                if any(_read_number(box) == number and not files.is_folder(box) for box in told):
                    waiting.discard(number)  # it heard, and left
            if waiting:
                time.sleep(POLL_SECONDS)

    def _tell_failure(self, error: GanzooError | OSError) -> None:
        """Let rank 0 say an error; where it does not answer, this rank says it itself."""
        why = files.explain_os_error(error) if isinstance(error, OSError) else str(error)
        with contextlib.suppress(OSError):
            self.put(_FAILED, {"why": why[:10_000]})
            try:
                self.wait_for_rank_zero()
            except RankError as lost:
                if getattr(lost, "is_shared", False):
                    mark_shared(error)


def _write(path: Path, content: bytes) -> None:
    """Write a file that is seen whole or not at all; unlike `atomic.write_file`, it need not outlast a crash."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)


def _read_number(box: Path) -> int:
    """The rank of a box's name."""
    return int(box.name.split("-")[1])
