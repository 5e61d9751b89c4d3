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
_NAMES = {"rank": "RANK", "count": "WORLD_SIZE", "local": "LOCAL_RANK", "local_count": "LOCAL_WORLD_SIZE"}


class RankError(GanzooError):
    """The processes of a run lost each other, or came apart. Each of them says so."""


@dataclass(frozen=True)
class Place:
    """Which process this is.

    Attributes:
        rank: 0 to `count` - 1.
        count: processes on all machines.
        local: 0 to `local_count` - 1, among those of this machine.
        local_count: processes on this machine.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    local_count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this one writes and prints."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self.count == 1


def here(environment: Mapping[str, str] = os.environ) -> Place:
    """What torchrun says of this process; the only one, where it says nothing.

    Raises:
        UsageError: if what stands in the environment is no place.
    """
    # Schedulers set RANK and WORLD_SIZE in shells too; LOCAL_RANK comes from torchrun alone.
    if not all(environment.get(_NAMES[name]) for name in ("rank", "count", "local")):
        return Place()
    found = {name: environment.get(variable) or "1" for name, variable in _NAMES.items()}
    try:
        place = Place(**{name: int(text) for name, text in found.items()})
    except ValueError:
        place = Place(-1)
    if not (0 <= place.rank < place.count and 0 <= place.local < place.local_count <= place.count):
        told = ", ".join(f"{_NAMES[name]}={text}" for name, text in found.items())
        raise UsageError(f"the environment says {told}, which is no process of a run; let torchrun set all of them")
    return place


def check(place: Place, *, framework: str, batch_size: int) -> None:
    """Can a run be shared so? Nothing is imported before that is known.

    Raises:
        UsageError: if not, and what to do instead.
    """
    if place.is_alone:
        return
    if framework != "torch":
        raise UsageError(
            f"torchrun started {place.count} processes, and this model is written in {framework}; several processes "
            "train in PyTorch only: run it without torchrun, or pick a model in PyTorch"
        )
    if batch_size % place.count:
        fitting = [size for size in (batch_size // place.count, batch_size // place.count + 1) if size]
        choices = " or ".join(str(size * place.count) for size in fitting)
        raise UsageError(
            f"train.batch_size is {batch_size}, of all {place.count} processes together, and cannot be shared evenly; "
            f"say --batch-size {choices}"
        )


class Together(Protocol):
    """What a run needs of the processes that train it. All of them make the same calls in the same order."""

    place: Place

    def first(self, act: Callable[[], T], *, long: bool = False) -> T | None:
        """Do something in rank 0 alone; the others wait for its end and get None.

        Args:
            act: what is done.
            long: it may take longer than one process waits for another.

        Raises:
            OSError: in every rank, if `act` raised it; `act`'s own error in rank 0, and RankError in the others, if it
                raised anything else.
        """

    def chosen(self, number: int) -> int:
        """Rank 0's number."""

    def named(self, text: str) -> str:
        """Rank 0's text."""

    def agreed(self, asked: Callable[[], bool]) -> Callable[[], bool]:
        """Whether any process was asked to stop; the answer is the same in all, as of the last step."""

    def every(self, fine: bool, problem: str) -> None:
        """Raise RankError in all ranks unless all is fine in each; the problem is told where it is."""


class Alone:
    """One process."""

    place = Place()

    def first(self, act: Callable[[], T], *, long: bool = False) -> T | None:
        return act()

    def chosen(self, number: int) -> int:
        return number

    def named(self, text: str) -> str:
        return text

    def agreed(self, asked: Callable[[], bool]) -> Callable[[], bool]:
        return asked

    def every(self, fine: bool, problem: str) -> None:
        if not fine:
            raise RankError(problem)


ALONE = Alone()


def says(error: GanzooError, place: Place) -> str | None:
    """An error as this process tells it; None where others do.

    What all meet alike is told by rank 0, what a machine meets by its first process, and lost company by everyone.
    """
    if place.leads:
        return str(error)
    if getattr(error, "is_shared", False):
        return None
    if isinstance(error, RankError) or place.local == 0:
        return f"rank {place.rank}: {error}"
    return None


def shared(error: Any) -> Any:
    """Mark an error that rank 0 tells for all."""
    error.is_shared = True
    return error
