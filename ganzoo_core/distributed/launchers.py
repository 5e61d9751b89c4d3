"""How this process was started: by torchrun, from `TF_CONFIG`, or by Slurm's srun, each of which sets environment
variables that say which process of how many it is, and where it meets the others.

Nothing here imports a framework. A `Launch` is the same for all of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ganzoo_core.distributed.host_list import expand_host_list
from ganzoo_core.distributed.ranks import Rank
from ganzoo_core.errors import UsageError
from ganzoo_core.frameworks import get_framework, name_distributed_frameworks

# Ports of jobs begin below those that Linux gives to outgoing connections (32768). A step has 64 of them; one with more
# processes on a node has as many as these.
_FIRST_PORT, _PORTS, _PORTS_PER_STEP = 10_000, 22_400, 64
_MOST_TASKS = 1_000_000


@dataclass(frozen=True)
class Launch:
    """How this process was started.

    Attributes:
        starter: what started it, such as `torchrun`; "" for a process on its own.
        rank: of this process.
        meeting_point: `HOST:PORT` at which rank 0, or the starter itself, waits for the others; "" if not told.
        addresses: `HOST:PORT` of each rank, in their order; empty if the starter does not tell.
        shares_gpus: whether all processes of a machine see the same GPUs; else one may see its own alone.
    """

    starter: str = ""
    rank: Rank = field(default_factory=Rank)
    meeting_point: str = ""
    addresses: tuple[str, ...] = ()
    shares_gpus: bool = True


def read_launch(environment: Mapping[str, str] = os.environ) -> Launch:
    """Read how this process was started; by itself, if no starter of the table says otherwise.

    torchrun comes first, since srun and clusters start it in their turn.

    Raises:
        UsageError: if a starter's variables make no sense.
    """
    launches = (read(environment) for read in _STARTERS)
    return next((launch for launch in launches if launch is not None), Launch())


def rank_from_env(environment: Mapping[str, str] = os.environ) -> Rank:
    """The rank that `read_launch` finds."""
    return read_launch(environment).rank


def check_launch(launch: Launch, *, framework: str, batch_size: int, accumulate: int = 1) -> None:
    """Check that the processes can share a run, before a framework is imported.

    Args:
        launch: how this process was started.
        framework: the mix's.
        batch_size: of all processes together.
        accumulate: parts in which each process computes its share.

    Raises:
        UsageError: if they cannot, with what to do instead.
    """
    rank, entry = launch.rank, get_framework(framework)
    if rank.is_alone:
        return
    if not entry.trains_in_several_processes:
        able = name_distributed_frameworks()
        raise UsageError(
            f"{launch.starter} started {rank.world_size} processes, and this model is written in {framework}; several "
            f"processes train in {able} only: pick a model in {able}, or train several runs beside each other, by "
            "`ganzoo sweep` or as a job array of Slurm"
        )
    if entry.needs_all_addresses and not launch.addresses:
        raise UsageError(
            f"{launch.starter} started {rank.world_size} processes on several machines, and tells each the first "
            f"machine's address only; {entry.title} needs all of them: start it by `srun ganzoo run …`, or set "
            "TF_CONFIG on each machine (docs/machines.md shows both)"
        )
    parts = rank.world_size * accumulate
    if batch_size % parts:
        choices = " or ".join(str(size * parts) for size in (batch_size // parts, batch_size // parts + 1) if size)
        each = f", of which each computes {accumulate} parts (train.accumulate)" if accumulate > 1 else ""
        raise UsageError(
            f"train.batch_size is {batch_size}, of all {rank.world_size} processes together{each}, and cannot be "
            f"shared evenly; say --batch-size {choices}"
        )


def choose_gpu(launch: Launch, count: int) -> int:
    """The index of this process's GPU among the visible ones.

    Args:
        launch: how this process was started.
        count: GPUs that it sees.

    Raises:
        UsageError: if the machine has fewer GPUs than processes.
    """
    rank = launch.rank
    if count == 1 and not launch.shares_gpus:
        return 0
    if rank.local_rank >= count:
        import socket

        raise UsageError(
            f"{launch.starter} started {rank.local_world_size} processes on {socket.gethostname()}, which has {count} "
            f"GPUs; start {count} on it, or say --device cpu"
        )
    return rank.local_rank


def note_unused_gpus(framework: str, count: int) -> tuple[str, ...]:
    """A note for the user if a run of one process sees several GPUs, and its framework could use them.

    Args:
        framework: its name.
        count: visible GPUs.
    """
    if count < 2:
        return ()
    return (
        f"{get_framework(framework).title} sees {count} GPUs, and a run in one process uses the first; "
        f"`torchrun --nproc-per-node {count} -m ganzoo_core run …` uses all (docs/machines.md says how else), and "
        "CUDA_VISIBLE_DEVICES=1 puts another run on the second",
    )


def _read_torchrun(environment: Mapping[str, str]) -> Launch | None:
    # Schedulers also set RANK and WORLD_SIZE in shells; only torchrun sets LOCAL_RANK.
    if not all(environment.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")):
        return None
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    rank = _make_rank({name: environment.get(name) or "1" for name in names}, "torchrun")
    host, port = environment.get("MASTER_ADDR", ""), environment.get("MASTER_PORT", "")
    if not host or not _is_count(port):
        return Launch("torchrun", rank)
    addresses: tuple[str, ...] = ()
    if rank.local_world_size == rank.world_size:
        # torchrun itself listens at its port.
        ports = (1024 + (int(port) + 1 + number - 1024) % (65536 - 1024) for number in range(rank.world_size))
        addresses = tuple(f"127.0.0.1:{each}" for each in ports)
    return Launch("torchrun", rank, f"{host}:{port}", addresses)


def _read_tf_config(environment: Mapping[str, str]) -> Launch | None:
    """`{"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", "index": 0}}`; a `chief` comes first."""
    text = environment.get("TF_CONFIG")
    if not text:
        return None
    import json

    damaged = UsageError("the environment's TF_CONFIG is no JSON of a cluster; unset it, or correct it")
    try:
        config: Any = json.loads(text)
        cluster = {job: list(members) for job, members in config.get("cluster", {}).items()}
        task = config.get("task", {})
        job, index = str(task.get("type")), task.get("index", 0)
    except (AttributeError, TypeError, ValueError):
        raise damaged from None
    addresses = (*cluster.get("chief", ()), *cluster.get("worker", ()))
    if sum(len(members) for members in cluster.values()) < 2:
        return None
    if not all(isinstance(each, str) and re.fullmatch(r"[^\s/?#]+:[0-9]{1,5}", each) for each in addresses):
        raise damaged
    others = sorted(job for job, members in cluster.items() if members and job not in ("chief", "worker"))
    if others:
        raise UsageError(f"TF_CONFIG has tasks of {', '.join(others)}; the processes of a run are `chief` and `worker`")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(cluster.get(job, ())):
        raise UsageError(f"TF_CONFIG says that this is task {index} of {job}, which is not in its cluster")
    number = index + (len(cluster.get("chief", ())) if job == "worker" else 0)
    hosts = [address.rpartition(":")[0] for address in addresses]
    local = hosts[:number].count(hosts[number])
    rank = Rank(number, len(addresses), local, hosts.count(hosts[number]))
    return Launch("TF_CONFIG", rank, addresses[0], addresses, shares_gpus=False)


def _read_slurm(environment: Mapping[str, str]) -> Launch | None:
    # The tasks of this srun step. SLURM_NTASKS counts those of the whole job, where a single process may run alone.
    count = environment.get("SLURM_STEP_NUM_TASKS", "")
    if not _is_count(count) or int(count) < 2:
        return None
    tasks_by_node = _read_tasks_by_node(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    hosts = expand_host_list(environment.get("SLURM_STEP_NODELIST", ""))
    places = [(node, local) for node, tasks in enumerate(tasks_by_node) for local in range(tasks)]
    if len(hosts) != len(tasks_by_node) or len(places) != int(count):
        names = ("SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NODELIST")
        listing = ", ".join(f"{name}={environment.get(name, '')}" for name in names)
        raise UsageError(f"the environment says {listing}, which do not fit together; let srun set all of them")
    number = environment.get("SLURM_PROCID", "")
    node, local = places[int(number)] if _is_count(number) and int(number) < len(places) else (0, -1)
    if environment.get("SLURM_LOCALID") != str(local):
        raise UsageError(
            f"srun's task {number} is not where it is when nodes are filled one after the other; say "
            "srun --distribution=block"
        )
    rank = Rank(int(number), len(places), local, tasks_by_node[node])
    # A port for each task, as long as they are few; else one for each of a node.
    ports = [local for _, local in places] if len(places) > _PORTS_PER_STEP else list(range(len(places)))
    first = _derive_port(environment.get("SLURM_JOB_ID", ""), environment.get("SLURM_STEP_ID", ""), max(ports) + 1)
    addresses = tuple(f"{hosts[at]}:{first + port}" for port, (at, _) in zip(ports, places, strict=True))
    return Launch("srun", rank, addresses[0], addresses, shares_gpus=False)


# The starters, first the one that the others start.
_STARTERS: Sequence[Callable[[Mapping[str, str]], Launch | None]] = (_read_torchrun, _read_tf_config, _read_slurm)


def _make_rank(variables: Mapping[str, str], starter: str) -> Rank:
    """A rank from its number, the world's size, the local rank and the local world's size."""
    try:
        rank = Rank(*map(int, variables.values()))
    except ValueError:
        rank = Rank(-1)
    if not (0 <= rank.number < rank.world_size and 0 <= rank.local_rank < rank.local_world_size <= rank.world_size):
        listing = ", ".join(f"{name}={text}" for name, text in variables.items())
        raise UsageError(f"the environment says {listing}, which is no process of a run; let {starter} set all of them")
    return rank


def _is_count(text: str) -> bool:
    return re.fullmatch("[0-9]{1,9}", text) is not None


def _read_tasks_by_node(text: str) -> list[int]:
    """`2(x3),1` -> 2, 2, 2, 1; empty if it is none."""
    counts: list[int] = []
    for word in text.split(","):
        found = re.fullmatch(r"([0-9]{1,6})(?:\(x([0-9]{1,6})\))?", word)
        if found is None:
            return []
        counts += [int(found[1])] * int(found[2] or 1)
        if sum(counts) > _MOST_TASKS:
            return []
    return counts


def _derive_port(job: str, step: str, count: int) -> int:
    """The port of a step's rank 0; the others have the following ones. Jobs of near numbers have different ports.

    Args:
        job, step: their numbers.
        count: ports of the step.
    """
    place = (int(job) if _is_count(job) else 0) + 37 * (int(step) if _is_count(step) else 0)
    ports = max(_PORTS_PER_STEP, count)
    return _FIRST_PORT + place % max(1, _PORTS // ports) * ports
