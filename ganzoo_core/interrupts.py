"""Ctrl-C, SIGTERM and SIGHUP: while a run trains, the first lets a step finish, and the second acts at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOPS_WITH_INPUT = "GANZOO_STOPS_WITH_INPUT"
"""An environment variable: where it is set, the end of this process's input asks it to stop, as SIGTERM does."""


def list_stop_signals() -> list[signal.Signals]:
    """The signals that ask a process to stop, but for those that nohup, or whoever started it, had ignored."""
    found = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    return [number for number in found if signal.getsignal(number) is not signal.SIG_IGN]


def interrupt_on_signals() -> None:
    """From now on every stop signal raises KeyboardInterrupt, as Ctrl-C does; only in the main thread."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number in list_stop_signals():
            signal.signal(number, interrupt)


def stop_at_end_of_input() -> None:
    """Where the parent asked for that, stop when the input ends, which is when the parent does, in whatever way."""

    def wait_for_end() -> None:
        while os.read(0, 1024):  # not by sys.stdin, whose lock would end the interpreter with an error
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    if os.environ.pop(STOPS_WITH_INPUT, None):
        threading.Thread(target=wait_for_end, daemon=True).start()


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether to stop; outside of the main thread nothing is watched."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(number, previous[number])

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
