"""The parts of `gpu.py` in TensorFlow: its models, where it sees the GPU."""

from __future__ import annotations

from functools import partial

import tensorflow_comparisons
from comparisons import PUBLISHED
from gpu_parts import Part, measure_model
from pairs import read_peak_memory


def read_peak(device: str) -> float:
    """MB that TensorFlow has had allocated at most on the GPU; on a CPU, those of the process."""
    import tensorflow as tf

    if device != "cuda":
        return read_peak_memory()
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e6


PARTS: dict[str, Part] = {
    row.name: partial(measure_model, row.name, framework=tensorflow_comparisons, read_peak=read_peak)
    for row in PUBLISHED
    if row.framework == "tensorflow"
}
