"""Communication between the processes of a run in TensorFlow: one flat all-reduce per phase, and how messages travel.

Of `MultiWorkerMirroredStrategy` only the runtime is used, which it starts: nothing is made under its scope, since its
mirrored variables add gradients up, draw the same numbers in each process, and are not those that Keras lists.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context  # the runtime's settings have no public name

from ganzoo_core.distributed.launchers import Launch
from ganzoo_core.distributed.process_group import STOP_FLAG_LAG, MessageGroup, make_unreachable_error
from ganzoo_core.engines.tensorflow.networks import name_weights
from ganzoo_core.errors import UsageError

_MESSAGES, _GRADIENTS = 1, 2  # the keys of two groups: of all processes' CPUs, and of the devices that they train on
# An instance key stands for one operation with one shape. All processes count alike, since they make the same calls.
_instance_keys = itertools.count(1)
_message_keys: dict[int, int] = {}  # by the number of int32 in a message
_joined: list[Launch] = []  # a process joins the others once
_LOST_ERRORS = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)


class TensorFlowProcessGroup(MessageGroup):
    """The processes of a run, over TensorFlow's own sockets, and over NCCL for gradients on GPUs.

    Args:
        launch: how this process was started.
        device: TensorFlow's name of the one that it trains on.
        timeout: seconds to wait for the others in a step.

    Attributes:
        variables: what `average` reads and changes: whether this process was asked to stop, and how many were.
    """

    def __init__(self, launch: Launch, *, device: str, timeout: float) -> None:
        super().__init__(launch.rank, timeout=timeout)
        _join_processes(launch, timeout)
        self._on_gpu = "GPU" in device
        with tf.device(device):
            self.variables = (tf.Variable(0.0, name="stop_asked"), tf.Variable(0.0, name="stop_count"))
        self._unread_counts: deque[Any] = deque()

    def average(self, tensors: Sequence[Any]) -> list[Any]:
        """In a graph: the mean over the ranks of each tensor, of the same shapes in all.

        Those of float32 go in one all-reduce, with the stop flag. Others go in a second, in float64: whole numbers are
        rounded, and of booleans as many True as False are False.
        """
        stop_asked, stop_count = self.variables
        is_float32 = [tensor.dtype == tf.float32 for tensor in tensors]
        wide = [tensor for tensor, is_it in zip(tensors, is_float32, strict=True) if is_it]
        others = [tf.cast(tensor, tf.float64) for tensor, is_it in zip(tensors, is_float32, strict=True) if not is_it]
        # One after the other: NCCL would wait for ever if two processes began theirs in another order.
        with tf.control_dependencies([stop_count.value()]):
            *wide_sums, count = self._add_up([*wide, stop_asked.value()])
        with tf.control_dependencies([count]):
            other_sums = self._add_up(others) if others else []
        with tf.control_dependencies(other_sums):
            stop_count.assign(count)
        of_float32, of_others = iter(wide_sums), iter(other_sums)
        return [
            _as_mean(next(of_float32 if is_it else of_others), self.rank.world_size, tensor.dtype)
            for tensor, is_it in zip(tensors, is_float32, strict=True)
        ]

    def _add_up(self, tensors: Sequence[Any]) -> list[Any]:
        """The sum over the ranks of each tensor, in one all-reduce."""
        flat = self._all_reduce(
            tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0), _GRADIENTS, next(_instance_keys)
        )
        parts = tf.split(flat, [math.prod(tensor.shape) for tensor in tensors])
        return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def _all_reduce(self, flat: Any, group_key: int, instance_key: int) -> Any:
        return tf.raw_ops.CollectiveReduceV2(
            input=flat,
            group_size=self.rank.world_size,
            group_key=group_key,
            instance_key=instance_key,
            ordering_token=[],
            merge_op="Add",
            final_op="Id",
            communication_hint="nccl" if self._on_gpu and group_key == _GRADIENTS else "ring",
            timeout_seconds=self.timeout,
        )

    def make_stop_check(self, is_stop_asked: Callable[[], bool]) -> Callable[[], bool]:
        self._unread_counts.clear()
        return super().make_stop_check(is_stop_asked)

    @contextlib.contextmanager
    def watch_step(self) -> Iterator[None]:
        """Send this process's stop flag along with the gradients of a step, and read those of all after it.

        Raises:
            RankError: if another process hangs or has ended.
        """
        stop_asked, stop_count = self.variables
        stop_asked.assign(float(self._is_stop_asked()))
        with self._translate_errors():
            yield
            # On a GPU the counts of earlier steps are read, which are there already.
            self._unread_counts.append(tf.identity(stop_count))
            if len(self._unread_counts) > (STOP_FLAG_LAG if self._on_gpu else 0):
                self._should_stop = float(self._unread_counts.popleft()) > 0

    def gather_array(self, array: np.ndarray) -> np.ndarray:
        slots = np.zeros((self.rank.world_size, array.nbytes), np.uint8)
        slots[self.rank.number] = np.frombuffer(array.tobytes(), np.uint8)
        whole = self._join_bytes(slots.tobytes())
        return np.frombuffer(whole, array.dtype).reshape(self.rank.world_size, *array.shape).copy()

    def broadcast_array(self, array: np.ndarray) -> np.ndarray:
        own = array.tobytes() if self.rank.is_rank_zero else bytes(array.nbytes)
        return np.frombuffer(self._join_bytes(own), array.dtype).reshape(array.shape).copy()

    def _join_bytes(self, content: bytes) -> bytes:
        """What the processes say together, where each says zeros in the place of the others."""
        words = -(-len(content) // 4)
        size = 1 << max(0, words - 1).bit_length()  # powers of two, so that there are few keys
        padded = np.frombuffer(content.ljust(4 * size, b"\0"), np.int32)
        if size not in _message_keys:
            _message_keys[size] = next(_instance_keys)
        with tf.device("/CPU:0"), self._translate_errors():
            told = self._all_reduce(tf.constant(padded), _MESSAGES, _message_keys[size]).numpy()
        return bytes(told.tobytes()[: len(content)])

    def broadcast_network(self, network: Any) -> None:
        for weight in name_weights(network).values():
            weight.assign(self.broadcast_array(np.asarray(weight.numpy())))

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turn errors of the runtime into a RankError: another process hangs or has ended."""
        try:
            yield
        except _LOST_ERRORS as error:
            words = str(error)
            if "ollective" not in words and not isinstance(error, tf.errors.UnavailableError):
                raise
            raise self.make_unanswered_error("", slow=isinstance(error, tf.errors.DeadlineExceededError)) from error


