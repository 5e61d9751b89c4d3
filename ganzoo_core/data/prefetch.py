"""Read the next batch while the current one trains."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ganzoo_core.api import Images
from ganzoo_core.data.lazy import LazyImages, gather


class Prefetcher:
    """Reads batches of images from a file: while one is trained on, a thread reads and frames the next.

    A batch depends only on its indices; one that was not announced is read when it is requested.

    Args:
        images: see `Images`.
    """

    STREAMS = 2  # D's batches, and G's if its phase uses real images

    def __init__(self, images: Images) -> None:
        self.images = images
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ganzoo-images")
        self._pending: list[tuple[np.ndarray, Future[np.ndarray]]] = []

    def take(self, order: np.ndarray, following: np.ndarray | None = None) -> np.ndarray:
        """The images at indices int64 [N], as uint8 [N,H,W,C]; `following` are the indices of the next request."""
        ready = next((i for i, (announced, _) in enumerate(self._pending) if np.array_equal(announced, order)), None)
        batch = self._read(order) if ready is None else self._pending.pop(ready)[1].result()
        if following is not None:
            self._pending = self._pending[1 - self.STREAMS :]
            self._pending.append((following, self._thread.submit(self._read, following)))
        return batch

    def _read(self, order: np.ndarray) -> np.ndarray:
        return self.images[order] if isinstance(self.images, LazyImages) else gather(self.images, order)
