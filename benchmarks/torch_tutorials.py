"""The loop in the shape that PyTorch's tutorials teach, for a process of its own; see `remote`."""

from __future__ import annotations

import importlib

import torch
from comparisons import Row, find_package
from pairs import Loop
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ganzoo_core.engines import count_available_cores

BETAS, LR, LATENT = (0.5, 0.999), 2e-4, 100


def make_networks(row: Row) -> tuple[nn.Module, nn.Module]:
    """G and D of the row's model, in memory as PyTorch lays them out without being told.

    The generators reshape to channels last in their forward, which no tutorial's does, so that is turned back here.
    """
    module = importlib.import_module(f"{find_package(row)}.networks")
    size = {"size": row.size, "channels": 1, "width": row.settings["model.width"]}
    size |= {"classes": row.classes} if row.classes else {}
    G = module.Generator(**size, latent_dim=LATENT, **({"embedding": 50} if row.model == "cgan-torch" else {}))
    first = G.blocks[0] if hasattr(G, "blocks") else G.layers
    first.register_forward_pre_hook(lambda _module, given: (given[0].contiguous(), *given[1:]))
    return G, module.Discriminator(**size)


def make_loop(row: Row, _resolution: int, device: str) -> Loop:
    """A DataLoader, Adam as it comes, D's gradients computed in G's step, `.item()` each step."""
    torch.set_num_threads(count_available_cores())
    G, D = (network.to(device) for network in make_networks(row))
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=LR, betas=BETAS) for net in (G, D))
    tensor = torch.from_numpy(row.make_images()).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()
    labels = row.make_labels()
    columns = [tensor] if labels is None else [tensor, torch.from_numpy(labels)]
    loader = DataLoader(TensorDataset(*columns), batch_size=row.batch, shuffle=True, drop_last=True)
    criterion, source = nn.BCEWithLogitsLoss(), iter(loader)
    ones, zeros = torch.ones(row.batch, device=device), torch.zeros(row.batch, device=device)

    def loop(steps: int) -> None:
        nonlocal source
        for _ in range(steps):
            found = next(source, None)
            if found is None:
                source = iter(loader)
                found = next(source)
            real, *extra = (column.to(device) for column in found)
            D.zero_grad()
            real_loss = criterion(D(real, *extra), ones)
            real_loss.backward()
            fake = G(torch.randn(row.batch, LATENT, device=device), *extra)
            fake_loss = criterion(D(fake.detach(), *extra), zeros)
            fake_loss.backward()
            opt_d.step()
            G.zero_grad()
            g_loss = criterion(D(fake, *extra), ones)
            g_loss.backward()
            opt_g.step()
            _ = (real_loss + fake_loss).item(), g_loss.item()

    return loop
