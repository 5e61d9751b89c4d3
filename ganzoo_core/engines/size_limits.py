"""How large a network may be: counted, and refused, before memory is taken for it.

A saved generator's card may come from a stranger, and a width from a typing error. A network is built at once up to
`SMALL_NETWORK` numbers; a larger one is counted first, without memory, and built if `engine.max_parameters` allows it.
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

DEFAULT_MAX_PARAMETERS = 1_000_000_000  # unless `engine.max_parameters` says otherwise
SMALL_NETWORK = 1 << 24  # numbers, 64 MiB in float32: most networks are smaller, and are built at once
MIN_LAYER_LIMIT = 20_000  # of a network, at least; a loop over 10^9 layers would take hours to find out
NUMBERS_PER_LAYER = 50_000  # a higher limit allows a layer for each of these
_OUT_OF_MEMORY_WORDS = ("out of memory", "overflow", "can't allocate", "could not allocate", "oom when", "bad_alloc",
"too big",
          "too large", "maximum allowed dimension")  # fmt: skip

BUILD_LOCK = threading.RLock()  # what watches a framework's classes holds it: one thread builds at a time

Built = TypeVar("Built")


class NetworkTooLarge(UsageError):
    """A network that is larger than its limit, or than the memory."""


@dataclass
class SizeCounter:
    """What a network has so far, while it is built.

    Attributes:
        max_numbers: numbers, parameters and buffers together, at which it is stopped; None to count on to the end.
        max_layers: layers at which it is stopped in any case.
        numbers, layers: so far.
        was_stopped: whether it was.
    """

    max_numbers: int | None
    max_layers: int
    numbers: int = 0
    layers: int = 0
    was_stopped: bool = False

    def add_numbers(self, numbers: int) -> None:
        """Count a parameter or a buffer."""
        self.check_numbers(numbers)
        self.numbers += numbers

    def check_numbers(self, numbers: int) -> None:
        """Raise TooLarge if so many numbers more would be too many: before memory is taken for them."""
        if self.max_numbers is not None and self.numbers + numbers > self.max_numbers:
            self.numbers += numbers
            self.stop()

    def add_layer(self) -> None:
        """Count a layer, or raise TooLarge for one too many."""
        self.layers += 1
        if self.layers > self.max_layers:
            self.stop()

    def stop(self) -> None:
        """Raise TooLarge; the plugin that is building does not take it for an error of its own."""
        self.was_stopped = True
        raise NetworkTooLarge("too large")


WatchConstruction = Callable[[SizeCounter, bool], AbstractContextManager[object]]


def build_within_limit(limit: int, what: str, build: Callable[[], Built], watch: WatchConstruction) -> Built:
    """Build a network, unless it has more than `limit` parameters and buffers.

    Args:
        limit: `engine.max_parameters`.
        what: is built, for the message: `generator`.
        build: builds it, from the same random state whenever it is called.
        watch: a context in which what is built is counted; asked for the second time, it takes no memory either.

    Raises:
        TooLarge: with the number that was counted, and what to type.
    """
    early = SizeCounter(min(limit, SMALL_NETWORK), _compute_max_layers(limit))
    built = _try_to_build(early, what, build, watch)
    if not early.was_stopped:
        return built  # type: ignore[return-value]
    _check_full_count(early, limit, what, build, watch)
    # What cannot be counted without memory is counted while it is built.
    last = SizeCounter(limit, early.max_layers)
    built = _try_to_build(last, what, build, watch)
    if last.was_stopped:
        check_count(last, limit, what)
    return built  # type: ignore[return-value]


def check_within_limit(limit: int, what: str, build: Callable[[], object], watch: WatchConstruction) -> None:
    """Raise TooLarge as `build_within_limit` does, and take no more memory than for `SMALL_NETWORK` numbers.

    A network that raises another error is let pass: it is not built yet.
    """
    early = SizeCounter(min(limit, SMALL_NETWORK), _compute_max_layers(limit))
    with contextlib.suppress(Exception):
        _try_to_build(early, what, build, watch)
    if early.was_stopped:
        _check_full_count(early, limit, what, build, watch)


def _check_full_count(
    early: SizeCounter, limit: int, what: str, build: Callable[[], object], watch: WatchConstruction
) -> None:
    whole = early if early.layers > early.max_layers else count_without_memory(limit, build, watch)
    if whole is not None:
        check_count(whole, limit, what)


def _compute_max_layers(limit: int) -> int:
    return max(MIN_LAYER_LIMIT, limit // NUMBERS_PER_LAYER)


def _try_to_build(
    counted: SizeCounter, what: str, build: Callable[[], Built], watch: WatchConstruction
) -> Built | None:
    """Build a network, or stop where the count does: then it says so."""
    try:
        with watch(counted, False):
            return build()
    except Exception as error:  # a plugin may raise another error for the one that stopped it
        if counted.was_stopped:
            return None
        if is_out_of_memory(error) and not isinstance(error, NetworkTooLarge):
            raise NetworkTooLarge(
                f"the {what} takes more memory than there is ({_describe_root_cause(error)}); make it smaller"
            ) from error
        raise


def count_without_memory(limit: int, build: Callable[[], object], watch: WatchConstruction) -> SizeCounter | None:
    """Count a network without memory; None for one that cannot be built so, such as one that computes its weights."""
    whole = SizeCounter(None, _compute_max_layers(limit))
    try:
        with watch(whole, True):
            _held = build()  # what is gone counts no more
    except Exception:  # whatever a plugin does with tensors that hold no numbers
        return whole if whole.was_stopped else None
    return whole


def check_count(counted: SizeCounter, limit: int, what: str) -> None:
    """Raise TooLarge for a count above the limit, with what to type."""
    if counted.layers > counted.max_layers:
        found, wanted = f"more than {counted.max_layers:,} layers", 10 * limit
    elif counted.numbers > limit:
        more = "at least " if counted.was_stopped else ""
        found, wanted = f"{more}{pluralise(counted.numbers, 'parameter')}", counted.numbers
    else:
        return
    raise NetworkTooLarge(
        f"the {what} would have {found}, and engine.max_parameters is {limit:,}; make it smaller, or allow it with "
        f"--set engine.max_parameters={_round_up(wanted)}"
    )


def _round_up(number: int) -> str:
    """A round number that is no smaller: 12,345,678 -> 1.3e7."""
    digits = max(len(str(number)) - 2, 0)
    tens, rest = divmod(-(-number // 10**digits), 10)
    return f"{tens}{f'.{rest}' if rest else ''}e{digits + 1}"


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error says, itself or by its cause, that memory or 64 bits did not suffice."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, MemoryError | OverflowError):
            return True
        if not isinstance(error, GanzooError) and any(word in str(error).lower() for word in _OUT_OF_MEMORY_WORDS):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def _describe_root_cause(error: BaseException) -> str:
    """The first line of what lies at the bottom of an error."""
    while isinstance(error, GanzooError) and error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 160 else lines[0][:159] + "…"


def read_total_memory() -> int | None:
    """Bytes that this machine, or the container that this process is in, has in all; None where it does not say."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        return min(found, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    except (OSError, ValueError):  # no such container, or `max`
        return found


def check_memory(size: int, what: str, advice: str) -> None:
    """Raise UsageError if `what` takes more bytes than the machine has."""
    there = read_total_memory()
    if there is not None and size > there:
        raise UsageError(
            f"{what} would take {_format_gigabytes(size)}, and there are {_format_gigabytes(there)} here; {advice}"
        )


def _format_gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB of memory" if size < 10**300 else "more than 1e291 GB of memory"
