"""Sample grids of a run, always from the same noise; with classes, one row per class that has training images.

Where the generator takes conditions, a row shows a condition, what is drawn from it, and the image it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ganzoo_core.api import ImageSource
from ganzoo_core.data import picture_files, pixels, side_by_side
from ganzoo_core.data.classes import Classes
from ganzoo_core.data.framing import Framing, crop_padding, shrink_conditions
from ganzoo_core.data.stream import Stream
from ganzoo_core.engines import Plan
from ganzoo_core.engines.protocol import Engine
from ganzoo_core.generation.data_rows import DataRows
from ganzoo_core.messages import pluralise
from ganzoo_core.randomness import latents, philox

MAX_ROWS = 16  # rows of a grid with conditions


class SampleGrids:
    """The sample grids of one run.

    Unconditional models get a nearly square grid. Conditional ones get a row per class with training images,
    with the same z down each column, and real images of the class beside it. Those with conditions get a row for each
    of at most 16 images that are not trained on, with a class of their own if they have one.

    Args:
        plan: gives the distribution of z, and names the schedule's values that G takes.
        real: the training images, as the networks see them.
        framing: how they were resized; its padding is cropped.
        count: images in a grid. With classes: at least so many images, and at most so many rows.
        held_out: what G draws from if it takes conditions, and the images that belong to it; else None.
    """

    def __init__(
        self, *, plan: Plan, real: ImageSource, framing: Framing, count: int, held_out: DataRows | None = None
    ) -> None:
        self.takes, self.framing, self.plan = plan.takes_g, framing, plan
        self.held_out = None if held_out is None else held_out.first(min(count, MAX_ROWS))
        if self.held_out is not None:
            self.noise = latents(philox(plan.seed, "samples"), len(self.held_out), plan.latent_dim, plan.latent)
            self.labels = self.held_out.labels if plan.conditional else None
            return
        classes = Classes.of(real) if plan.conditional else Classes(())
        self.class_names, self.rows = classes.trained_names[:count], classes.trained[:count]
        self.columns = -(-count // len(classes.trained)) if classes else None
        drawn = latents(philox(plan.seed, "samples"), self.columns or count, plan.latent_dim, plan.latent)
        self.noise = np.tile(drawn, (max(1, len(self.rows)), 1))
        self.labels = np.repeat(self.rows, self.columns) if self.columns else None
        self.real = self._choose_real_images(real, plan.seed)

    def make_real_grid(self) -> bytes:
        """PNG of real images, in the same layout as the generated grid."""
        if self.held_out is not None:
            return picture_files.encode_png(self._draw_rows(None, ""))
        sheet = pixels.enlarge(pixels.grid(self.real, self.columns))
        return picture_files.encode_png(pixels.annotate(sheet, rows=self.class_names))

    def draw_grid(self, engine: Engine, G: Any, images: int, values: Mapping[str, float]) -> bytes:
        """PNG of images that the generator draws now.

        Args:
            engine: of the run.
            G: the generator, or its moving average.
            images: real images seen so far.
            values: the schedule's; those that G takes are printed below the grid.
        """
        network_values = {name: values[name] for name in self.takes if name in values}
        rows = {} if self.held_out is None else self.held_out.conditions
        conditions = shrink_conditions(rows, self.framing.target_size, network_values)
        more: dict[str, Any] = {"alone": self.plan.drawn_alone, "noise_seed": self.plan.seed}
        fake = engine.draw(G, self.noise, self.labels, network_values, conditions=conditions, **more)
        caption = " | ".join(
            [pluralise(images, "image"), *(f"{name} {value:g}" for name, value in network_values.items())]
        )
        if self.held_out is not None:
            sheet = self._draw_rows(fake, caption)
        elif self.columns is None:
            sheet = pixels.enlarge(pixels.grid(self._crop_padding(fake)))
            sheet = pixels.annotate(sheet, caption=caption if network_values else "")
        else:
            sheet = pixels.enlarge(self._add_real_images(fake, self.columns))
            sheet = pixels.annotate(sheet, rows=self.class_names, columns=("generated", "real"), caption=caption)
        return picture_files.encode_png(sheet, {"images": images, **network_values})

    def _add_real_images(self, fake: np.ndarray, columns: int) -> Any:
        """Rows per class: generated images, a gap one image wide, real images."""
        rows, shape = len(self.class_names), self.real.shape[1:]
        fake = self._crop_padding(self._enlarge(fake))
        parts = (fake, np.zeros((rows, *shape), np.uint8), self.real)
        both = np.concatenate([part.reshape(rows, -1, *shape) for part in parts], axis=1)
        return pixels.grid(both.reshape(-1, *shape), 2 * columns + 1)

    def _draw_rows(self, fake: np.ndarray | None, caption: str) -> Any:
        """Conditions, what was drawn from them if it is given, and the images they belong to, under their heads."""
        assert self.held_out is not None
        size = self.framing.target_size
        conditions = {
            name: self._crop_padding(rows) if rows.ndim == 4 and rows.shape[1:3] == size else rows
            for name, rows in self.held_out.conditions.items()
        }
        output = None if fake is None else self._crop_padding(self._enlarge(fake))
        columns = side_by_side.list_columns(conditions, output=output, target=self._crop_padding(self.held_out.images))
        return side_by_side.make_sheet(columns, caption=caption)

    def _enlarge(self, fake: np.ndarray) -> np.ndarray:
        """Images of the full size; a growing network draws smaller ones at first."""
        scale = self.framing.target_size[0] // fake.shape[1]
        return fake.repeat(scale, axis=1).repeat(scale, axis=2)

    def _choose_real_images(self, real: ImageSource, seed: int) -> np.ndarray:
        """uint8 [N,H,W,C]; where a class has fewer images than columns, the rest of its row is black."""
        order = Stream(len(real.images), seed=seed, purpose="real grid").take_indices(0, len(real.images))
        if self.columns is None:
            return self._crop_padding(np.asarray(real.images[np.sort(order[: len(self.noise)])]))
        shown = np.zeros((len(self.class_names), self.columns, *real.images.shape[1:]), np.uint8)
        assert real.labels is not None
        for label, row in zip(self.rows, shown, strict=True):
            chosen = np.sort(order[real.labels[order] == label][: self.columns])
            row[: len(chosen)] = real.images[chosen]
        return self._crop_padding(shown.reshape(-1, *real.images.shape[1:]))

    def _crop_padding(self, images: np.ndarray) -> np.ndarray:
        return crop_padding(images, self.framing.crop, self.framing.target_size)
