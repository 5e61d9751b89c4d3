"""Real images in TensorFlow: where they are stored, and how a batch of them reaches the networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ganzoo_core.api import Images
from ganzoo_core.data.conditions import Rows, is_picture
from ganzoo_core.data.framing import count_halvings, shrink_conditions
from ganzoo_core.data.lazy import is_in_file
from ganzoo_core.data.pixels import preprocess
from ganzoo_core.data.prefetch import Prefetcher

# Larger sets stay in main memory, since TensorFlow does not report how much memory a GPU has free.
MAX_DEVICE_BYTES = 2**30


class TrainingImages:
    """The training images as uint8; batches are gathered and scaled to [-1, 1].

    On a CPU numpy does that; images in a GPU's memory are gathered and scaled there, by a table of the 256 values.
    TensorFlow would replace a division in the graph by a multiplication, which rounds differently.

    Args:
        images: uint8 [N,H,W,C]; see `data.lazy`. Images in a file stay there unless copied to a GPU.
        labels: int64 [N], or None.
        device: TensorFlow's name of it.
        conditions: name -> rows; they stay where they are, and pictures that are read on demand are read in advance.
    """

    def __init__(
        self, images: Images, labels: np.ndarray | None, device: str, conditions: Mapping[str, Rows] | None = None
    ) -> None:
        self.images, self.labels, self.conditions = images, labels, dict(conditions or {})
        self.condition_prefetchers = {
            name: Prefetcher(rows) for name, rows in self.conditions.items() if is_picture(rows) and is_in_file(rows)
        }
        self.on_device = self.prefetcher = None
        if "CPU" not in device and math.prod(images.shape) <= MAX_DEVICE_BYTES:
            with tf.device(device):
                self.on_device = tf.constant(np.asarray(images))
                self._scaled = tf.constant(preprocess(np.arange(256, dtype=np.uint8)))
        elif is_in_file(images):
            self.prefetcher = Prefetcher(images)

    def gather_encoded(
        self, indices: np.ndarray, next_indices: np.ndarray | None = None, values: Mapping[str, float] | None = None
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Indices [N] -> the input of `decode`, and the result of `gather_given`.

        `next_indices` are those of the next batch; if the images are in a file, a thread reads them in advance.
        `values` are the schedule's, by whose `resolution` conditions shrink; images do so in `to_resolution`.
        """
        given = self.gather_given(indices, next_indices, values)
        if self.on_device is not None:
            return tf.constant(indices), given
        batch = self.images[indices] if self.prefetcher is None else self.prefetcher.take(indices, next_indices)
        return tf.constant(preprocess(batch)), given

    def gather_given(
        self, indices: np.ndarray, next_indices: np.ndarray | None = None, values: Mapping[str, float] | None = None
    ) -> dict[str, tf.Tensor]:
        """What belongs to images: `labels` int64 [N], if there are any, and conditions, pictures in [-1, 1]."""
        given = {} if self.labels is None else {"labels": tf.constant(self.labels[indices])}
        read = {}
        for name, rows in self.conditions.items():
            prefetcher = self.condition_prefetchers.get(name)
            read[name] = np.asarray(rows[indices]) if prefetcher is None else prefetcher.take(indices, next_indices)
        height, width = self.images.shape[1:3]
        for name, array in shrink_conditions(read, (height, width), values or {}).items():
            given[name] = tf.constant(preprocess(array) if array.dtype == np.uint8 else array)
        return given

    def decode(self, encoded: tf.Tensor) -> tf.Tensor:
        """The result of `gather_encoded` -> float32 images [N,H,W,C] in [-1, 1]."""
        if self.on_device is None:
            return encoded
        return tf.gather(self._scaled, tf.cast(tf.gather(self.on_device, encoded), tf.int32))


def to_resolution(images: tf.Tensor, values: Mapping[str, Any]) -> tf.Tensor:
    """Reduce real images to the current resolution of growing networks.

    The images are averaged over 2×2 pixels down to `resolution`. With `fade` in [0, 1], they are blended with their
    next coarser version, upsampled again, as G's outputs are (Karras et al. 2017, arXiv:1710.10196, section 2).

    Args:
        images: [N,H,W,C].
        values: the schedule's, `resolution` an int; without it the images are returned unchanged.
    """
    if "resolution" not in values:
        return images
    _, height, width, _ = images.shape
    for _ in range(count_halvings((height, width), values["resolution"])):
        images = tf.nn.avg_pool2d(images, 2, 2, "VALID")
    if "fade" not in values or min(images.shape[1:3]) < 2:
        return images
    coarse = tf.nn.avg_pool2d(images, 2, 2, "VALID")
    coarse = tf.repeat(tf.repeat(coarse, 2, axis=1), 2, axis=2)
    return values["fade"] * images + (1 - values["fade"]) * coarse
