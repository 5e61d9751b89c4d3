"""PyTorch's rows: the step of each model's plain.py beside the runner."""

from __future__ import annotations

import copy
import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from comparisons import Comparison, Row, RowSetup, find_package, iterate_batches
from pairs import Loop
from remote import RemoteLoop
from torch import nn
from torch_work import FlopCounter, MemoryCounter


def make_comparisons(row: Row, device: str) -> Iterator[Comparison]:
    """The row's only comparison, with the tutorial's loop too where there is one."""
    if not row.tutorial:
        yield make_comparison(row, device)
        return
    with RemoteLoop.start(row, device) as tutorial:
        found = make_comparison(row, device)
        yield replace(found, others=lambda: {**found.others(), "tutorial": tutorial})


def make_comparison(row: Row, device: str) -> Comparison:
    """The runner beside the loop of plain.py."""
    ours = RowSetup(row, device)
    trainer = ours.build_trainer()
    G, D = copy.deepcopy(trainer.G), copy.deepcopy(trainer.D)
    script = importlib.import_module(f"{find_package(row)}.plain")
    return Comparison(
        f"{row.size} px",
        ours.make_runner_loop(trainer),
        lambda: {"plain": make_plain_loop(script, ours, G, D)},
        lambda: count_gflop(script, ours, G, D),
        partial(ours.count_parameters, trainer),
    )


def collect_facts() -> dict[str, Any]:
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def make_plain_loop(script: Any, ours: RowSetup, G: nn.Module, D: nn.Module) -> Loop:
    """`train_step` of plain.py: channels last, fused Adam, no weight gradients of D in G's step."""
    plan, device, own = ours.plan, ours.engine.device, ours.plan.optimizer_g
    G, D = adapt_networks(ours.row, copy.deepcopy(G), copy.deepcopy(D))
    rates = {"lr": own.lr, "betas": own.betas, "eps": own.adam_eps, "fused": True}
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), **rates) for net in (G, D))
    images, orders = torch.from_numpy(ours.images).to(device), iterate_batches(len(ours.images), plan.batch_size)
    labels = None if (found := ours.row.make_labels()) is None else torch.from_numpy(found).to(device)
    everything = np.arange(len(images))
    sources = [torch.from_numpy(rows[everything]).to(device) for rows in ours.source.conditions.values()]

    def take_batch() -> Batch:
        order = torch.from_numpy(next(orders)).to(device)
        real, *conditions = ((rows[order].float() / 127.5 - 1).permute(0, 3, 1, 2) for rows in (images, *sources))
        return Batch(real, conditions, [] if labels is None else [labels[order]])

    def loop(steps: int) -> None:
        for _ in range(steps):
            z = torch.randn(plan.batch_size, plan.latent_dim, device=device)
            losses = script.train_step(G, D, opt_g, opt_d, *make_arguments(ours.row, take_batch, z))
        [loss.item() for loss in losses]  # a GPU has finished now

    return loop


def count_gflop(script: Any, ours: RowSetup, G: nn.Module, D: nn.Module) -> float:
    """GFLOP an image of one step of plain.py."""
    return count_step(script, ours, G, D)[0].flop / ours.plan.batch_size / 1e9


def count_step(script: Any, ours: RowSetup, G: nn.Module, D: nn.Module) -> tuple[FlopCounter, MemoryCounter]:
    """The work and the memory of one step of plain.py, on tensors without contents."""
    G, D = adapt_networks(ours.row, copy.deepcopy(G).to("meta"), copy.deepcopy(D).to("meta"))
    opts = [torch.optim.SGD(net.parameters(), lr=0.0) for net in (G, D)]
    z = torch.empty(ours.plan.batch_size, ours.plan.latent_dim, device="meta")
    with FlopCounter() as work, MemoryCounter() as memory:
        script.train_step(G, D, *opts, *make_arguments(ours.row, partial(make_empty_batch, ours), z))
    return work, memory


def make_empty_batch(ours: RowSetup) -> Batch:
    """A batch without contents."""
    row, count = ours.row, ours.plan.batch_size
    real, *conditions = (
        torch.empty(count, channels, row.size, row.size, device="meta")
        for channels in (row.channels, *(rows.shape[3] for rows in ours.source.conditions.values()))
    )
    return Batch(real, conditions, [torch.empty(count, dtype=torch.int64, device="meta")] if row.classes else [])


def count_model(row: Row) -> dict[str, Any]:
    """What `counts.py` keeps of a row, counted without a step."""
    ours = RowSetup(row, "cpu")
    G, D = ours.build_networks()
    work, memory = count_step(importlib.import_module(f"{find_package(row)}.plain"), ours, G, D)
    batch, z = make_empty_batch(ours), torch.empty(row.batch, ours.plan.latent_dim, device="meta")
    drawer, _ = adapt_networks(row, copy.deepcopy(G).to("meta").eval(), D)
    with FlopCounter() as drawing, torch.no_grad():
        drawer(*(batch.conditions or [z, *batch.labels]))
    return {
        "gflop": work.flop / row.batch / 1e9,
        "drawing_gflop": drawing.flop / row.batch / 1e9,
        "memory_mb": memory.peak / row.batch / 1e6,
        "parameters": {
            name: ours.engine.count_parameters(net) for name, net in (("generator", G), ("discriminator", D))
        },
        "batch_norm": {"generator": list_batch_norms(G), "discriminator": list_batch_norms(D)},
    }


def list_batch_norms(network: nn.Module) -> list[int]:
    """The channels of each layer of batch norm."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return [module.num_features for module in network.modules() if isinstance(module, kinds)]


def count_inception() -> float:
    """GFLOP of Inception for one image of 299 by 299 pixels."""
    from ganzoo_scores.inception import make_empty_network

    network = make_empty_network().eval()
    with FlopCounter() as counter, torch.no_grad():
        network(torch.empty(1, 3, 299, 299, dtype=torch.uint8, device="meta"))
    return counter.flop / 1e9


@dataclass(frozen=True)
class Batch:
    """Real images [N,C,H,W] in [-1, 1]; conditions of such a kind, and labels int64 [N], as far as there are any."""

    real: torch.Tensor
    conditions: list[torch.Tensor]
    labels: list[torch.Tensor]


def make_arguments(row: Row, take_batch: Callable[[], Batch], z: torch.Tensor) -> list[Any]:
    """What a model's `train_step` takes after its networks and optimizers; z [N,latent]."""
    batch = take_batch()
    if row.model == "r3gan-torch":  # G's step has real images of its own
        return [[batch.real, take_batch().real], z]
    if batch.conditions:  # G draws from them, without a z
        return [*batch.conditions, batch.real]
    return [batch.real, *batch.labels, z]


class WithoutLatent(nn.Module):
    """A generator that gets no z, called as plain.py does; source [N,C,H,W]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, source: torch.Tensor) -> Any:
        return self.network(source.new_empty(len(source), 0), source)


def adapt_networks(row: Row, G: nn.Module, D: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Networks that take what `make_arguments` gives them."""
    return (WithoutLatent(G) if row.model == "pix2pix-torch" else G), D


def measure_roof(size: int, device: str, dtype: torch.dtype = torch.float32) -> float:
    """GFLOP/s of the product of two matrices [size, size], the best of ten."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in "ab")
    times = []
    for _ in range(10):
        start = time.perf_counter()
        (a @ b)[0, 0].item()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times) / 1e9
