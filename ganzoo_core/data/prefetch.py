"""The next batch, read while the current one trains."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ganzoo_core.api import Images
from ganzoo_core.data.lazy import LazyImages, gather


class Prefetcher:
    """Batches of images that lie in a file: while one is learnt from, a thread reads and frames the next.

    What a batch holds depends on its indices alone; one that was not foretold is read when it is asked for.

    Args:
        images: see `Images`.
    """

    STREAMS = 2  # of D's phase, and of G's where it sees reals

    def __init__(self, images: Images) -> None:
        self.images = images
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ganzoo-images")
        self._pending: list[tuple[np.ndarray, Future[np.ndarray]]] = []

    def take(self, order: np.ndarray, following: np.ndarray | None = None) -> np.ndarray:
        """uint8 [N,H,W,C] for int64 [N]; `following` is what will be asked for after it."""
        place = next((i for i, (foretold, _) in enumerate(self._pending) if np.array_equal(foretold, order)), None)
        batch = self._read(order) if place is None else self._pending.pop(place)[1].result()
        if following is not None:
            self._pending = self._pending[1 - self.STREAMS :]
            self._pending.append((following, self._thread.submit(self._read, following)))
        return batch

    def _read(self, order: np.ndarray) -> np.ndarray:
        return self.images[order] if isinstance(self.images, LazyImages) else gather(self.images, order)
