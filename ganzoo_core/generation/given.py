"""Rows that a generator with conditions is drawn from, checked; `given_reader` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ganzoo_core.arguments import check_count
from ganzoo_core.data.conditions import is_picture
from ganzoo_core.data.framing import crop_padding
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import pluralise
from ganzoo_core.storage.records import Card


@dataclass(frozen=True)
class Given:
    """Rows to draw from, checked.

    Attributes:
        conditions: name -> N rows, as the network takes them.
        names: of the picture files, without ending; empty for rows that come from no files.
        targets: uint8 [N,H,W,C], the images of the data set that the rows belong to; None for rows of one's own.
        labels: int64 [N], the classes of those images.
    """

    conditions: Mapping[str, np.ndarray]
    names: tuple[str, ...] = ()
    targets: np.ndarray | None = None
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return min((len(rows) for rows in self.conditions.values()), default=0)

    def take(self, indices: np.ndarray) -> Given:
        """The rows at these indices."""
        return Given(
            {name: rows[indices] for name, rows in self.conditions.items()},
            tuple(self.names[index] for index in indices) if self.names else (),
            None if self.targets is None else self.targets[indices],
            None if self.labels is None else self.labels[indices],
        )

    def tile(self, times: int) -> Given:
        """All rows, so many times over."""
        return self.take(np.tile(np.arange(len(self)), times))


def spread(given: Given, n: int | None) -> Given:
    """A row for each of `n` images: one is repeated, several are drawn once each.

    Raises:
        UsageError: if several rows are to be drawn another number of times.
    """
    if n is None or n == len(given):
        return given
    check_count("n", n, "images")
    if len(given) != 1:
        raise UsageError(
            f"{pluralise(len(given), 'picture')} draw one image each, and n is {n}; leave n out, or give one picture "
            "to draw it several times"
        )
    return given.take(np.zeros(n, dtype=np.int64))


def crop_pictures(conditions: Mapping[str, np.ndarray], card: Card) -> dict[str, np.ndarray]:
    """Conditions without the border that the networks see, to be shown or stored beside images."""
    full = (card.spec.height, card.spec.width)
    return {
        name: crop_padding(rows, card.crop, full) if is_picture(rows) else rows for name, rows in conditions.items()
    }
