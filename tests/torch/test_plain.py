"""A model's `plain.py`, fed the same batches and noise, takes the same steps as the runner, to the bit."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from ganzoo_core import building, mix
from ganzoo_core.data.stream import Stream
from ganzoo_core.discovery import catalog
from ganzoo_core.randomness import latents, philox
from ganzoo_core.training import assemble, setup

STEPS, SEED = 20, 5


@pytest.mark.parametrize("model", ["dcgan-torch"])
def test_the_runner_takes_the_steps_of_plain(model: str, tmp_path: Path) -> None:
    plain = importlib.import_module(f"ganzoo_{model.replace('-', '_')}.plain")
    request = mix.Request(
        picks={"model": model, "data": "digits"},
        assigned={"train.report_every": "1steps", "train.seed": SEED, "engine.device": "cpu"},
        flags={"train.length": (f"{STEPS}steps", "--steps")},
    )
    resolved = mix.resolve(catalog.scan(), request)
    source = building.load_data(resolved)
    runner = assemble.open_run(setup.build(setup.load(resolved, None), quiet=True), out=tmp_path / "run")
    G, D = plain.Generator(), plain.Discriminator()
    G.load_state_dict(runner.trainer.G.state_dict())
    D.load_state_dict(runner.trainer.D.state_dict())
    ema = copy.deepcopy(G)
    assert runner.run()

    images = plain.load_images()
    assert len(images) == len(source.images)
    G, D = (network.to(memory_format=torch.channels_last) for network in (G, D))
    opt_g, opt_d = (
        torch.optim.Adam(network.parameters(), lr=plain.LR, betas=plain.BETAS, eps=1e-8, fused=True)
        for network in (G, D)
    )
    stream = Stream(len(images), seed=SEED, purpose="data")
    losses = []
    for step in range(STEPS):
        order = torch.from_numpy(stream.take_indices(step * plain.BATCH, plain.BATCH))
        real = (images[order].float() / 127.5 - 1).permute(0, 3, 1, 2)
        z = torch.from_numpy(latents(philox(SEED, "z", step, 0), plain.BATCH, plain.LATENT, "normal"))
        for group in (*opt_g.param_groups, *opt_d.param_groups):
            group["lr"] = plain.learning_rate(step * plain.BATCH, STEPS * plain.BATCH)
        losses.append(plain.train_step(G, D, opt_g, opt_d, real, z))
        plain.update_ema(ema, G, (step + 1) * plain.BATCH)

    told = runner.folder.read_stats()
    assert [line["discriminator/adversarial"] for line in told] == [float(d_loss) for d_loss, _ in losses]
    assert [line["generator/adversarial"] for line in told] == [float(g_loss) for _, g_loss in losses]
    for ours, theirs in ((runner.trainer.G, G), (runner.trainer.D, D), (runner.trainer.ema, ema)):
        for (name, value), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(value, other), name
    # And they did move.
    assert np.ptp([float(d_loss) for d_loss, _ in losses]) > 0.01
