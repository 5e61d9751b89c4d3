"""`plain.py`, fed the same batches, labels and noise, takes the same steps as the runner, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ganzoo_cgan_torch import plain
from ganzoo_core import mix
from ganzoo_core.data.stream import Stream
from ganzoo_core.discovery import catalog
from ganzoo_core.randomness import latents, philox
from ganzoo_core.training import assemble, setup

STEPS, SEED = 30, 5


def test_the_runner_takes_the_steps_of_plain(tmp_path: Path) -> None:
    request = mix.Request(
        picks={"model": "cgan-torch", "data": "digits"},
        assigned={
            "train.report_every": "1steps",
            "train.seed": SEED,
            "engine.device": "cpu",
            "engine.threads": 1,  # as few for both: sums over more threads may be added in another order
        },
        flags={"train.length": (f"{STEPS}steps", "--steps")},
    )
    resolved = mix.resolve(catalog.scan(), request)
    runner = assemble.open_run(setup.build(setup.load(resolved, None), quiet=True), out=tmp_path / "run")
    G, D = plain.Generator(), plain.Discriminator()
    G.load_state_dict(runner.trainer.G.state_dict())
    D.load_state_dict(runner.trainer.D.state_dict())
    assert runner.run()

    images, labels = plain.load_images()
    G, D = (network.to(memory_format=torch.channels_last) for network in (G, D))
    opt_g, opt_d = (
        torch.optim.Adam(network.parameters(), lr=plain.LR, betas=plain.BETAS, eps=1e-8, fused=True)
        for network in (G, D)
    )
    stream = Stream(len(images), seed=SEED, purpose="data")
    losses = []
    for step in range(STEPS):  # more than an epoch: a batch straddles its end
        order = torch.from_numpy(stream.take_indices(step * plain.BATCH, plain.BATCH))
        real = (images[order].float() / 127.5 - 1).permute(0, 3, 1, 2)
        z = torch.from_numpy(latents(philox(SEED, "z", step, 0), plain.BATCH, plain.LATENT, "normal"))
        losses.append(plain.train_step(G, D, opt_g, opt_d, real, labels[order], z))

    told = runner.folder.read_stats()
    assert [line["discriminator/adversarial"] for line in told] == [float(d_loss) for d_loss, _ in losses]
    assert [line["generator/adversarial"] for line in told] == [float(g_loss) for _, g_loss in losses]
    for ours, theirs in ((runner.trainer.G, G), (runner.trainer.D, D)):
        for (name, value), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(value, other), name
    # And they did move.
    assert np.ptp([float(d_loss) for d_loss, _ in losses]) > 0.01
