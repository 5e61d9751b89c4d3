"""PyTorch's rows: the step of each model's plain.py beside the runner."""

from __future__ import annotations

import copy
import importlib
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from comparisons import Comparison, Row, RowSetup, find_package, iterate_batches
from pairs import Loop
from remote import RemoteLoop
from torch import nn
from torch_work import FlopCounter


def make_comparisons(row: Row, device: str) -> Iterator[Comparison]:
    """The row's only comparison."""
    ours = RowSetup(row, device)
    trainer = ours.build_trainer()
    G, D = copy.deepcopy(trainer.G), copy.deepcopy(trainer.D)
    script = importlib.import_module(f"{find_package(row)}.plain")

    with RemoteLoop.start(row, device) as tutorial:
        others: dict[str, Loop] = {"tutorial": tutorial}
        yield Comparison(
            f"{row.size} px",
            ours.make_runner_loop(trainer),
            lambda: {"plain": make_plain_loop(script, ours, G, D), **others},
            lambda: count_gflop(script, ours, G, D),
            partial(ours.count_parameters, trainer),
        )


def collect_facts() -> dict[str, Any]:
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def make_plain_loop(script: Any, ours: RowSetup, G: nn.Module, D: nn.Module) -> Loop:
    """`train_step` of plain.py: channels last, fused Adam, no weight gradients of D in G's step."""
    plan, device, own = ours.plan, ours.engine.device, ours.plan.optimizer_g
    G, D = copy.deepcopy(G), copy.deepcopy(D)
    rates = {"lr": own.lr, "betas": own.betas, "eps": own.adam_eps, "fused": True}
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), **rates) for net in (G, D))
    images, orders = torch.from_numpy(ours.images).to(device), iterate_batches(len(ours.images), plan.batch_size)
    labels = None if (found := ours.row.make_labels()) is None else torch.from_numpy(found).to(device)

    def loop(steps: int) -> None:
        for _ in range(steps):
            order = torch.from_numpy(next(orders)).to(device)
            real = (images[order].float() / 127.5 - 1).permute(0, 3, 1, 2)
            given = () if labels is None else (labels[order],)
            z = torch.randn(plan.batch_size, plan.latent_dim, device=device)
            losses = script.train_step(G, D, opt_g, opt_d, real, *given, z)
        [loss.item() for loss in losses]  # a GPU has finished now

    return loop


def count_gflop(script: Any, ours: RowSetup, G: nn.Module, D: nn.Module) -> float:
    """GFLOP an image: one step of plain.py on tensors without contents; see `FlopCounter`."""
    G, D = copy.deepcopy(G).to("meta"), copy.deepcopy(D).to("meta")
    opts = [torch.optim.SGD(net.parameters(), lr=0.0) for net in (G, D)]
    row, count = ours.row, ours.plan.batch_size
    real = torch.empty(count, 1, row.size, row.size, device="meta")
    labels = (torch.empty(count, dtype=torch.int64, device="meta"),) if row.classes else ()
    with FlopCounter() as counter:
        script.train_step(G, D, *opts, real, *labels, torch.empty(count, ours.plan.latent_dim, device="meta"))
    return counter.flop / count / 1e9


def measure_roof(size: int, device: str) -> float:
    """GFLOP/s of the product of two float32 matrices [size, size], the best of ten."""
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        (a @ b)[0, 0].item()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times) / 1e9
