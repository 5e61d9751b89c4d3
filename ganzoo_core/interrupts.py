"""Ctrl-C and SIGTERM: the first lets a step finish, the second acts at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


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
    previous: dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, handler)
