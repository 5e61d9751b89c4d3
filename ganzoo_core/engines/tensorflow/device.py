"""The device and its threads, as TensorFlow is told of them before it starts."""

from __future__ import annotations

import contextlib

import tensorflow as tf

from ganzoo_core.errors import UsageError


def set_threads(threads: int) -> bool:
    """Have TensorFlow use so many; False if its runtime is at work already with another number."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        # Two operations at once, since many do not use all threads of their own.
        tf.config.threading.set_inter_op_parallelism_threads(min(threads, 2))
    except RuntimeError:
        return count_threads() == threads
    return True


def count_threads() -> int:
    """Those that one operation may use; 0 where TensorFlow is to choose."""
    return tf.config.threading.get_intra_op_parallelism_threads()


def pick_device(device: str) -> str:
    """`cuda`, `mps` or `cpu`, where `auto` takes a GPU if one is there; raises UsageError for one that is not."""
    gpus = tf.config.list_physical_devices("GPU")
    # On a Mac the plugin of Apple offers its GPU under the same name.
    name = "mps" if gpus and not tf.test.is_built_with_cuda() else "cuda"
    if device == "auto":
        device = name if gpus else "cpu"
    if device != "cpu" and (not gpus or device != name):
        there = ", ".join(["cpu", *([name] if gpus else [])])
        raise UsageError(f"{device.upper()} is not available; devices on this machine: {there}")
    with contextlib.suppress(RuntimeError):  # TensorFlow is at work already, and has decided
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    return device
