"""Several processes that train one run: which of them this is, and what a run needs of the others.

torchrun starts the processes and says in the environment which is which. A process is a *rank*, a number from 0; rank 0
leads: it alone makes the run's folder, writes and prints. Nothing here imports a framework; what the processes say to
each other goes through `engines/torch/process_group.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ganzoo_core.errors import GanzooError, UsageError

T = TypeVar("T")
_ENV_VARIABLES = {
    "number": "RANK",
    "world_size": "WORLD_SIZE",
    "local_rank": "LOCAL_RANK",
    "local_world_size": "LOCAL_WORLD_SIZE",
}


class RankError(GanzooError):
    """The processes of a run lost each other, or came apart. Each of them says so."""


@dataclass(frozen=True)
class Rank:
    """Which process this is.

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
        """Whether this one writes and prints."""
        return self.number == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self.world_size == 1


def rank_from_env(environment: Mapping[str, str] = os.environ) -> Rank:
    """What torchrun says of this process; the only one, where it says nothing.

    Raises:
        UsageError: if what stands in the environment is no place.
    """
    # Schedulers set RANK and WORLD_SIZE in shells too; LOCAL_RANK comes from torchrun alone.
    if not all(environment.get(_ENV_VARIABLES[name]) for name in ("number", "world_size", "local_rank")):
        return Rank()
    found = {name: environment.get(variable) or "1" for name, variable in _ENV_VARIABLES.items()}
    try:
        place = Rank(**{name: int(text) for name, text in found.items()})
    except ValueError:
        place = Rank(-1)
    if not (
        0 <= place.number < place.world_size and 0 <= place.local_rank < place.local_world_size <= place.world_size
    ):
        told = ", ".join(f"{_ENV_VARIABLES[name]}={text}" for name, text in found.items())
        raise UsageError(f"the environment says {told}, which is no process of a run; let torchrun set all of them")
    return place


def check_launch(rank: Rank, *, framework: str, batch_size: int) -> None:
    """Can a run be shared so? Nothing is imported before that is known.

    Raises:
        UsageError: if not, and what to do instead.
    """
    if rank.is_alone:
        return
    if framework != "torch":
        raise UsageError(
            f"torchrun started {rank.world_size} processes, and this model is written in {framework}; several "
            "processes "
            "train in PyTorch only: run it without torchrun, or pick a model in PyTorch"
        )
    if batch_size % rank.world_size:
        fitting = [size for size in (batch_size // rank.world_size, batch_size // rank.world_size + 1) if size]
        choices = " or ".join(str(size * rank.world_size) for size in fitting)
        raise UsageError(
            f"train.batch_size is {batch_size}, of all {rank.world_size} processes together, and cannot be shared "
            "evenly; "
            f"say --batch-size {choices}"
        )


class ProcessGroup(Protocol):
    """What a run needs of the processes that train it. All of them make the same calls in the same order."""

    rank: Rank

    def on_rank_zero(self, act: Callable[[], T], *, long: bool = False) -> T | None:
        """Do something in rank 0 alone; the others wait for its end and get None.

        Args:
            act: what is done.
            long: it may take longer than one process waits for another.

        Raises:
            OSError: in every rank, if `act` raised it; `act`'s own error in rank 0, and RankError in the others, if it
                raised anything else.
        """

    def broadcast_int(self, number: int) -> int:
        """Rank 0's number."""

    def broadcast_text(self, text: str) -> str:
        """Rank 0's text."""

    def make_stop_check(self, is_stop_asked: Callable[[], bool]) -> Callable[[], bool]:
        """Whether any process was asked to stop; the answer is the same in all, as of the last step."""

    def check_on_all_ranks(self, fine: bool, problem: str) -> None:
        """Raise RankError in all ranks unless all is fine in each; the problem is told where it is."""


class SingleProcess:
    """One process."""

    rank = Rank()

    def on_rank_zero(self, act: Callable[[], T], *, long: bool = False) -> T | None:
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


SINGLE_PROCESS = SingleProcess()


def describe_error(error: GanzooError, rank: Rank) -> str | None:
    """An error as this process tells it; None where others do.

    What all meet alike is told by rank 0, what a machine meets by its first process, and lost company by everyone.
    """
    if rank.is_rank_zero:
        return str(error)
    if getattr(error, "is_shared", False):
        return None
    if isinstance(error, RankError) or rank.local_rank == 0:
        return f"rank {rank.number}: {error}"
    return None


def mark_shared(error: Any) -> Any:
    """Mark an error that rank 0 tells for all."""
    error.is_shared = True
    return error
