"""What a step is computed from in PyTorch: real images, z and random seeds, in this process's parts of the batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from ganzoo_core.api import Images
from ganzoo_core.data.conditions import Rows
from ganzoo_core.data.stream import Stream
from ganzoo_core.engines.plan import Plan
from ganzoo_core.engines.torch.accumulation import Part, split_rows
from ganzoo_core.engines.torch.data import TrainingImages, to_resolution
from ganzoo_core.engines.torch.device import to_device
from ganzoo_core.engines.torch.forward import RealBatch
from ganzoo_core.engines.torch.ops import BatchShare, TorchOps
from ganzoo_core.engines.torch.protocol import TrainingEngine
from ganzoo_core.randomness import latents, philox, seed_for


class Batches:
    """The batches of a run. Each process takes its rows of them, in `plan.accumulate` parts.

    Indices of the images, z, and what `ops` draws are drawn for the whole batch, of which each part takes its rows.
    Dropout and the like are drawn for each part, from a seed of its own.

    Args:
        engine, plan: see `Trainer`.
        images: uint8 [N,H,W,C].
        labels: int64 [N], or None.
        conditions: name -> rows aligned with the images, of at least those that the plan names.

    Attributes:
        parts: this process's parts of each batch.
        ops: the loss's operations.
        data: the images.
    """

    def __init__(
        self,
        engine: TrainingEngine,
        plan: Plan,
        images: Images,
        labels: np.ndarray | None,
        conditions: Mapping[str, Rows] | None = None,
    ) -> None:
        self.engine, self.plan, self.group = engine, plan, engine.group
        taken = {name: (conditions or {})[name] for name in plan.conditions}
        self.data = TrainingImages(images, labels if plan.conditional else None, engine, taken)
        self._streams = {
            purpose: Stream(len(images), seed=plan.seed, purpose=purpose)
            for purpose in ("data", "data of the generator")
        }
        rows = slice(0, plan.batch_size) if self.group is None else self.group.select_rows(plan.batch_size)
        self.parts, self.ops = split_rows(rows, plan.accumulate), engine.ops
        if self.group is not None or plan.accumulate > 1:
            share = BatchShare(plan.batch_size, rows, torch.Generator(engine.device))
            self.ops = TorchOps(engine.device, share=share)

    @contextlib.contextmanager
    def use_seed(self, part: Part, purpose: str, *indices: int) -> Iterator[None]:
        """Seed PyTorch's random generators, and what `ops` draws, for one part of a phase.

        The framework's own are seeded by (seed, purpose, indices), and by the rank and the part where there are
        several.
        """
        if self.ops.share is not None:
            self.ops.share = replace(self.ops.share, rows=part.rows)
            self.ops.share.rng.manual_seed(seed_for(self.plan.seed, purpose, *indices))
        if self.group is not None:
            purpose = f"{purpose} of rank {self.group.rank.number}"
        if self.plan.accumulate > 1:
            indices = (*indices, part.number)
        with self.engine.use_seed(self.plan.seed, purpose, *indices):
            yield

    def load_reals(self, part: Part, stream: str, position: int, values: Mapping[str, float]) -> RealBatch:
        """A part of the batch that begins at a position of a stream, at the current resolution."""
        size, following = self.plan.batch_size, self.parts[(part.number + 1) % len(self.parts)]
        next_position = position if following.number else position + size
        now = self._streams[stream].take_indices(position, size)[part.rows]
        then = self._streams[stream].take_indices(next_position, size)[following.rows]
        reals = self.data.gather(now, then, values)
        return replace(reals, images=to_resolution(reals.images, values))

    def draw_latents(self, part: Part, purpose: str, *indices: int) -> torch.Tensor:
        """A part of the z [N, latent_dim] of a batch."""
        plan = self.plan
        z = latents(philox(plan.seed, purpose, *indices), part.rows.stop, plan.latent_dim, plan.latent)
        return to_device(z[part.rows], self.engine.device)
