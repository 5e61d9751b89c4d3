"""dcgan-torch: the runner, a plain loop of the same networks, and the loop that tutorials teach.

python benchmarks/torch_dcgan.py --size 64 --width 64 --batch 64
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pairs import measure, report
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from ganzoo_core import building, catalog, engines, mix

LATENT, LR, BETAS = 100, 2e-4, (0.5, 0.999)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()

    images = np.random.default_rng(0).integers(0, 256, (2048, args.size, args.size, 1), dtype=np.uint8)
    settings = {"width": args.width, "train.batch_size": args.batch, "latent_dim": LATENT, "data.size": args.size}
    request = mix.Request(
        picks={"model": "dcgan-torch", "data": "shapes"}, assigned={**settings, "data.size": args.size}
    )
    resolved = mix.resolve(catalog.scan(), request)
    fitted = mix.fit(resolved, height=args.size, width=args.size, channels=1, classes=0, background=None)
    fitted = type(fitted)(type(fitted.spec)(**{**vars(fitted.spec), "channels": 1}), fitted.framing)
    engine = engines.create("torch", resolved.settings)
    G, D = building.networks(engine, resolved, fitted, {})
    plan = building.plan_of(resolved)
    trainer = engine.trainer(G, D, building.loss_of(resolved, fitted), plan, images, None)
    position = 0

    def runner(steps: int) -> None:
        nonlocal position
        for _ in range(steps):
            trainer.step(position, position * args.batch, {})
            position += 1
        trainer.read()

    with FlopCounterMode(display=False) as counter:
        runner(1)
    gflop = counter.get_total_flops() / args.batch / 1e9
    loops = {"runner": runner, "plain": plain(G, D, images, args.batch), "tutorial": tutorial(G, D, images, args.batch)}
    found = measure(loops, images=args.batch, steps=args.steps, pairs=args.pairs)
    roof = matrix_roof()
    best = sorted(found["rates"]["runner"])[len(found["rates"]["runner"]) // 2]
    facts = {
        "size": args.size,
        "width": args.width,
        "batch": args.batch,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "GFLOP an image": round(gflop, 3),
        "roof GFLOP/s": round(roof, 1),
        "utilisation": f"{best * gflop / roof:.0%}",
    }
    report("dcgan-torch", found, facts, base="runner", out=args.json)


def plain(G: nn.Module, D: nn.Module, images: np.ndarray, batch: int):
    """The loop of `plain.py`: channels last, fused Adam, no weight gradients of D in G's step."""
    G, D = copy.deepcopy(G), copy.deepcopy(D)
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=LR, betas=BETAS, fused=True) for net in (G, D))
    data, rng = torch.from_numpy(images), np.random.default_rng(0)

    def loop(steps: int) -> None:
        for _ in range(steps):
            order = torch.from_numpy(rng.integers(0, len(data), batch))
            real = (data[order].float() / 127.5 - 1).permute(0, 3, 1, 2)
            fake = G(torch.randn(batch, LATENT))
            d_loss = F.softplus(-D(real)).mean() + F.softplus(D(fake.detach())).mean()
            opt_d.zero_grad(set_to_none=True)
            d_loss.backward(inputs=list(D.parameters()))
            opt_d.step()
            g_loss = F.softplus(-D(fake)).mean()
            opt_g.zero_grad(set_to_none=True)
            g_loss.backward(inputs=list(G.parameters()))
            opt_g.step()

    return loop


def tutorial(G: nn.Module, D: nn.Module, images: np.ndarray, batch: int):
    """The usual shape: a DataLoader, Adam as it comes, D's gradients computed in G's step, `.item()` each step."""
    G, D = (copy.deepcopy(net).to(memory_format=torch.contiguous_format) for net in (G, D))
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=LR, betas=BETAS) for net in (G, D))
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()
    loader = DataLoader(TensorDataset(tensor), batch_size=batch, shuffle=True, drop_last=True)
    criterion, source = nn.BCEWithLogitsLoss(), iter(loader)
    ones, zeros = torch.ones(batch), torch.zeros(batch)

    def loop(steps: int) -> None:
        nonlocal source
        for _ in range(steps):
            found = next(source, None)
            if found is None:
                source = iter(loader)
                found = next(source)
            D.zero_grad()
            real_loss = criterion(D(found[0]), ones)
            real_loss.backward()
            fake = G(torch.randn(batch, LATENT))
            fake_loss = criterion(D(fake.detach()), zeros)
            fake_loss.backward()
            opt_d.step()
            G.zero_grad()
            g_loss = criterion(D(fake), ones)
            g_loss.backward()
            opt_g.step()
            _ = (real_loss + fake_loss).item(), g_loss.item()

    return loop


def matrix_roof(size: int = 2048, repeats: int = 10) -> float:
    """GFLOP/s of a float32 matrix product, the median of several."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * size**3 / sorted(times)[repeats // 2] / 1e9


if __name__ == "__main__":
    main()
