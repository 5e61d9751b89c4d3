"""A saved generator, rebuilt from its card without the data or the run's settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core import engines
from ganzoo_core.arguments import check_count, check_seed
from ganzoo_core.data.framing import crop_padding, shrink_conditions
from ganzoo_core.engines import size_limits
from ganzoo_core.errors import UsageError
from ganzoo_core.generation import latent_walk
from ganzoo_core.generation.class_choice import TellsClasses
from ganzoo_core.generation.given import Given, spread
from ganzoo_core.generation.given_reader import DEFAULT_ROWS, Reader
from ganzoo_core.generation.saved_network import SavedNetwork
from ganzoo_core.messages import pluralise
from ganzoo_core.randomness import latents, philox
from ganzoo_core.runs.folder import read_card


def read_framework(folder: Path) -> str:
    """The framework of a saved generator; raises UsageError if its card is damaged."""
    return read_card(folder).spec.framework


class SavedGenerator(SavedNetwork, TellsClasses):
    """A trained generator to draw images from. The framework is imported for the first image, or by `open`.

    Args:
        folder: see `generators.find_generator`.
        device: as `engine.device`.
        network: the native network, if the run was given one as an object.
        settings: of `engine.*`, such as `{"engine.max_parameters": 5e9}`.

    Raises:
        UsageError: if the folder is not a generator, or its plugin is not installed.
    """

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self.folder, self.card)

    def generate(
        self,
        n: int | None = None,
        *,
        seed: int = 0,
        labels: int | str | Sequence[int] | np.ndarray | None = None,
        on: Any = None,
        **reading: Any,
    ) -> np.ndarray:
        """Draw images.

        Args:
            n: how many; by default 16, or one for each row of `on`.
            seed: of the noise; the same seed gives the same bytes, whatever `n`.
            labels: for a conditional generator, N classes, or one class for all, each by name or index (see
                `data.classes.Classes.find`); by default those of the test part's rows, else the classes in turn.
            on: what a generator with conditions draws from: a mapping from their names to rows, the rows of the only
                one, pictures, a .npz file, or `"test"` for the test part of the run's data; see `Reader.read`. One row
                is drawn `n` times, with different noise.
            reading: `as_is`, `fit` and `data_root`, which say how `on` is read.

        Returns:
            uint8 [N,H,W,C].
        """
        if on is None and not self.spec.conditions:
            n = DEFAULT_ROWS if n is None else n
            chosen = self.labels(n, labels)  # checks n before the noise is drawn
            return self.draw(self._make_noise(n, seed), chosen)
        rows = self.read_given(on, n, seed=seed, **reading)
        count = len(rows)
        self._check_memory(count)
        chosen = self._choose_labels(count, labels, rows)
        return self.draw(self._make_noise(count, seed), chosen, rows.conditions, noise_seed=seed)

    def generate_part(
        self, first: int, stop: int, n: int, *, seed: int, labels: np.ndarray | None, on: Given | None
    ) -> np.ndarray:
        """Draw images `first` to `stop` of `generate(n, …)`; the same bytes if `first` is whole `DRAW_BATCH_SIZE`s.

        Args:
            first, stop: indices of the first image, and of that after the last.
            n, seed: see `generate`.
            labels: int64 [n], or None.
            on: `n` rows, for a generator with conditions.
        """
        rows = slice(first, stop)
        conditions = None if on is None else {name: of_name[rows] for name, of_name in on.conditions.items()}
        return self.draw(
            self._recall_noise(n, seed)[rows],
            None if labels is None else labels[rows],
            conditions,
            noise_seed=0 if on is None else seed,
            first=first,
        )

    @cached_property
    def _recall_noise(self) -> Callable[[int, int], np.ndarray]:
        """As `_make_noise`, which is called once for all parts of the same images."""
        return lru_cache(maxsize=1)(self._make_noise)

    def describe_needs(self) -> dict[str, str]:
        """What the generator draws from beside z and a class: each condition's name and what it is, in words."""
        return self._reader.describe_needs() if self.spec.conditions else {}

    def read_given(self, on: Any, n: int | None = None, *, seed: int = 0, **reading: Any) -> Given:
        """Read what the images are drawn from, a row for each image; see `generate`.

        Raises:
            UsageError, DataError: if it is missing or does not fit; with what to type.
        """
        if on is None:
            raise self._reader.make_refusal()
        if n is not None:
            check_count("n", n, "images")
            self._check_memory(n)
        read = self._reader.read(on, n=n, seed=seed, **reading)
        if self.latent == "none" and not self.card.drawn_alone and n is not None and n > len(read) == 1:
            raise UsageError(f"{self.folder} draws without noise, so one picture gives one image; leave n out")
        return spread(read, n)

    def generate_all(self, n: int = 16, *, seed: int = 0, on: Given | None = None) -> np.ndarray:
        """Draw `n` images of each of the K classes with training images, all from the same z: uint8 [K·n,H,W,C].

        Args:
            n: how many of each.
            seed: of the noise.
            on: for a generator with conditions, `n` rows to draw each class from; see `read_given`.

        Raises:
            UsageError: if the generator is not conditional.
        """
        self._check_conditional()
        check_count("n", n, "images")
        trained = self.classes.trained
        self._check_memory(n * len(trained))
        conditions = None if on is None else on.tile(len(trained)).conditions
        z, labels = np.tile(self._make_noise(n, seed), (len(trained), 1)), np.repeat(trained, n)
        return self.draw(z, labels, conditions, noise_seed=seed)

    def walk(
        self,
        n: int | None = None,
        *,
        frames: int = latent_walk.DEFAULT_FRAMES,
        keys: int = latent_walk.DEFAULT_KEYS,
        seed: int = 0,
        labels: int | str | Sequence[int] | np.ndarray | None = None,
        on: Any = None,
        **reading: Any,
    ) -> np.ndarray:
        """Draw closed walks through latent space; the class and the conditions are constant within each.

        Args:
            n: how many walks; by default 1, or one for each row of `on`.
            frames: images of each; the last leads back to the first.
            keys: points that a walk goes through. The k-th of walk i is image i of `generate(n, seed=seed + k)`, but
                for dropout, which is that of `seed` all the way.
            seed: of the first key.
            labels: see `generate`; `"all"` for `n` walks of each class with training images, all from the same z.
            on, reading: see `generate`.

        Returns:
            uint8 [F,N,H,W,C].

        Raises:
            UsageError: for a generator without z, too.
        """
        if self.latent == "none":
            raise UsageError(f"{self.folder} draws from its conditions alone: it has no z to walk through")
        rows = self.read_given(on, n, seed=seed, **reading) if on is not None or self.spec.conditions else None
        n = (1 if n is None else n) if rows is None else len(rows)
        for name, number, what in (("n", n, "walks"), ("frames", frames, "pictures"), ("keys", keys, "points")):
            check_count(name, number, what)
        check_seed(seed)
        latent_walk.check_walk(frames, keys)
        every = self.means_all(labels)
        times = len(self.classes.trained) if every else 1
        self._check_memory(n * times * (frames + keys))
        if every:
            self._check_conditional()
            labels = np.repeat(self.classes.trained, n)
        chosen = self._choose_labels(n * times, labels, rows)
        points = np.stack([self._make_noise(n, seed + key) for key in range(keys)])
        z = np.tile(latent_walk.make_closed_walk(points, frames, straight=self.latent == "uniform"), (1, times, 1))
        if rows is not None:  # a frame at a time, so that dropout is the same in each
            conditions = rows.tile(times).conditions
            return np.stack([self.draw(frame, chosen, conditions, noise_seed=seed) for frame in z])
        drawn = self.draw(z.reshape(-1, self.spec.latent_dim), None if chosen is None else np.tile(chosen, frames))
        return drawn.reshape(frames, n * times, *drawn.shape[1:])

    def _choose_labels(self, n: int, labels: Any, rows: Given | None) -> np.ndarray | None:
        """The labels asked for; by default those of the rows, if the generator takes classes."""
        own = rows.labels if rows is not None and self.spec.classes else None
        return self.labels(n, own if labels is None else labels)

    def labels(self, n: int, labels: int | str | Sequence[int] | np.ndarray | None = None) -> np.ndarray | None:
        """Class labels int64 [N] for a conditional generator, else None; see `generate`.

        Raises:
            UsageError: if there is no such class, or it had no training images; the message suggests similar names.
        """
        check_count("n", n, "images")
        self._check_memory(n)
        if labels is None:
            return self.classes.take_turns(n) if self.classes else None
        return self._read_labels(labels, n)

    def _check_memory(self, n: int) -> None:
        """Raise UsageError if `n` images do not fit in memory."""
        spec = self.spec
        z, image = spec.latent_dim, spec.height * spec.width * spec.channels
        image += sum(prod(shape) for shape in spec.conditions.values())
        # z is drawn in float64 and stored in float32; images are float32 per chunk, then uint8, copied once.
        size = n * (12 * z + 2 * image) + 8 * min(n, engines.DRAW_BATCH_SIZE) * image
        what = f"{pluralise(n, 'image')} of {spec.height}×{spec.width} pixels from {self.folder}"
        size_limits.check_memory(size, what, "ask for fewer" if n > 1 else "its card asks for too much")

    def _make_noise(self, n: int, seed: int) -> np.ndarray:
        check_count("n", n, "images")
        check_seed(seed)
        return latents(philox(seed, "generate"), n, self.spec.latent_dim, self.latent)

    def draw(
        self,
        z: np.ndarray,
        labels: np.ndarray | None,
        conditions: Mapping[str, np.ndarray] | None = None,
        *,
        noise_seed: int = 0,
        first: int = 0,
    ) -> np.ndarray:
        """Draw images uint8 [N,H,W,C].

        Args:
            z: float32 [N,latent_dim].
            labels: int64 [N], or None.
            conditions: name -> N rows, as `read_given` returns them, of exactly those that the generator takes.
            noise_seed: of the dropout of a generator that is drawn so.
            first: the index of the first image, where these are a part of those that are drawn.

        Raises:
            UsageError: for inputs of the wrong type or shape.
        """
        labels = self._check_inputs(z, labels, conditions)
        network, size = self._network, (self.spec.height, self.spec.width)
        with self._blame_card("describes a network that cannot draw"):
            more: dict[str, Any] = {"alone": self.card.drawn_alone, "noise_seed": noise_seed, "first": first}
            rows = shrink_conditions(conditions or {}, size, self._values)
            drawn = self._engine.draw(network, z, labels, self._values, conditions=rows, **more)
        return crop_padding(drawn, self.card.crop, size)

    def _check_inputs(
        self, z: np.ndarray, labels: np.ndarray | None, conditions: Mapping[str, np.ndarray] | None
    ) -> np.ndarray | None:
        """Check z and the conditions, and return the checked labels; raises UsageError as `draw` does."""
        classes = self.spec.classes
        described = f"{z.dtype} {list(z.shape)}" if isinstance(z, np.ndarray) else type(z).__name__
        is_fine = isinstance(z, np.ndarray) and z.dtype == np.float32 and z.ndim == 2 and len(z) > 0
        if not is_fine or z.shape[1] != self.spec.latent_dim:
            raise UsageError(f"z is {described}; expected float32 [N,{self.spec.latent_dim}]")
        if (labels is not None) != bool(classes):
            raise UsageError(f"{self.folder} takes {'labels' if classes else 'no labels'} beside z")
        if self.spec.conditions and not conditions:
            raise self._reader.make_refusal()
        if conditions:
            self._reader.check_rows(conditions, len(z))
        return None if labels is None else self._read_labels(labels, len(z))

    def _repr_html_(self) -> str:
        from ganzoo_core.generation import notebook_view  # imports report code, which drawing does not need

        return notebook_view.render_generator(self)
