"""Communication between the processes of a run in PyTorch: one flat all-reduce per phase, and how messages travel.

`DistributedDataParallel` is not used. Its hooks average gradients after one forward and one full `backward()`, but a
step here calls D several times, differentiates by one network's weights only (`backward(inputs=…)`) and, with a
penalty, by images first. So each phase first computes all its gradients and then averages them, as Karras et al. do.
"""

from __future__ import annotations

import atexit
import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from ganzoo_core.distributed.launchers import Launch
from ganzoo_core.distributed.process_group import STOP_FLAG_LAG, MessageGroup, make_unreachable_error
from ganzoo_core.errors import GanzooError, UsageError

_joined: list[Any] = []  # the store at which this process met the others; it joins them once


class TorchProcessGroup(MessageGroup):
    """The processes of a run, over gloo, and over NCCL for gradients on GPUs.

    Args:
        launch: how this process was started.
        device: of its gradients.
        timeout: seconds to wait for the others in a step.
    """

    def __init__(self, launch: Launch, *, device: torch.device, timeout: float) -> None:
        super().__init__(launch.rank, timeout=timeout)
        self.device = device
        self.gradient_group = _join_processes(launch, device, timeout)
        self._unread_flags: deque[tuple[Any, torch.Tensor]] = deque()

    def all_reduce_mean(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor (of the same memory layout in all ranks) by its mean over the ranks.

        Those of float32 go in one all-reduce, with the stop flag. Others go in a second, in float64: whole numbers are
        rounded, and of booleans as many True as False are False.
        """
        others = [tensor for tensor in tensors if tensor.dtype != torch.float32]
        if others:
            self._average_in_float64(others)
        tensors = [tensor for tensor in tensors if tensor.dtype == torch.float32]
        stop_flag = torch.full((1,), float(self._is_stop_asked()), device=self.device)
        flat = torch.cat([*(_flatten(tensor) for tensor in tensors), stop_flag])
        with self._translate_errors():
            dist.all_reduce(flat, group=self.gradient_group)
        self._read_stop_flag(flat[-1:])
        flat.div_(self.rank.world_size)
        # Copy in memory order: fused optimizers assume that a gradient has its parameter's strides.
        parts = flat[:-1].split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_([_flatten(tensor) for tensor in tensors], list(parts))

    def _average_in_float64(self, tensors: Sequence[torch.Tensor]) -> None:
        flat = torch.cat([tensor.to(torch.float64).reshape(-1) for tensor in tensors])
        with self._translate_errors():
            dist.all_reduce(flat, group=self.gradient_group)
        flat.div_(self.rank.world_size)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_((part if tensor.is_floating_point() else part.round()).reshape(tensor.shape))

    def gather_array(self, array: np.ndarray) -> np.ndarray:
        own = _as_bytes(array)
        gathered = [torch.empty_like(own) for _ in range(self.rank.world_size)]
        with self._translate_errors():
            dist.all_gather(gathered, own)
        whole = torch.stack(gathered).numpy().tobytes()
        return np.frombuffer(whole, array.dtype).reshape(self.rank.world_size, *array.shape).copy()

    def broadcast_array(self, array: np.ndarray) -> np.ndarray:
        own = _as_bytes(array)
        with self._translate_errors():
            dist.broadcast(own, 0)
        return np.frombuffer(own.numpy().tobytes(), array.dtype).reshape(array.shape).copy()

    def _read_stop_flag(self, flag: torch.Tensor) -> None:
        """Read how many ranks were asked to stop; all ranks read it after the same all-reduce."""
        if self.device.type == "cpu":
            self._should_stop = flag.item() > 0
            return
        host_flag = torch.empty(1, pin_memory=True).copy_(flag, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._unread_flags.append((event, host_flag))
        if len(self._unread_flags) > STOP_FLAG_LAG:
            event, host_flag = self._unread_flags.popleft()
            self._wait_until(event.query)
            self._should_stop = host_flag.item() > 0

    def _wait_until(self, is_done: Callable[[], bool]) -> None:
        since = time.monotonic()
        while not is_done():
            waited = time.monotonic() - since
            if waited > self.timeout:
                raise self.make_lost_error(f"they did not answer for {self.timeout:g} seconds")
            time.sleep(min(1e-4, waited))

    def make_stop_check(self, is_stop_asked: Callable[[], bool]) -> Callable[[], bool]:
        self._unread_flags.clear()
        return super().make_stop_check(is_stop_asked)

    def broadcast_network(self, network: torch.nn.Module) -> None:
        with torch.no_grad(), self._translate_errors():
            for tensor in network.state_dict().values():
                on_cpu = tensor.detach().cpu().contiguous()
                dist.broadcast(on_cpu, 0)
                tensor.copy_(on_cpu)

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turn errors of torch.distributed into a RankError: another process hangs or has ended."""
        try:
            yield
        except GanzooError:
            raise
        except RuntimeError as error:  # dist.DistError is one
            words = str(error).lower()
            slow = "timed out" in words or "timeout" in words
            raise self.make_unanswered_error(_first_sentence(error), slow=slow) from error


def _join_processes(launch: Launch, device: torch.device, timeout: float) -> Any:
    """Join the other processes; return the group for gradients, None for the default."""
    wait, rank = timedelta(seconds=timeout), launch.rank
    if not launch.meeting_point:
        raise UsageError(f"{launch.starter} is to set MASTER_ADDR and MASTER_PORT, where the processes meet")
    try:
        if not dist.is_initialized():
            url = f"tcp://{launch.meeting_point}?rank={rank.number}&world_size={rank.world_size}"
            store, number, count = next(rendezvous(url, timeout=wait))
            store.set_timeout(wait)
            dist.init_process_group("gloo", store=store, rank=number, world_size=count, timeout=wait)
            _joined[:] = [store]
            atexit.register(_leave_processes)
        if not _joined:
            raise UsageError("torch.distributed is set up already in this process; ganzoo sets it up itself")
        # NCCL kills a process that waits longer than its timeout; `TorchProcessGroup` raises a clear error before that.
        return None if device.type == "cpu" else dist.new_group(backend="nccl", timeout=wait * 2)
    except RuntimeError as error:
        detail = _first_sentence(error)
        raise make_unreachable_error(rank, socket.gethostname(), launch.meeting_point, timeout, detail) from error


def _leave_processes() -> None:
    with contextlib.suppress(Exception):
        dist.destroy_process_group()


def _first_sentence(error: Exception) -> str:
    """The first sentence of PyTorch's message, without the source location."""
    return str(error).strip().partition("\n")[0].rpartition("] ")[2].partition(". ")[0][:160].rstrip(".")


def _flatten(tensor: torch.Tensor) -> torch.Tensor:
    """View a dense tensor as [numel], in memory order, without a copy."""
    return tensor.detach().as_strided((tensor.numel(),), (1,))


def _as_bytes(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(array.tobytes(), np.uint8).copy())
