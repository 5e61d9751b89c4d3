"""How long a run has trained, how fast it goes, and when it will end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

WARM_UP = 5  # steps that are slower than the rest


class Clock:
    """Seconds and images a second, the first slow steps left out of the latter.

    Args:
        read_seconds: that the run took before, where it is resumed; `images` seen in them.
    """

    def __init__(self, *, seconds: float = 0.0, images: int = 0) -> None:
        self.start = time.perf_counter() - seconds
        self.warm_start, self.warm_images = time.perf_counter(), images

    def end_warm_up(self, images: int) -> None:
        self.warm_start, self.warm_images = time.perf_counter(), images

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What is done in it does not count as training, in images a second and in what is left."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.warm_start += time.perf_counter() - began

    def read_seconds(self) -> float:
        return time.perf_counter() - self.start

    def compute_rate(self, images: int) -> float:
        elapsed = time.perf_counter() - self.warm_start
        return (images - self.warm_images) / elapsed if elapsed > 0 else 0.0

    def estimate_remaining(self, images: int, end: int) -> float:
        rate = self.compute_rate(images)
        return (end - images) / rate if rate > 0 else 0.0