def _as_mean(total: Any, count: int, dtype: tf.DType) -> Any:
    mean = total / count
    return mean if dtype == tf.float32 else tf.cast(mean if dtype.is_floating else tf.round(mean), dtype)


def _join_processes(launch: Launch, timeout: float) -> None:
    """Start TensorFlow's runtime together with the other processes, which wait for each other."""
    if _joined:
        return
    workers, milliseconds = list(launch.addresses), math.ceil(1000 * timeout)
    cluster = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": workers}),
        task_type="worker",
        task_id=launch.rank.number,
        rpc_layer="grpc",
    )
    _wait_for_others(launch, timeout)
    try:
        # By itself it calls a process lost that is silent for ten seconds.
        context.context().configure_coordination_service(
            service_type="standalone",
            service_leader="/job:worker/replica:0/task:0",
            cluster_register_timeout_in_ms=milliseconds,
            heartbeat_timeout_in_ms=2 * milliseconds,  # later than the all-reduce that it is late for
            coordinated_jobs=[context.coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=len(workers))],
        )
        tf.distribute.MultiWorkerMirroredStrategy(cluster)
    except tf.errors.OpError as error:
        detail = (error.message or "").partition("\n")[0][:160]
        raise make_unreachable_error(
            launch.rank, socket.gethostname(), launch.meeting_point, timeout, detail
        ) from error
    except RuntimeError:
        raise UsageError(
            "TensorFlow was in use before in this process, so that it cannot join the others: train before anything "
            "else is done with it; networks that were made before cannot be trained by several processes: write them "
            "as a plugin, which `ganzoo new my-gan --kind model --framework tensorflow` begins"
        ) from None
    _joined.append(launch)
    if threading.current_thread() is threading.main_thread():
        # The runtime catches SIGTERM, and does nothing with it.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)


def _wait_for_others(launch: Launch, timeout: float) -> None:
    """Wait until each of the others listens at its address, as this process does meanwhile.

    TensorFlow itself would wait for an hour, and no signal would end it.
    """
    deadline = time.monotonic() + timeout
    own = launch.addresses[launch.rank.number]
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # the runtime will say what is wrong with the address
            place = ("", int(own.rpartition(":")[2]))
            both = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if both else socket.AF_INET
            server = socket.create_server(place, family=family, backlog=len(launch.addresses), dualstack_ipv6=both)
            stack.enter_context(server)
        for address in launch.addresses:
            host, _, port = address.rpartition(":")
            while address != own:
                try:
                    left = max(0.1, deadline - time.monotonic())
                    socket.create_connection((host.strip("[]"), int(port)), timeout=left).close()
                    break
                except OSError as error:
                    if time.monotonic() >= deadline:
                        raise make_unreachable_error(
                            launch.rank, socket.gethostname(), address, timeout, error.strerror or str(error)
                        ) from error
                    time.sleep(0.1)
