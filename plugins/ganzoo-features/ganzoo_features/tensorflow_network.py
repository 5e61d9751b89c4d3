"""The network of `bundled` in TensorFlow, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from ganzoo_features.bundled import WIDTHS, Forward


def make_forward(tensors: Mapping[str, np.ndarray]) -> Forward:
    """Images float32 [N,H,W,3] in [-1, 1] -> features float32 [N,F]; the tensors are `bundled.describe_tensors`'."""
    with tf.device("CPU:0"):
        weights = {
            name: tf.constant(tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor)  # [3,3,in,out]
            for name, tensor in tensors.items()
        }

    def forward(images: np.ndarray) -> np.ndarray:
        with tf.device("CPU:0"):
            x = tf.constant(images)
            means = []
            for stage in range(len(WIDTHS)):
                for conv in (f"stage{stage}.conv0", f"stage{stage}.conv1"):
                    x = tf.nn.relu(tf.nn.conv2d(x, weights[f"{conv}.weight"], 1, "SAME") + weights[f"{conv}.bias"])
                means.append(tf.reduce_mean(x, (1, 2)))
                x = tf.nn.max_pool2d(x, 2, 2, "VALID")  # halves each side, rounding down
            pooled = tf.concat(means[-2:], 1)
            features: np.ndarray = ((pooled - weights["centre"]) @ weights["projection"]).numpy()
            return features

    return forward
