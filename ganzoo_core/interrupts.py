"""Ctrl-C, SIGTERM and SIGHUP: during training the first signal lets the step finish, a second one acts at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOPS_WITH_INPUT = "GANZOO_STOPS_WITH_INPUT"
"""Environment variable: if it is set, the end of this process's stdin asks it to stop, as SIGTERM does."""

REPEAT_SECONDS = 1.0
"""Seconds within which the same signal again is the same request: launchers pass on what each process got already."""


def list_stop_signals() -> list[signal.Signals]:
    """The signals that ask a process to stop, without those that it inherited as ignored, such as from nohup."""
    signals = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    return [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]


def interrupt_on_signals() -> None:
    """Make every stop signal raise KeyboardInterrupt, as Ctrl-C does. Does nothing outside the main thread."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number in list_stop_signals():
            signal.signal(number, interrupt)


def stop_at_end_of_input() -> None:
    """Send SIGTERM to this process when its stdin ends, that is when the parent ends, if the parent asked for it."""

    def wait_for_end() -> None:
        while os.read(0, 1024):  # not sys.stdin: its lock would make the interpreter exit with an error
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    if os.environ.pop(STOPS_WITH_INPUT, None):
        threading.Thread(target=wait_for_end, daemon=True).start()


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether to stop. Outside the main thread no signal is caught.

    A signal that comes again has its former effect, unless that is within `REPEAT_SECONDS` of the first time.
    """
    asked = threading.Event()
    asked_at: dict[int, float] = {}  # signal -> seconds on the clock

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        now = time.monotonic()
        if now - asked_at.setdefault(number, now) > REPEAT_SECONDS:
            signal.signal(number, previous[number])
            signal.raise_signal(number)

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    previous: dict[int, Any] = {number: signal.getsignal(number) for number in list_stop_signals()}
    for number in previous:
        signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, handler)
