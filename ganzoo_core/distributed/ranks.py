"""Distributed training: this process's rank, and the interface to the other processes of the run.

Ranks are numbers from 0; `launchers` reads them. Only rank 0 creates the run's folder, writes and prints. Nothing here
imports a framework; communication is in `process_group`, and in the file of this name of each engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ganzoo_core.errors import GanzooError

T = TypeVar("T")
MOST_LONG_SECONDS = 3 * 86_400.0  # that the other ranks wait for one that says that it is working


class RankError(GanzooError):
    """The processes of a run lost contact, or their states differ. Raised in each of them."""


@dataclass(frozen=True)
class Rank:
    """The rank of this process.

    Attributes:
        number: 0 to `world_size` - 1.
        world_size: processes on all machines.
        local_rank: 0 to `local_world_size` - 1, among those of this machine.
        local_world_size: processes on this machine.
    """

    number: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process writes and prints."""
        return self.number == 0

    @property
    def is_alone(self) -> bool:
        """Whether this is the only process."""
        return self.world_size == 1


class ProcessGroup(Protocol):
    """Communication between the processes of a run. All must make the same calls in the same order."""

    rank: Rank

    def on_rank_zero(self, act: Callable[[], T], *, long: bool = False) -> T | None:
        """Run `act` in rank 0 only; the others wait for it to end and get None.

        Args:
            act: called in rank 0.
            long: whether it may take longer than the timeout of a collective operation, `MOST_LONG_SECONDS` at most.

        Raises:
            OSError: in every rank, if `act` raised it. Any other error of `act` is raised in rank 0, and RankError in
                the others.
        """

    def on_all_ranks(self, act: Callable[[], T]) -> T:
        """Run `act` in every rank; return this rank's result when all have one, within `MOST_LONG_SECONDS`.

        Args:
            act: sends the others nothing through this group.

        Raises:
            Its own error where `act` raised one, as a RankError if rank 0 had none; RankError in the other ranks.
        """

    def broadcast_int(self, number: int) -> int:
        """Rank 0's number."""

    def broadcast_text(self, text: str) -> str:
        """Rank 0's text."""

    def make_stop_check(self, is_stop_asked: Callable[[], bool]) -> Callable[[], bool]:
        """Return a function: whether any process was asked to stop, as of the last step; the same in all ranks."""

    def check_on_all_ranks(self, fine: bool, problem: str) -> None:
        """Raise RankError in all ranks unless `fine` is true in each; only failing ranks report their `problem`."""

    def check_same_facts(self, facts: Mapping[str, Any]) -> None:
        """Raise UsageError or RankError in all ranks unless facts such as versions and data are equal in all."""

    def broadcast_network(self, network: Any) -> None:
        """Copy rank 0's weights and buffers to all ranks; `network` is a native network of the engine."""


class SingleProcess:
    """The `ProcessGroup` of a run in a single process."""

    rank = Rank()

    def on_rank_zero(self, act: Callable[[], T], *, long: bool = False) -> T | None:
        return act()

    def on_all_ranks(self, act: Callable[[], T]) -> T:
        return act()

    def broadcast_int(self, number: int) -> int:
        return number

    def broadcast_text(self, text: str) -> str:
        return text

    def make_stop_check(self, is_stop_asked: Callable[[], bool]) -> Callable[[], bool]:
        return is_stop_asked

    def check_on_all_ranks(self, fine: bool, problem: str) -> None:
        if not fine:
            raise RankError(problem)

    def check_same_facts(self, facts: Mapping[str, Any]) -> None:
        pass

    def broadcast_network(self, network: Any) -> None:
        pass


SINGLE_PROCESS = SingleProcess()


def describe_error(error: GanzooError, rank: Rank) -> str | None:
    """The message that this process prints for an error; None if other ranks report it.

    Rank 0 reports every error it meets. The first process of each other machine reports its own errors, and every
    process reports a RankError, unless the error is marked as shared.
    """
    if rank.is_rank_zero:
        return str(error)
    if getattr(error, "is_shared", False):
        return None
    if isinstance(error, RankError) or rank.local_rank == 0:
        return f"rank {rank.number}: {error}"
    return None


def mark_shared(error: Any) -> Any:
    """Mark an error as raised in all ranks alike, so that only rank 0 reports it."""
    error.is_shared = True
    return error
