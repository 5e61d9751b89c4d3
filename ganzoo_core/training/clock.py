"""Training time, speed and estimated time of completion."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

WARM_UP_STEPS = 5  # first steps, which are slower and not counted in the speed


class Clock:
    """Seconds trained and images per second; the slow first steps do not count in the speed.

    Args:
        read_seconds: of training before a resume; `images` were seen in them.
    """

    def __init__(self, *, seconds: float = 0.0, images: int = 0) -> None:
        self.start = time.perf_counter() - seconds
        self.warm_start, self.warm_images = time.perf_counter(), images

    def end_warm_up(self, images: int) -> None:
        self.warm_start, self.warm_images = time.perf_counter(), images

    @contextmanager
    def pause(self) -> Iterator[None]:
        """A context whose time is not counted as training, neither in the speed nor in the estimate."""
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
