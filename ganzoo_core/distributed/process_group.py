"""What the processes of a run say to each other, beside gradients; the same for every framework.

An engine adds how arrays travel, in `gather_array` and `broadcast_array`, and how gradients are averaged.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from ganzoo_core.distributed.ranks import MOST_LONG_SECONDS, Rank, RankError, mark_shared
from ganzoo_core.errors import GanzooError, UsageError

T = TypeVar("T")
STOP_FLAG_LAG = 2  # all-reduces, or steps, before a GPU's stop flag is read, so that reading it does not wait
_SUCCEEDED, _DISK_ERROR, _OTHER_ERROR, _WORKING = 0, 1, 2, 3  # what a rank says of its act


class MessageGroup(ABC):
    """The processes of a run; see `ranks.ProcessGroup` for the methods that the runner uses.

    Args:
        rank: of this process.
        timeout: seconds to wait for the others in a step.
    """

    def __init__(self, rank: Rank, *, timeout: float) -> None:
        self.rank, self.timeout = rank, timeout
        self._is_stop_asked: Callable[[], bool] = lambda: False
        self._should_stop = False

    @abstractmethod
    def gather_array(self, array: np.ndarray) -> np.ndarray:
        """Every rank's array, of one shape and dtype, in the order of the ranks: [ranks, ...].

        Raises:
            RankError: if another process hangs or has ended.
        """

    @abstractmethod
    def broadcast_array(self, array: np.ndarray) -> np.ndarray:
        """Rank 0's array; all ranks' have one shape and dtype. Raises what `gather_array` does."""

    @abstractmethod
    def broadcast_network(self, network: Any) -> None:
        """Copy rank 0's weights and buffers to all ranks."""

    def select_rows(self, batch_size: int) -> slice:
        """This rank's rows of a batch of `batch_size` samples."""
        own = batch_size // self.rank.world_size
        return slice(self.rank.number * own, (self.rank.number + 1) * own)

    def make_stop_check(self, is_stop_asked: Callable[[], bool]) -> Callable[[], bool]:
        self._is_stop_asked, self._should_stop = is_stop_asked, False
        return lambda: self._should_stop

    def all_reduce_sum(self, numbers: Sequence[float]) -> list[float]:
        """The sum over the ranks of each number."""
        return [sum(column) for column in zip(*self.all_gather(numbers), strict=True)]

    def all_gather(self, numbers: Sequence[float]) -> list[list[float]]:
        """Every rank's numbers, in the order of the ranks."""
        rows: list[list[float]] = self.gather_array(np.asarray(numbers, np.float64)).tolist()
        return rows

    def broadcast_int(self, number: int) -> int:
        return int(self.broadcast_array(np.asarray([number], np.int64))[0])

    def broadcast_text(self, text: str) -> str:
        content = np.frombuffer(text.encode(), np.uint8)
        length = self.broadcast_int(len(content))
        return self.broadcast_array(np.resize(content, length)).tobytes().decode() if length else ""

    def check_on_all_ranks(self, fine: bool, problem: str) -> None:
        failed_ranks = [rank for rank, (is_fine,) in enumerate(self.all_gather([float(fine)])) if not is_fine]
        if not fine:
            raise RankError(problem)
        if failed_ranks:
            raise mark_shared(RankError(f"rank {failed_ranks[0]} cannot go on, and says why"))

    def on_rank_zero(self, act: Callable[[], T], *, long: bool = False) -> T | None:
        result, error, outcome = None, None, _SUCCEEDED
        if self.rank.is_rank_zero:
            with self._give_signs_of_life() if long else contextlib.nullcontext():
                try:
                    result = act()
                except BaseException as raised:  # KeyboardInterrupt too: the others wait for the outcome
                    error, outcome = raised, _DISK_ERROR if isinstance(raised, OSError) else _OTHER_ERROR
        while (said := self.broadcast_int(outcome)) == _WORKING:
            pass
        if error is not None:
            raise error
        if said == _DISK_ERROR:
            raise OSError("rank 0 could not write")
        if said == _OTHER_ERROR:
            raise mark_shared(RankError("rank 0 cannot go on, and says why"))
        return result

    def on_all_ranks(self, act: Callable[[], T]) -> T:
        result, error, outcome, over = None, None, _WORKING, threading.Event()
        outcomes: list[float] = []
        lost: list[BaseException] = []
        until = time.monotonic() + MOST_LONG_SECONDS

        def speak() -> None:
            try:
                while not outcomes:
                    if time.monotonic() > until:
                        raise self.make_lost_error(f"one of them did not end within {MOST_LONG_SECONDS:,.0f} seconds")
                    said = [row[0] for row in self.all_gather([float(outcome)])]
                    if _WORKING not in said:
                        outcomes.extend(said)
                    over.wait(self.timeout / 4)
            except BaseException as problem:  # whatever it is: without the outcomes none may go on
                lost.append(problem)

        speaker = threading.Thread(target=speak, daemon=True)
        speaker.start()
        try:
            result, outcome = act(), _SUCCEEDED
        except BaseException as raised:  # KeyboardInterrupt too: the others wait for the outcome
            error, outcome = raised, _OTHER_ERROR
        finally:
            over.set()
            speaker.join()
        failed = [rank for rank, said in enumerate(outcomes) if said != _SUCCEEDED]
        if error is not None:
            if isinstance(error, GanzooError) and failed and failed[0] != 0:
                raise RankError(str(error)) from error  # rank 0 has none to report
            raise error
        if lost:
            raise lost[0]
        if failed:
            raise mark_shared(RankError(f"rank {failed[0]} cannot go on, and says why"))
        return cast("T", result)

    @contextlib.contextmanager
    def _give_signs_of_life(self) -> Iterator[None]:
        """Tell the others within this context that this rank is still working, so that none waits too long."""
        over, until = threading.Event(), time.monotonic() + MOST_LONG_SECONDS
        errors: list[BaseException] = []

        def speak() -> None:
            try:
                while not over.wait(self.timeout / 4) and time.monotonic() < until:
                    self.broadcast_int(_WORKING)
            except BaseException as error:  # it is raised when the act is over
                errors.append(error)

        speaker = threading.Thread(target=speak, daemon=True)
        speaker.start()
        try:
            yield
        finally:
            over.set()
            speaker.join()
        if errors:
            raise errors[0]

    def check_same_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Raise RankError in all ranks unless these tensors are bitwise equal in all."""
        sums = [zlib.crc32(np.asarray(array, order="C").tobytes()) for array in tensors.values()]
        rows = self.all_gather([float(checksum) for checksum in sums])
        for name, *checksums in zip(tensors, *rows, strict=True):
            if len(set(checksums)) > 1:
                rank = next(rank for rank, value in enumerate(checksums) if value != checksums[0])
                raise mark_shared(
                    RankError(
                        f"the processes came apart: {name} of rank {rank} differs from that of rank 0; what was saved "
                        "before is whole. Networks and losses must not draw from generators of their own, nor depend "
                        "on which process they are in"
                    )
                )

    def check_same_facts(self, facts: Mapping[str, Any]) -> None:
        """Raise UsageError or RankError in all ranks unless facts such as versions and data are equal in all."""
        encoded = {name: json.dumps(fact, sort_keys=True).encode() for name, fact in facts.items()}
        rows = self.all_gather([float(zlib.crc32(text)) for text in encoded.values()])
        for name, *checksums in zip(encoded, *rows, strict=True):
            rank = next((rank for rank, value in enumerate(checksums) if value != checksums[0]), None)
            if rank is not None:
                theirs = self.broadcast_text(encoded[name].decode())
                if self.rank.number == rank and not self.rank.is_rank_zero:
                    raise RankError(f"{name} is {encoded[name].decode()} here and {theirs} in rank 0; make them alike")
                raise mark_shared(UsageError(f"{name} of rank {rank} is not that of rank 0, {theirs}; make them alike"))

    def make_lost_error(self, why: str) -> RankError:
        """The error that other processes do not answer, with what to do."""
        return RankError(
            f"the {self.rank.world_size} processes of the run lost each other: {why}; what was saved before is "
            "whole: see what the others say, and go on with `ganzoo resume RUN`. `--set engine.timeout=SECONDS` waits "
            "longer"
        )

    def make_unanswered_error(self, detail: str, *, slow: bool) -> RankError:
        """As `make_lost_error`, from a framework's words.

        Args:
            detail: these.
            slow: whether they are of a wait that was too long, not of a connection that broke.
        """
        why = f"one of them did not answer for {self.timeout:g} seconds" if slow else "one of them ended"
        return self.make_lost_error(f"{why} ({detail})" if detail else why)


def make_unreachable_error(rank: Rank, host: str, where: str, timeout: float, detail: str) -> RankError:
    """The error that this process could not meet the others.

    Args:
        rank: of this process.
        host: it is on.
        where: `HOST:PORT` of the meeting point.
        timeout: seconds that it waited.
        detail: the framework's words.
    """
    return RankError(
        f"rank {rank.number} of {rank.world_size} on {host} could not reach the others at {where} within {timeout:g} "
        f"seconds ({detail})"
    )
