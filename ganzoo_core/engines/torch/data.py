"""Real images in PyTorch: where they are stored, and how a batch of them reaches the networks."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F

from ganzoo_core.api import Images
from ganzoo_core.data.conditions import Rows, is_picture
from ganzoo_core.data.framing import count_halvings, shrink_conditions
from ganzoo_core.data.lazy import is_in_file, iterate_chunks
from ganzoo_core.data.memory import measure_free_memory
from ganzoo_core.data.prefetch import Prefetcher
from ganzoo_core.engines.torch.device import to_device
from ganzoo_core.engines.torch.forward import Given, RealBatch, to_condition
from ganzoo_core.engines.torch.protocol import TrainingEngine

MAX_MEMORY_SHARE = 0.25  # of a GPU's free memory, for the images


class TrainingImages:
    """The training images as uint8; batches are gathered and scaled to [-1, 1].

    On a GPU they are copied to its memory if they take at most a quarter of what is free. Otherwise they stay in main
    memory or in their file.

    Args:
        images: uint8 [N,H,W,C]; see `data.lazy`.
        labels: int64 [N], or None.
        engine: gives the device and the memory layout.
        conditions: name -> rows; they stay where they are, and pictures that are read on demand are read in advance.
    """

    def __init__(
        self,
        images: Images,
        labels: np.ndarray | None,
        engine: TrainingEngine,
        conditions: Mapping[str, Rows] | None = None,
    ) -> None:
        self.images, self.labels, self.device = images, labels, engine.device
        self.conditions = dict(conditions or {})
        self.condition_prefetchers = {
            name: Prefetcher(rows) for name, rows in self.conditions.items() if is_picture(rows) and is_in_file(rows)
        }
        self.memory_format = engine.memory_format
        self.on_device = self.prefetcher = None
        if self.device.type != "cpu" and math.prod(images.shape) <= MAX_MEMORY_SHARE * _measure_free_memory(
            self.device
        ):
            self.on_device = torch.empty(images.shape, dtype=torch.uint8, device=self.device)
            for first, some in iterate_chunks(images):
                self.on_device[first : first + len(some)] = torch.from_numpy(some)
        elif is_in_file(images):
            self.prefetcher = Prefetcher(images)

    def gather(
        self, indices: np.ndarray, next_indices: np.ndarray | None = None, values: Mapping[str, float] | None = None
    ) -> RealBatch:
        """Indices [N] -> images, and the labels and conditions that belong to them.

        `next_indices` are those of the next batch; if the images are in a file, a thread reads them in advance.
        `values` are the schedule's, by whose `resolution` conditions shrink; images do so in `to_resolution`.
        """
        if self.prefetcher is not None:
            batch = to_device(self.prefetcher.take(indices, next_indices), self.device)
        elif self.on_device is None:
            batch = to_device(self.images[indices], self.device)
        else:
            batch = self.on_device[to_device(indices, self.device)]
        # The permuted view of [N,H,W,C] is channels_last already.
        images = batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous(memory_format=self.memory_format)
        return RealBatch(images, self.gather_given(indices, next_indices, values))

    def gather_given(
        self, indices: np.ndarray, next_indices: np.ndarray | None = None, values: Mapping[str, float] | None = None
    ) -> Given:
        """The labels and conditions of `gather` alone."""
        given = {} if self.labels is None else {"labels": to_device(self.labels[indices], self.device)}
        read = {}
        for name, rows in self.conditions.items():
            prefetcher = self.condition_prefetchers.get(name)
            read[name] = np.asarray(rows[indices]) if prefetcher is None else prefetcher.take(indices, next_indices)
        height, width = self.images.shape[1:3]
        for name, array in shrink_conditions(read, (height, width), values or {}).items():
            given[name] = to_condition(to_device(array, self.device), self.memory_format)
        return given


def _measure_free_memory(device: torch.device) -> int:
    """Free memory in bytes: the GPU's on CUDA, else main memory."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else measure_free_memory()


def to_resolution(images: torch.Tensor, values: Mapping[str, float]) -> torch.Tensor:
    """Reduce real images to the current resolution of growing networks.

    The images are averaged over 2×2 pixels down to `resolution`. With `fade` in [0, 1], they are blended with their
    next coarser version, upsampled again, as G's outputs are (Karras et al. 2017, arXiv:1710.10196, section 2).

    Args:
        images: [N,C,H,W].
        values: the schedule's; without `resolution` the images are returned unchanged.
    """
    if "resolution" not in values:
        return images
    height, width = images.shape[2:]
    for _ in range(count_halvings((height, width), int(values["resolution"]))):
        images = F.avg_pool2d(images, 2)
    if "fade" not in values or min(images.shape[2:]) < 2:
        return images
    coarse = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2, mode="nearest")
    return values["fade"] * images + (1 - values["fade"]) * coarse
