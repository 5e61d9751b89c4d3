"""bfloat16 in TensorFlow: detect CPUs where oneDNN supports it, and enable it for graphs.

TensorFlow rewrites a graph before it runs: inputs of convolutions and matrix products are rounded to bfloat16, and
outputs are converted back where an operation needs float32. The graph includes gradients by then, so this works for any
loss, and without the knowledge of Keras, the networks and the plugins. Variables stay float32.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from ganzoo_core.engines import bfloat16
from ganzoo_core.engines.tensorflow import import_tensorflow
from ganzoo_core.errors import UsageError

_REWRITE_OPTION = "auto_mixed_precision_onednn_bfloat16"  # one of TensorFlow's graph options
# Sums over many numbers, and functions of scores in losses: next to a convolution TensorFlow would compute them in
# bfloat16, which leaves batch norm's statistics and the losses with 8 significant bits.
_FLOAT32_OPERATIONS = ("Mean", "Sum", "SquaredDifference", "Softplus", "Sigmoid", "Tanh")
_LIST_VARIABLE_PREFIX = "TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_"


def check_precision(precision: str, *, device_type: str, compile: bool) -> None:
    """Raise UsageError if a precision is not available.

    Args:
        precision: `float32` or `bfloat16`.
        device_type: `cpu`, `cuda` or `mps`.
        compile: whether XLA compiles the graphs.
    """
    if precision == "float32":
        return
    if device_type != "cpu":
        raise UsageError(
            f"engine.precision is {precision}, which is there for TensorFlow on CPUs alone: on GPUs its graphs "
            "are rewritten for float16 only; leave it at float32, or pick a model in PyTorch"
        )
    if compile:
        raise UsageError(
            f"engine.precision is {precision} and engine.compile is on, but XLA takes graphs as they are before "
            "TensorFlow rewrites them for bfloat16; set one of the two"
        )
    missing = bfloat16.describe_missing_features(bfloat16.read_cpu_features())
    if missing:
        raise UsageError(bfloat16.make_refusal(missing))
    if not is_bfloat16_applied():
        raise UsageError(
            f"engine.precision is {precision}, and this TensorFlow computes in float32 all the same: oneDNN is "
            f"{import_tensorflow.find_onednn_state()}; unset {import_tensorflow.ONEDNN_VARIABLE}, or leave "
            "engine.precision at float32"
        )


def is_bfloat16_applied() -> bool:
    """Whether a matrix product is rounded to bfloat16, as it should be."""
    fine = np.full((8, 8), 1 + 2.0**-12, np.float32)  # bfloat16 has no number between 1 and 1 + 2^-7
    product = tf.function(lambda x: tf.nn.relu(tf.matmul(x, tf.eye(8))) * 2.0 + 1.0, autograph=False)
    with use_precision("bfloat16"):
        return bool(product(tf.constant(fine)).numpy().max() == 3.0)


@contextmanager
def use_precision(precision: str) -> Iterator[None]:
    """Run graphs in this precision within this context."""
    if precision == "float32":
        yield
        return
    for name in ("DENYLIST_ADD", "INFERLIST_REMOVE"):
        os.environ.setdefault(_LIST_VARIABLE_PREFIX + name, ",".join(_FLOAT32_OPERATIONS))
    tf.config.optimizer.set_experimental_options({_REWRITE_OPTION: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({_REWRITE_OPTION: False})
