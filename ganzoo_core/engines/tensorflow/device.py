"""Configure TensorFlow's device and threads before its runtime starts."""

from __future__ import annotations

import contextlib

import tensorflow as tf

from ganzoo_core.distributed.launchers import Launch, choose_gpu
from ganzoo_core.errors import UsageError


def set_threads(threads: int) -> bool:
    """Set the number of threads; return False if the runtime has already started with another number."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        # Two operations at once, since many operations do not use all threads.
        tf.config.threading.set_inter_op_parallelism_threads(min(threads, 2))
    except RuntimeError:
        return count_threads() == threads
    return True


def count_threads() -> int:
    """The number of threads that one operation may use; 0 if TensorFlow chooses."""
    return tf.config.threading.get_intra_op_parallelism_threads()


def pick_device(device: str) -> str:
    """Return `cuda`, `mps` or `cpu`; `auto` prefers a GPU. Raise UsageError if it is not available."""
    gpus = tf.config.list_physical_devices("GPU")
    # On a Mac, Apple's plugin also calls its device "GPU".
    name = "mps" if gpus and not tf.test.is_built_with_cuda() else "cuda"
    if device == "auto":
        device = name if gpus else "cpu"
    if device != "cpu" and (not gpus or device != name):
        available_devices = ", ".join(["cpu", *([name] if gpus else [])])
        raise UsageError(f"{device.upper()} is not available; devices on this machine: {available_devices}")
    with contextlib.suppress(RuntimeError):  # the runtime has already started
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    return device


def choose_rank_device(device: str, launch: Launch) -> str:
    """Give this process a GPU of its own, if it trains on one, and hide the others; return `cuda` or `cpu`.

    Raises:
        UsageError: if the machine has fewer GPUs than processes.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if device == "cuda":
        gpu = gpus[choose_gpu(launch, len(gpus))]
    with contextlib.suppress(RuntimeError):  # the runtime has already started, for an earlier run
        tf.config.set_visible_devices([gpu] if device == "cuda" else [], "GPU")
    return "cuda" if device == "cuda" else "cpu"
