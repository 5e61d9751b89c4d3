"""The grids that show how a run goes: drawn from the same noise each time, a row a class where there are classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ganzoo_core.api import ImageSource
from ganzoo_core.data import picture_files, pixels
from ganzoo_core.data.framing import Framing, crop_padding
from ganzoo_core.data.stream import Stream
from ganzoo_core.engines import Plan
from ganzoo_core.engines.protocol import Engine
from ganzoo_core.messages import pluralise
from ganzoo_core.randomness import latents, philox


class SampleGrids:
    """One run's grids.

    An unconditional model's grid is as near to a square as can be. A conditional one's has a row for each class, of
    which each column is drawn from the same z, and beside it real images of these classes.

    Args:
        plan: says where z comes from, and the schedule's values that G takes.
        real: the images that the run learns from, as the networks see them.
        framing: how they came to that size; padding is cut away.
        count: images in a grid; with classes at least so many, and a row for no more than so many of them.
    """

    def __init__(self, *, plan: Plan, real: ImageSource, framing: Framing, count: int) -> None:
        self.takes, self.framing = plan.takes_g, framing
        self.class_names = tuple(real.class_names[:count]) if plan.conditional else ()
        self.columns = -(-count // len(real.class_names)) if self.class_names else None
        rows = max(1, len(self.class_names))
        drawn = latents(philox(plan.seed, "samples"), self.columns or count, plan.latent_dim, plan.latent)
        self.noise = np.tile(drawn, (rows, 1))
        self.labels = np.repeat(np.arange(rows), self.columns) if self.columns else None
        self.real = self._choose_real_images(real, plan.seed)

    def make_real_grid(self) -> bytes:
        """The PNG file of real images, as many and in the same rows as are drawn."""
        sheet = pixels.enlarge(pixels.grid(self.real, self.columns))
        return picture_files.encode_png(pixels.annotate(sheet, rows=self.class_names))

    def draw_grid(self, engine: Engine, G: Any, images: int, values: Mapping[str, float]) -> bytes:
        """The PNG file of what a generator draws now.

        Args:
            engine: the one that G belongs to.
            G: the generator, or its moving average.
            images: real images seen so far.
            values: the schedule's; those that G takes stand below the grid.
        """
        taken = {name: values[name] for name in self.takes if name in values}
        fake = engine.draw(G, self.noise, self.labels, taken)
        caption = " | ".join([pluralise(images, "image"), *(f"{name} {value:g}" for name, value in taken.items())])
        if self.columns is None:
            sheet = pixels.enlarge(pixels.grid(self._crop_padding(fake)))
            sheet = pixels.annotate(sheet, caption=caption if taken else "")
        else:
            sheet = pixels.enlarge(self._add_real_images(fake, self.columns))
            sheet = pixels.annotate(sheet, rows=self.class_names, columns=("generated", "real"), caption=caption)
        return picture_files.encode_png(sheet, {"images": images, **taken})

    def _add_real_images(self, fake: np.ndarray, columns: int) -> Any:
        """Each row: what was drawn of a class, room for one image, real images of that class."""
        rows, shape = len(self.class_names), self.real.shape[1:]
        scale = self.framing.target_size[0] // fake.shape[1]  # a network that still grows draws smaller ones
        fake = self._crop_padding(fake.repeat(scale, axis=1).repeat(scale, axis=2))
        parts = (fake, np.zeros((rows, *shape), np.uint8), self.real)
        both = np.concatenate([part.reshape(rows, -1, *shape) for part in parts], axis=1)
        return pixels.grid(both.reshape(-1, *shape), 2 * columns + 1)

    def _choose_real_images(self, real: ImageSource, seed: int) -> np.ndarray:
        """uint8 [N,H,W,C]; where a class has fewer images than columns, the rest of its row is black."""
        order = Stream(len(real.images), seed=seed, purpose="real grid").take_indices(0, len(real.images))
        if self.columns is None:
            return self._crop_padding(np.asarray(real.images[np.sort(order[: len(self.noise)])]))
        shown = np.zeros((len(self.class_names), self.columns, *real.images.shape[1:]), np.uint8)
        assert real.labels is not None
        for label, row in enumerate(shown):
            chosen = np.sort(order[real.labels[order] == label][: self.columns])
            row[: len(chosen)] = real.images[chosen]
        return self._crop_padding(shown.reshape(-1, *real.images.shape[1:]))

    def _crop_padding(self, images: np.ndarray) -> np.ndarray:
        return crop_padding(images, self.framing.crop, self.framing.target_size)
