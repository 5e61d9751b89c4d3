"""Communication between the processes of a run in PyTorch: one flat all-reduce per phase, and small messages.

`DistributedDataParallel` is not used. Its hooks average gradients after one forward and one full `backward()`, but a
step here calls D several times, differentiates by one network's weights only (`backward(inputs=…)`) and, with a
penalty, by images first. So each phase first computes all its gradients and then averages them, as Karras et al. do.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from ganzoo_core.distributed.ranks import Rank, RankError, mark_shared
from ganzoo_core.errors import GanzooError, UsageError

T = TypeVar("T")
STOP_FLAG_LAG = 2  # all-reduces before a GPU's stop flag is read, so that reading it does not wait
_SUCCEEDED, _DISK_ERROR, _OTHER_ERROR = 0, 1, 2  # outcome of a call in rank 0
_stores: list[Any] = []  # the rendezvous store, then one for each run; a process joins once


class TorchProcessGroup:
    """The processes of a run; see `ranks.ProcessGroup` for the methods that the runner uses.

    Args:
        rank: of this process.
        device: of its gradients.
        timeout: seconds to wait for the others in a step.
    """

    def __init__(self, rank: Rank, *, device: torch.device, timeout: float) -> None:
        self.rank, self.device, self.timeout = rank, device, timeout
        self.store, self.gradient_group = _join_processes(rank, device, timeout)
        self._is_stop_asked: Callable[[], bool] = lambda: False
        self._should_stop = False
        self._unread_flags: deque[tuple[Any, torch.Tensor]] = deque()
        self._act_count = 0

    def select_rows(self, batch_size: int) -> slice:
        """This rank's rows of a batch of `batch_size` samples."""
        own = batch_size // self.rank.world_size
        return slice(self.rank.number * own, (self.rank.number + 1) * own)

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
        """Every rank's array, of one shape and dtype, in the order of the ranks: [ranks, ...]."""
        own = torch.from_numpy(np.frombuffer(array.tobytes(), np.uint8).copy())
        gathered = [torch.empty_like(own) for _ in range(self.rank.world_size)]
        with self._translate_errors():
            dist.all_gather(gathered, own)
        whole = torch.stack(gathered).numpy().tobytes()
        return np.frombuffer(whole, array.dtype).reshape(self.rank.world_size, *array.shape).copy()

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
                raise RankError(self._describe_lost_processes(f"they did not answer for {self.timeout:g} seconds"))
            time.sleep(min(1e-4, waited))

    def make_stop_check(self, is_stop_asked: Callable[[], bool]) -> Callable[[], bool]:
        self._is_stop_asked, self._should_stop = is_stop_asked, False
        self._unread_flags.clear()
        return lambda: self._should_stop

    def all_reduce_sum(self, numbers: Sequence[float]) -> list[float]:
        """The sum over the ranks of each number."""
        return [float(total) for total in self._all_gather_array(numbers).sum(axis=0)]

    def all_gather(self, numbers: Sequence[float]) -> list[list[float]]:
        """Every rank's numbers, in the order of the ranks."""
        return [[float(number) for number in row] for row in self._all_gather_array(numbers)]

    def _all_gather_array(self, numbers: Sequence[float]) -> np.ndarray:
        own = torch.tensor(list(numbers), dtype=torch.float64)
        gathered = [torch.empty_like(own) for _ in range(self.rank.world_size)]
        with self._translate_errors():
            dist.all_gather(gathered, own)
        return torch.stack(gathered).numpy()

    def broadcast_int(self, number: int) -> int:
        tensor = torch.tensor([number], dtype=torch.int64)
        with self._translate_errors():
            dist.broadcast(tensor, 0)
        return int(tensor.item())

    def broadcast_text(self, text: str) -> str:
        content = text.encode()
        tensor = torch.zeros(self.broadcast_int(len(content)), dtype=torch.uint8)
        if self.rank.is_rank_zero:
            tensor = torch.tensor(list(content), dtype=torch.uint8)
        with self._translate_errors():
            dist.broadcast(tensor, 0)
        return bytes(tensor.tolist()).decode()

    def check_on_all_ranks(self, fine: bool, problem: str) -> None:
        failed_ranks = [rank for rank, (is_fine,) in enumerate(self.all_gather([float(fine)])) if not is_fine]
        if not fine:
            raise RankError(problem)
        if failed_ranks:
            raise mark_shared(RankError(f"rank {failed_ranks[0]} cannot go on, and says why"))

    def on_rank_zero(self, act: Callable[[], T], *, long: bool = False) -> T | None:
        result, error, ended = None, None, _SUCCEEDED
        self._act_count += 1
        if self.rank.is_rank_zero:
            with self._send_heartbeats(f"act {self._act_count}") if long else contextlib.nullcontext():
                try:
                    result = act()
                except BaseException as raised:  # KeyboardInterrupt too: the others wait for the outcome
                    error, ended = raised, _DISK_ERROR if isinstance(raised, OSError) else _OTHER_ERROR
        elif long:
            self._wait_for_rank_zero(f"act {self._act_count}")
        ended = self.broadcast_int(ended)
        if error is not None:
            raise error
        if ended == _DISK_ERROR:
            raise OSError("rank 0 could not write")
        if ended == _OTHER_ERROR:
            raise mark_shared(RankError("rank 0 cannot go on, and says why"))
        return result

    @contextlib.contextmanager
    def _send_heartbeats(self, name: str) -> Iterator[None]:
        """Signal to the others within this context that this rank is still working."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(self.timeout / 4):
                self.store.add(f"{name} beats", 1)

        beats = threading.Thread(target=beat, daemon=True)
        beats.start()
        try:
            yield
        finally:
            over.set()
            beats.join()
            with self._translate_errors():
                self.store.add(f"{name} is over", 1)

    def _wait_for_rank_zero(self, name: str) -> None:
        heard, beats = time.monotonic(), 0
        with self._translate_errors():
            while not self.store.add(f"{name} is over", 0):
                now = self.store.add(f"{name} beats", 0)
                if now != beats:
                    heard, beats = time.monotonic(), now
                if time.monotonic() - heard > self.timeout:
                    raise RankError(self._describe_lost_processes(f"rank 0 gave no sign for {self.timeout:g} seconds"))
                time.sleep(min(0.2, self.timeout / 20))

    def broadcast_network(self, network: torch.nn.Module) -> None:
        """Copy rank 0's weights and buffers to all ranks."""
        with torch.no_grad(), self._translate_errors():
            for tensor in network.state_dict().values():
                on_cpu = tensor.detach().cpu().contiguous()
                dist.broadcast(on_cpu, 0)
                tensor.copy_(on_cpu)

    def check_same_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Raise RankError in all ranks unless these tensors are bitwise equal in all."""
        sums = [zlib.crc32(np.asarray(array, order="C").tobytes()) for array in tensors.values()]
        rows = self.all_gather([float(checksum) for checksum in sums])
        for name, *checksums in zip(tensors, *rows, strict=True):
            if len(set(checksums)) > 1:
                rank = next(rank for rank, value in enumerate(checksums) if value != checksums[0])
                raise mark_shared(
                    RankError(
                        f"the processes came apart: {name} of rank {rank} differs from that of rank 0; what was saved "
                        "before is whole. Networks and losses must not draw from generators of their own, nor depend "
                        "on which process they are in"
                    )
                )

    def check_same_facts(self, facts: Mapping[str, Any]) -> None:
        """Raise UsageError or RankError in all ranks unless facts such as versions and data are equal in all."""
        encoded = {name: json.dumps(fact, sort_keys=True).encode() for name, fact in facts.items()}
        rows = self.all_gather([float(zlib.crc32(text)) for text in encoded.values()])
        for name, *checksums in zip(encoded, *rows, strict=True):
            rank = next((rank for rank, value in enumerate(checksums) if value != checksums[0]), None)
            if rank is not None:
                theirs = self.broadcast_text(encoded[name].decode())
                if self.rank.number == rank and not self.rank.is_rank_zero:
                    raise RankError(f"{name} is {encoded[name].decode()} here and {theirs} in rank 0; make them alike")
                raise mark_shared(UsageError(f"{name} of rank {rank} is not that of rank 0, {theirs}; make them alike"))

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
            why = f"one of them did not answer for {self.timeout:g} seconds" if slow else "one of them ended"
            raise RankError(self._describe_lost_processes(f"{why} ({_first_sentence(error)})")) from error

    def _describe_lost_processes(self, why: str) -> str:
        return (
            f"the {self.rank.world_size} processes of the run lost each other: {why}; what was saved before is "
            "whole: see "
            "what the others say, and go on with `ganzoo resume RUN`. `--set engine.timeout=SECONDS` waits longer"
        )


def _join_processes(this_rank: Rank, device: torch.device, timeout: float) -> tuple[Any, Any]:
    """Join the other processes; return the key-value store, and the group for gradients (None for the default)."""
    wait = timedelta(seconds=timeout)
    try:
        if not dist.is_initialized():
            store, rank, count = next(rendezvous("env://", timeout=wait))
            store.set_timeout(wait)
            dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=wait)
            _stores[:] = [PrefixStore("ganzoo", store)]
            atexit.register(_leave_processes)
        if not _stores:
            raise UsageError(
                "torch.distributed is set up already in this process; ganzoo sets it up itself under torchrun"
            )
        _stores.append(PrefixStore(f"run {len(_stores)}", _stores[0]))
        # NCCL kills a process that waits longer than its timeout; `TorchProcessGroup` raises a clear error before that.
        group = None if device.type == "cpu" else dist.new_group(backend="nccl", timeout=wait * 2)
    except RuntimeError as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise RankError(
            f"rank {this_rank.number} of {this_rank.world_size} on {socket.gethostname()} could not reach the others "
            f"at {where} "
            f"within {timeout:g} seconds ({_first_sentence(error)})"
        ) from error
    return _stores[-1], group


def _leave_processes() -> None:
    with contextlib.suppress(Exception):
        dist.destroy_process_group()


def _first_sentence(error: Exception) -> str:
    """The first sentence of PyTorch's message, without the source location."""
    return str(error).strip().partition("\n")[0].rpartition("] ")[2].partition(". ")[0][:160].rstrip(".")


def _flatten(tensor: torch.Tensor) -> torch.Tensor:
    """View a dense tensor as [numel], in memory order, without a copy."""
    return tensor.detach().as_strided((tensor.numel(),), (1,))
