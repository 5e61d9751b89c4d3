"""What the processes of a run say to each other in PyTorch: one flat all-reduce for each phase, and a few small things.

`DistributedDataParallel` is not used. It averages gradients by hooks that it ties to one forward and one whole
`backward()`; a step here calls D several times, differentiates by one network's weights alone
(`backward(inputs=…)`) and by images first where there is a penalty. So each phase first computes all its gradients and
then averages them, as Karras et al. do.
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

from ganzoo_core.distributed.ranks import Place, RankError, shared
from ganzoo_core.errors import GanzooError, UsageError

T = TypeVar("T")
LAG = 2  # all-reduces after which a GPU's word on whether to stop is read, so that reading it waits for nothing
_FINE, _DISK, _OTHER = 0, 1, 2  # how something that rank 0 did alone ended
_stores: list[Any] = []  # the one that the processes met at; a process joins once


class Group:
    """The processes of a run; see `ranks.Together` for the methods that the runner uses.

    Args:
        place: which one this is.
        device: where its gradients lie.
        timeout: seconds that it waits for the others in a step.
    """

    def __init__(self, place: Place, *, device: torch.device, timeout: float) -> None:
        self.place, self.device, self.timeout = place, device, timeout
        self.store, self.gradients = _join(place, device, timeout)
        self._asked: Callable[[], bool] = lambda: False
        self._stops = False
        self._flags: deque[tuple[Any, torch.Tensor]] = deque()
        self._acts = 0

    def rows(self, count: int) -> slice:
        """This rank's rows of a batch of `count` samples."""
        own = count // self.place.count
        return slice(self.place.rank * own, (self.place.rank + 1) * own)

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its mean over the ranks, in one all-reduce; float32, laid out alike in all ranks.

        A word on whether to stop rides along.
        """
        asked = torch.full((1,), float(self._asked()), device=self.device)
        flat = torch.cat([*(_flat(tensor) for tensor in tensors), asked])
        with self._told():
            dist.all_reduce(flat, group=self.gradients)
        self._hear(flat[-1:])
        flat.div_(self.place.count)
        # Copied into the tensors as they lie in memory: fused optimizers take a gradient for laid out as its parameter.
        parts = flat[:-1].split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_([_flat(tensor) for tensor in tensors], list(parts))

    def _hear(self, flag: torch.Tensor) -> None:
        """Take in how many ranks were asked to stop. All ranks do so after the same all-reduce."""
        if self.device.type == "cpu":
            self._stops = flag.item() > 0
            return
        kept = torch.empty(1, pin_memory=True).copy_(flag, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._flags.append((event, kept))
        if len(self._flags) > LAG:
            event, kept = self._flags.popleft()
            self._await(event.query)
            self._stops = kept.item() > 0

    def _await(self, is_done: Callable[[], bool]) -> None:
        since = time.monotonic()
        while not is_done():
            waited = time.monotonic() - since
            if waited > self.timeout:
                raise RankError(self._lost(f"they did not answer for {self.timeout:g} seconds"))
            time.sleep(min(1e-4, waited))

    def agreed(self, asked: Callable[[], bool]) -> Callable[[], bool]:
        self._asked, self._stops = asked, False
        self._flags.clear()
        return lambda: self._stops

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """The sum over the ranks of each number."""
        return [float(total) for total in self._gathered(numbers).sum(axis=0)]

    def gathered(self, numbers: Sequence[float]) -> list[list[float]]:
        """Every rank's numbers, in the order of the ranks."""
        return [[float(number) for number in row] for row in self._gathered(numbers)]

    def _gathered(self, numbers: Sequence[float]) -> np.ndarray:
        own = torch.tensor(list(numbers), dtype=torch.float64)
        found = [torch.empty_like(own) for _ in range(self.place.count)]
        with self._told():
            dist.all_gather(found, own)
        return torch.stack(found).numpy()

    def chosen(self, number: int) -> int:
        kept = torch.tensor([number], dtype=torch.int64)
        with self._told():
            dist.broadcast(kept, 0)
        return int(kept.item())

    def named(self, text: str) -> str:
        content = text.encode()
        kept = torch.zeros(self.chosen(len(content)), dtype=torch.uint8)
        if self.place.leads:
            kept = torch.tensor(list(content), dtype=torch.uint8)
        with self._told():
            dist.broadcast(kept, 0)
        return bytes(kept.tolist()).decode()

    def every(self, fine: bool, problem: str) -> None:
        wrong = [rank for rank, (found,) in enumerate(self.gathered([float(fine)])) if not found]
        if not fine:
            raise RankError(problem)
        if wrong:
            raise shared(RankError(f"rank {wrong[0]} cannot go on, and says why"))

    def first(self, act: Callable[[], T], *, long: bool = False) -> T | None:
        result, error, ended = None, None, _FINE
        self._acts += 1
        if self.place.leads:
            with self._busy(f"act {self._acts}") if long else contextlib.nullcontext():
                try:
                    result = act()
                except BaseException as raised:  # KeyboardInterrupt too: the others wait for a word
                    error, ended = raised, _DISK if isinstance(raised, OSError) else _OTHER
        elif long:
            self._wait_for(f"act {self._acts}")
        ended = self.chosen(ended)
        if error is not None:
            raise error
        if ended == _DISK:
            raise OSError("rank 0 could not write")
        if ended == _OTHER:
            raise shared(RankError("rank 0 cannot go on, and says why"))
        return result

    @contextlib.contextmanager
    def _busy(self, name: str) -> Iterator[None]:
        """Let the others know, as long as it takes, that this rank is at work."""
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
            with self._told():
                self.store.add(f"{name} is over", 1)

    def _wait_for(self, name: str) -> None:
        heard, beats = time.monotonic(), 0
        with self._told():
            while not self.store.add(f"{name} is over", 0):
                now = self.store.add(f"{name} beats", 0)
                if now != beats:
                    heard, beats = time.monotonic(), now
                if time.monotonic() - heard > self.timeout:
                    raise RankError(self._lost(f"rank 0 gave no sign for {self.timeout:g} seconds"))
                time.sleep(min(0.2, self.timeout / 20))

    def share(self, network: torch.nn.Module) -> None:
        """Give every rank rank 0's weights and buffers."""
        with torch.no_grad(), self._told():
            for tensor in network.state_dict().values():
                kept = tensor.detach().cpu().contiguous()
                dist.broadcast(kept, 0)
                tensor.copy_(kept)

    def check_alike(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Raise RankError in all ranks unless these tensors are the same in each, to the bit."""
        sums = [zlib.crc32(np.asarray(array, order="C").tobytes()) for array in tensors.values()]
        rows = self.gathered([float(found) for found in sums])
        for name, *found in zip(tensors, *rows, strict=True):
            if len(set(found)) > 1:
                rank = next(rank for rank, value in enumerate(found) if value != found[0])
                raise shared(
                    RankError(
                        f"the processes came apart: {name} of rank {rank} differs from that of rank 0; what was saved "
                        "before is whole. Networks and losses must not draw from generators of their own, nor depend "
                        "on which process they are in"
                    )
                )

    def check_facts(self, facts: Mapping[str, Any]) -> None:
        """Raise UsageError in all ranks unless versions, data and the like are the same in each."""
        told = {name: json.dumps(fact, sort_keys=True).encode() for name, fact in facts.items()}
        rows = self.gathered([float(zlib.crc32(text)) for text in told.values()])
        for name, *found in zip(told, *rows, strict=True):
            rank = next((rank for rank, value in enumerate(found) if value != found[0]), None)
            if rank is not None:
                theirs = self.named(told[name].decode())
                if self.place.rank == rank and not self.place.leads:
                    raise RankError(f"{name} is {told[name].decode()} here and {theirs} in rank 0; make them alike")
                raise shared(UsageError(f"{name} of rank {rank} is not that of rank 0, {theirs}; make them alike"))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """An error of PyTorch's in words: another process stands still, or is gone."""
        try:
            yield
        except GanzooError:
            raise
        except RuntimeError as error:  # dist.DistError is one
            words = str(error).lower()
            slow = "timed out" in words or "timeout" in words
            why = f"one of them did not answer for {self.timeout:g} seconds" if slow else "one of them ended"
            raise RankError(self._lost(f"{why} ({_short(error)})")) from error

    def _lost(self, why: str) -> str:
        return (
            f"the {self.place.count} processes of the run lost each other: {why}; what was saved before is whole: see "
            "what the others say, and go on with `ganzoo resume`. `--set engine.timeout=SECONDS` waits longer"
        )


def device_of(device: torch.device, place: Place) -> torch.device:
    """The device of one of several processes on a machine: a GPU of its own, or the CPU.

    Raises:
        UsageError: if there is none left.
    """
    if device.type != "cuda":
        return torch.device("cpu") if device.type == "mps" else device  # nothing connects processes on MPS
    there = torch.cuda.device_count()
    if place.local >= there:
        raise UsageError(
            f"torchrun started {place.local_count} processes on {socket.gethostname()}, which has {there} GPUs; say "
            f"--nproc-per-node {there}, or --device cpu"
        )
    torch.cuda.set_device(place.local)
    return torch.device("cuda", place.local)


def _join(place: Place, device: torch.device, timeout: float) -> tuple[Any, Any]:
    """Meet the others; returns the store of small words, and the group that averages gradients (None for the usual)."""
    wait = timedelta(seconds=timeout)
    try:
        if not dist.is_initialized():
            store, rank, count = next(rendezvous("env://", timeout=wait))
            store.set_timeout(wait)
            dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=wait)
            _stores[:] = [PrefixStore("ganzoo", store)]
            atexit.register(_leave)
        if not _stores:
            raise UsageError(
                "torch.distributed is set up already in this process; ganzoo sets it up itself under torchrun"
            )
        _stores.append(PrefixStore(f"run {len(_stores)}", _stores[0]))
        # NCCL ends a process that waits longer than its timeout; what waits in `Group` says why before that.
        group = None if device.type == "cpu" else dist.new_group(backend="nccl", timeout=wait * 2)
    except RuntimeError as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise RankError(
            f"rank {place.rank} of {place.count} on {socket.gethostname()} could not reach the others at {where} "
            f"within {timeout:g} seconds ({_short(error)})"
        ) from error
    return _stores[-1], group


def _leave() -> None:
    with contextlib.suppress(Exception):
        dist.destroy_process_group()


def _short(error: Exception) -> str:
    """The first sentence of what PyTorch says, without the place in its sources."""
    return str(error).strip().partition("\n")[0].rpartition("] ")[2].partition(". ")[0][:160].rstrip(".")


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """A dense tensor's numbers [numel] in the order in which they lie in memory; no copy."""
    return tensor.detach().as_strided((tensor.numel(),), (1,))
