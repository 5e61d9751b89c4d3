"""The real images in PyTorch: where they lie, and how a batch of them comes to the networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ganzoo_core.api import Images
from ganzoo_core.data.framing import count_halvings
from ganzoo_core.data.lazy import is_in_file, iterate_chunks
from ganzoo_core.data.memory import measure_free_memory
from ganzoo_core.data.prefetch import Prefetcher
from ganzoo_core.engines.torch.device import to_device

MAX_MEMORY_SHARE = 0.25  # of the free memory of a GPU that images may take


class TrainingImages:
    """The images as uint8 where the device can reach them; gathered and scaled there.

    On a GPU they lie in its memory where they take at most a quarter of what is free there. What lies in a file and is
    not taken there stays in the file.

    Args:
        images: uint8 [N,H,W,C]; see `data.lazy`.
        labels: int64 [N], or None.
        engine: the device and its memory layout.
    """

    def __init__(self, images: Images, labels: np.ndarray | None, engine: Any) -> None:
        self.images, self.labels, self.device = images, labels, engine.device
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
        self, indices: np.ndarray, next_indices: np.ndarray | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Indices [N] -> float32 images [N,C,H,W] in [-1, 1], and int64 labels [N] or None.

        `next_indices` are the indices that come next; a thread reads those images while these are learnt from, if they
        are still in a file.
        """
        if self.prefetcher is not None:
            batch = to_device(self.prefetcher.take(indices, next_indices), self.device)
        elif self.on_device is None:
            batch = to_device(self.images[indices], self.device)
        else:
            batch = self.on_device[to_device(indices, self.device)]
        # The permuted view of [N,H,W,C] is channels_last already.
        images = batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous(memory_format=self.memory_format)
        labels = None if self.labels is None else to_device(self.labels[indices], self.device)
        return images, labels


def _measure_free_memory(device: torch.device) -> int:
    """Bytes; of main memory where it is the device's as well."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else measure_free_memory()


def to_resolution(images: torch.Tensor, values: Mapping[str, float]) -> torch.Tensor:
    """Real images as growing networks see them now.

    They shrink by means of 2×2 pixels to `resolution`; by `fade` they are blended with their own next coarser
    version, enlarged again, as the outputs of G are (Karras et al. 2017, arXiv:1710.10196, section 2).

    Args:
        images: [N,C,H,W].
        values: the schedule's; without `resolution` the images stay as they are.
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
