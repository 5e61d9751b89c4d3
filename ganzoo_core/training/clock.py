"""How long a run is, when what happens in it, and how fast it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Clock:
    """Seconds and images a second, the first slow steps left out of the latter.

    Args:
        seconds: that the run took before, where it is resumed; `images` seen in them.
    """

    def __init__(self, *, seconds: float = 0.0, images: int = 0) -> None:
        self.start = time.perf_counter() - seconds
        self.warm_start, self.warm_images = time.perf_counter(), images

    def warm(self, images: int) -> None:
        self.warm_start, self.warm_images = time.perf_counter(), images

    @contextmanager
    def beside(self) -> Iterator[None]:
        """What is done in it does not count as training, in images a second and in what is left."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.warm_start += time.perf_counter() - began

    def seconds(self) -> float:
        return time.perf_counter() - self.start

    def rate(self, images: int) -> float:
        elapsed = time.perf_counter() - self.warm_start
        return (images - self.warm_images) / elapsed if elapsed > 0 else 0.0

    def remaining(self, images: int, end: int) -> float:
        rate = self.rate(images)
        return (end - images) / rate if rate > 0 else 0.0


class Mean:
    """The mean of each term over the steps since it was last taken."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.weights: dict[str, int] = {}

    def add(self, terms: Mapping[str, float], weight: int) -> None:
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * weight
            self.weights[name] = self.weights.get(name, 0) + weight

    def take(self) -> dict[str, float]:
        means = {name: total / self.weights[name] for name, total in self.sums.items()}
        self.sums, self.weights = {}, {}
        return means

    def state(self) -> list[Any]:
        """As numbers that JSON keeps exactly."""
        return [[name, total, self.weights[name]] for name, total in self.sums.items()]

    def restore(self, state: list[Any]) -> None:
        self.sums = {name: total for name, total, _ in state}
        self.weights = {name: weight for name, _, weight in state}
