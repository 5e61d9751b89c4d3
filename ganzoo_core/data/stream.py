"""The endless stream of training batches, in an order that depends only on seed and position."""

from __future__ import annotations

import numpy as np

from ganzoo_core.errors import DataError
from ganzoo_core.randomness import philox


class Stream:
    """The endless stream of real images: image p is permutation(seed, p // N)[p mod N].

    Batches straddle epochs and none is short. The position is an integer, so there is no other state to save. The order
    of the current epoch is held in memory, 8 bytes per image, and that of two epochs while a batch straddles them.
    """

    def __init__(self, count: int, *, seed: int, purpose: str) -> None:
        if count < 1:
            raise DataError("there are no images to train on")
        self.count, self.seed, self.purpose = count, seed, purpose
        self._orders: dict[int, np.ndarray] = {}

    def take_indices(self, position: int, number: int) -> np.ndarray:
        """int64 [number]: the indices of the images at position, position + 1, …"""
        pieces = []
        first = position // self.count
        self._orders = {epoch: order for epoch, order in self._orders.items() if epoch in (first, first + 1)}
        while number > 0:
            epoch, offset = divmod(position, self.count)
            piece = self._permute_epoch(epoch)[offset : offset + number]
            pieces.append(piece)
            position, number = position + len(piece), number - len(piece)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _permute_epoch(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            self._orders[epoch] = philox(self.seed, self.purpose, epoch).permutation(self.count)
        return self._orders[epoch]
