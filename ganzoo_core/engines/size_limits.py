"""Limit the size of networks: count parameters and layers, and refuse before allocating memory.

A saved generator's card may come from a stranger, or a width from a typo. A network of up to `SMALL_NETWORK` numbers is
built directly; a larger one is first counted without memory, then built if `engine.max_parameters` allows it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ganzoo_core.errors import GanzooError, UsageError
from ganzoo_core.messages import pluralise
from ganzoo_core.settings import CORE_SETTINGS

DEFAULT_MAX_PARAMETERS: int = CORE_SETTINGS["engine.max_parameters"].default
SMALL_NETWORK = 1 << 24  # numbers, 64 MiB in float32: most networks are smaller, and are built without counting first
MIN_LAYER_LIMIT = 20_000  # the layer limit is at least this; without one, a loop over 10^9 layers would run for hours
NUMBERS_PER_LAYER = 50_000  # a higher limit on numbers allows one layer per this many
_OUT_OF_MEMORY_WORDS = (
    *("out of memory", "overflow", "can't allocate", "could not allocate", "oom when", "bad_alloc"),
    *("too big", "too large", "maximum allowed dimension"),
)

BUILD_LOCK = threading.RLock()  # held while framework classes are patched: one thread builds at a time

Built = TypeVar("Built")


class NetworkTooLarge(UsageError):
    """A network exceeds its size limit, or the memory."""


@dataclass
class SizeCounter:
    """Counts the numbers and layers of a network while it is built, and stops the build at a limit.

    Attributes:
        max_numbers: limit for parameters and buffers together; None to count to the end.
        max_layers: limit for layers.
        numbers, layers: counted so far.
        was_stopped: whether a limit was exceeded.
    """

    max_numbers: int | None
    max_layers: int
    numbers: int = 0
    layers: int = 0
    was_stopped: bool = False

    def add_numbers(self, numbers: int) -> None:
        """Count a parameter or a buffer of `numbers` elements; raise NetworkTooLarge above the limit."""
        self.check_numbers(numbers)
        self.numbers += numbers

    def check_numbers(self, numbers: int) -> None:
        """Raise NetworkTooLarge if `numbers` more would exceed the limit; called before they are allocated."""
        if self.max_numbers is not None and self.numbers + numbers > self.max_numbers:
            self.numbers += numbers
            self.stop()

    def add_layer(self) -> None:
        """Count a layer; raise NetworkTooLarge above the limit."""
        self.layers += 1
        if self.layers > self.max_layers:
            self.stop()

    def stop(self) -> None:
        """Raise NetworkTooLarge; `was_stopped` records it in case the plugin replaces the error by another."""
        self.was_stopped = True
        raise NetworkTooLarge("too large")


WatchConstruction = Callable[[SizeCounter, bool], AbstractContextManager[object]]


def build_within_limit(limit: int, what: str, build: Callable[[], Built], watch: WatchConstruction) -> Built:
    """Build a network, unless it has more than `limit` parameters and buffers.

    Args:
        limit: `engine.max_parameters`.
        what: the network's name in the message, such as `generator`.
        build: builds it; may be called several times, and starts from the same random state each time.
        watch: (counter, without_memory) -> a context in which the network is counted.

    Raises:
        NetworkTooLarge: with the count, and what to type.
    """
    early = SizeCounter(min(limit, SMALL_NETWORK), _compute_max_layers(limit))
    built = _try_to_build(early, what, build, watch)
    if not early.was_stopped:
        return built  # type: ignore[return-value]
    _check_full_count(early, limit, what, build, watch)
    # A network that cannot be counted without memory is counted during the real build.
    last = SizeCounter(limit, early.max_layers)
    built = _try_to_build(last, what, build, watch)
    if last.was_stopped:
        check_count(last, limit, what)
    return built  # type: ignore[return-value]


def check_within_limit(limit: int, what: str, build: Callable[[], object], watch: WatchConstruction) -> None:
    """Raise NetworkTooLarge as `build_within_limit` does, but allocate at most `SMALL_NETWORK` numbers.

    Other errors of `build` are ignored: they will be raised when the network is really built.
    """
    early = SizeCounter(min(limit, SMALL_NETWORK), _compute_max_layers(limit))
    with contextlib.suppress(Exception):
        _try_to_build(early, what, build, watch)
    if early.was_stopped:
        _check_full_count(early, limit, what, build, watch)


def _check_full_count(
    early: SizeCounter, limit: int, what: str, build: Callable[[], object], watch: WatchConstruction
) -> None:
    full_count = early if early.layers > early.max_layers else count_without_memory(limit, build, watch)
    if full_count is not None:
        check_count(full_count, limit, what)


def _compute_max_layers(limit: int) -> int:
    return max(MIN_LAYER_LIMIT, limit // NUMBERS_PER_LAYER)


def _try_to_build(
    counted: SizeCounter, what: str, build: Callable[[], Built], watch: WatchConstruction
) -> Built | None:
    """Build a network; return None if the counter stopped it.

    Raises:
        NetworkTooLarge: if memory did not suffice. Any other error of `build` is passed on.
    """
    try:
        with watch(counted, False):
            return build()
    except Exception as error:  # a plugin may have replaced NetworkTooLarge by another error
        if counted.was_stopped:
            return None
        if is_out_of_memory(error) and not isinstance(error, NetworkTooLarge):
            raise NetworkTooLarge(
                f"the {what} takes more memory than there is ({_describe_root_cause(error)}); make it smaller"
            ) from error
        raise


def count_without_memory(limit: int, build: Callable[[], object], watch: WatchConstruction) -> SizeCounter | None:
    """Count a network without memory; None if it cannot be built so, for example if it computes its weights."""
    whole = SizeCounter(None, _compute_max_layers(limit))
    try:
        with watch(whole, True):
            _held = build()  # a reference, since freed parameters are subtracted from the count
    except Exception:  # plugins may fail in any way on tensors without data
        return whole if whole.was_stopped else None
    return whole


def check_count(counted: SizeCounter, limit: int, what: str) -> None:
    """Raise NetworkTooLarge, with what to type, if a count exceeds the limit."""
    if counted.layers > counted.max_layers:
        size, required_limit = f"more than {counted.max_layers:,} layers", 10 * limit
    elif counted.numbers > limit:
        more = "at least " if counted.was_stopped else ""
        size, required_limit = f"{more}{pluralise(counted.numbers, 'parameter')}", counted.numbers
    else:
        return
    raise NetworkTooLarge(
        f"the {what} would have {size}, and engine.max_parameters is {limit:,}; make it smaller, or allow it with "
        f"--set engine.max_parameters={_round_up(required_limit)}"
    )


def _round_up(number: int) -> str:
    """Round up to two digits: 12,345,678 -> 1.3e7."""
    digits = max(len(str(number)) - 2, 0)
    tens, rest = divmod(-(-number // 10**digits), 10)
    return f"{tens}{f'.{rest}' if rest else ''}e{digits + 1}"


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error or one of its causes reports that memory or 64 bits did not suffice."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, MemoryError | OverflowError):
            return True
        if not isinstance(error, GanzooError) and any(word in str(error).lower() for word in _OUT_OF_MEMORY_WORDS):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def _describe_root_cause(error: BaseException) -> str:
    """The first line of an error's root cause, at most 160 characters."""
    while isinstance(error, GanzooError) and error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 160 else lines[0][:159] + "…"


def read_total_memory() -> int | None:
    """Total memory of this machine or container, in bytes; None if unknown."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    except (OSError, ValueError):  # no container, or no limit (`max`)
        return total


def check_memory(size: int, what: str, advice: str) -> None:
    """Raise UsageError if `what` takes more memory (`size`, in bytes) than the machine has."""
    total = read_total_memory()
    if total is not None and size > total:
        raise UsageError(
            f"{what} would take {_format_gigabytes(size)}, and there are {_format_gigabytes(total)} here; {advice}"
        )


def _format_gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB of memory" if size < 10**300 else "more than 1e291 GB of memory"
