"""One score by several ranks: each draws and looks at every so many parts, and rank 0 scores them in their order.

The parts are those of a single process, so the scores are the same to the bit where all compute alike, which rank 0
checks. An extractor that looks at all images at once does so in rank 0, and the others draw.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct, field

from ganzoo_core.distributed.file_exchange import FileExchange
from ganzoo_core.distributed.launchers import Launch, choose_gpu
from ganzoo_core.distributed.ranks import Rank, RankError
from ganzoo_core.engines.threads import choose_threads
from ganzoo_core.evaluation.client import Scorer
from ganzoo_core.evaluation.drawn_parts import ARRAYS, PartFiles, choose_part_size, draw_parts, name_files, select_files
from ganzoo_core.processes import Child, Say

GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"
NO_GPU = ("", "-1")  # in that variable; GPUs behind one of these are not seen


class PartRecord(Struct):
    """What a rank says of a part that it drew.

    Attributes:
        count, images, generator, conditional, paired: as the drawing process says them.
        conditions: see `Scorer.conditions`, in JSON.
        warnings: what happened to the rank since its last part, in words, for rank 0 to say.
    """

    count: int
    generator: str
    images: int
    conditional: bool
    paired: bool
    conditions: str
    warnings: list[str] = field(default_factory=list)


def make_environment(launch: Launch, device: str) -> dict[str, str]:
    """The environment of a rank's processes: its share of the machine's cores, and its own GPU as the only one.

    Args:
        launch: how the ranks were started.
        device: where images are drawn; on `cpu` processes that look at them may share a GPU.

    Raises:
        UsageError: if the machine has fewer GPUs than processes.
    """
    environment, rank = dict(os.environ), launch.rank
    if rank.is_alone:
        return environment
    threads = choose_threads({"engine.threads": 0}, "", rank)
    environment["OMP_NUM_THREADS"] = str(threads.number)
    seen = environment.get(GPU_VARIABLE)
    # No framework is loaded here that could count them: the driver has a file for each.
    gpus = sorted(path.name[6:] for path in Path("/dev").glob("nvidia[0-9]*")) if seen is None else seen.split(",")
    gpus = gpus[: next((index for index, gpu in enumerate(gpus) if gpu.strip() in NO_GPU), len(gpus))]
    count = len(gpus)
    if count:
        index = rank.local_rank % count if device == "cpu" else choose_gpu(launch, count)
        environment[GPU_VARIABLE] = str(index) if seen is None else gpus[index]
    return environment


def draw_for_rank_zero(
    exchange: FileExchange, scorer: Scorer, drawer: Child, request: Mapping[str, Any], number: int, folder: Path
) -> None:
    """Draw this rank's parts of a generator's images, look at them, and give their features to rank 0.

    Args:
        exchange: with the other ranks.
        scorer: extracts only.
        drawer: draws.
        request: to it.
        number: of the generator, among those that are scored.
        folder: where images are written; the caller removes it.

    Raises:
        RankError: if rank 0 has failed.
    """
    given = exchange.box / str(number)
    given.mkdir()
    drawn: dict[str, Any] = {}
    size, rank = choose_rank_part_size(scorer), exchange.rank
    looks = bool(scorer.batch)
    parts = draw_parts(drawer, request, folder if looks else given, size, drawn, lambda _: None, rank)
    if looks:
        parts = scorer.extract_parts(parts, (given / f"{index}.npz" for index in itertools.count(*find_stride(rank))))
    for index, _ in zip(itertools.count(*find_stride(rank)), parts, strict=False):
        facts = {name: drawn[name] for name in PartRecord.__struct_fields__ if name in drawn}
        exchange.put(_name_record(number, index), {**facts, "conditions": json.dumps(scorer.conditions)})
        exchange.check()


def gather_parts(
    exchange: FileExchange | None,
    scorer: Scorer,
    drawer: Child,
    request: Mapping[str, Any],
    number: int,
    folder: Path,
    drawn: dict[str, Any],
    say: Say,
) -> Iterator[PartFiles]:
    """Draw images part by part in rank 0, or alone, and yield all ranks' parts in order.

    Args:
        exchange: with the other ranks; None for a process on its own.
        scorer, drawer, request, number, folder: see `draw_for_rank_zero`.
        drawn: receives what the drawing process says.
        say: receives progress messages.

    Raises:
        RankError: if another rank has failed or ended, or computes otherwise.
    """
    if exchange is None:
        yield from draw_parts(drawer, request, folder, scorer.part_size, drawn, say)
        return
    own = draw_parts(drawer, request, folder, choose_rank_part_size(scorer), drawn, say, exchange.rank)
    parts = _interleave(exchange, scorer, own, number, drawn)
    if scorer.batch:
        yield from parts
    else:
        yield _join_parts(list(parts), folder)


def choose_rank_part_size(scorer: Scorer) -> int:
    """Images in a part of a rank: also for an extractor that looks at all at once, they are drawn in parts."""
    return choose_part_size(scorer.batch or 1)


def _interleave(
    exchange: FileExchange, scorer: Scorer, own: Iterator[PartFiles], number: int, drawn: Mapping[str, Any]
) -> Iterator[PartFiles]:
    size = choose_rank_part_size(scorer)
    for index in itertools.count():
        if index and index * size >= drawn["count"]:
            return
        owner = index % exchange.rank.world_size
        if owner == 0:
            yield next(own)
            continue
        record, box = exchange.take(owner, _name_record(number, index), PartRecord)
        check_alike(owner, record, scorer, drawn)
        given = box / str(number)
        if scorer.batch:
            yield {"extracted": str(given / f"{index}.npz")}
        else:
            paths = name_files(given, index * size)
            yield select_files(paths, conditional=record.conditional, paired=record.paired)


def check_alike(owner: int, record: PartRecord, scorer: Scorer, drawn: Mapping[str, Any]) -> None:
    """Raise RankError unless a rank draws from the same generator, and looks with the same extractor, as rank 0."""
    if (record.generator, record.count) != (drawn["generator"], drawn["count"]):
        raise RankError(
            f"rank {owner} drew from another generator than rank 0: the run has just saved a newer one, or this rank "
            "sees other data; score a snapshot with --checkpoint IMAGES, or wait until the run is over"
        )
    theirs = json.loads(record.conditions)
    for name, fact in scorer.conditions.items():
        if theirs.get(name) != fact:
            raise RankError(
                f"the {name} of rank {owner}, {theirs.get(name)}, differs from that of rank 0, {fact}, so the scores "
                "would be those of neither; make them alike"
            )


def _join_parts(parts: list[PartFiles], folder: Path) -> PartFiles:
    """One part of all images, for an extractor that looks at them at once."""
    joined: dict[str, str | None] = dict.fromkeys(ARRAYS)
    for name in ARRAYS:
        paths = [Path(path) for part in parts if (path := part[name]) is not None]
        if paths:
            joined[name] = str(folder / f"all-{name}.npy")
            np.save(folder / f"all-{name}.npy", np.concatenate([np.load(path, allow_pickle=False) for path in paths]))
        for used in paths:
            used.unlink()
    return joined


def find_stride(rank: Rank) -> tuple[int, int]:
    """The number of a rank's first part, and the step from one of its parts to the next."""
    return rank.number, rank.world_size


def _name_record(number: int, index: int) -> str:
    return f"{number}-{index}.json"
