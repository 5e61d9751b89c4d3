"""What `test_ranks.py` lets torchrun start: several short runs, one after the other, in each of the processes.

    torchrun --nproc-per-node 2 tests/torch/ranks_played.py FOLDER NAMES

After every step the processes compare all their parameters, each with each.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

import ganzoo_core as gz
from ganzoo_core.engines.torch.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parents[1]))
from small_losses import SharedAndOwn

STEPS, BATCH = 8, 12
SMALL: dict[str, Any] = {
    "generator.width": 4, "discriminator.width": 4, "model.latent_dim": 8, "model.norm": "layer", "data.size": 16,
    "train.batch_size": BATCH, "train.report_every": "3steps", "train.checkpoint_every": "5steps",
    "train.sample_count": 4, "train.lr": 1e-3, "engine.threads": 1, "engine.device": "cpu", "engine.timeout": 60,
}  # fmt: skip


class Centred:
    """Least squares around a moving average of D's scores of reals, which is kept from step to step."""

    def __init__(self) -> None:
        self.memory = {"centre": 0.25}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops, centre = step.ops, step.memory["centre"]
        real, fake = step.D(step.real), step.D(step.fake)
        step.memory["centre"] = 0.9 * centre + 0.1 * ops.mean(real)
        noise = ops.normal(tuple(real.shape))  # a row a sample, which the processes must share
        return {"adversarial": ops.mean(ops.square(real - centre - 1 + noise)) + ops.mean(ops.square(fake - centre))}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.square(step.D(step.fake) - 1))}


MIXES: dict[str, dict[str, Any]] = {
    "non-saturating": {"train.ema_halflife": 50},
    "hinge": {"use.loss": "hinge", "train.updates": "simultaneous"},
    "wgan-gp": {"use.loss": "wgan-gp", "train.critic_steps": 2},
    "r1": {"use.with": "r1", "train.optimizer": "sgd", "train.momentum": 0.9, "train.lr": 1e-2},
    "relativistic": {"use.loss": "relativistic", "use.with": "spectral-norm"},
    "spectral vectors of both": {
        "use.with": "spectral-norm", "with.spectral-norm.networks": "discriminator,generator", "train.critic_steps": 2,
        "train.ema_halflife": 50,
    },
    "r3gan-torch": {
        "use.loss": "relativistic",
        "model.conditional": True,
        "use.schedule": "cosine",
        "schedule.images": 60,
        "schedule.gamma_ends": [1.0, 0.1],
        "schedule.ema_halflife_ends": [0.0, 50.0],
    },
    "memory": {},
    "own": {"train.critic_steps": 2, "use.schedule": "constant"},
    "conditions": {"train.critic_steps": 2, "train.ema_halflife": 50},
    "parts": {"use.loss": "wgan-gp", "train.accumulate": 3, "train.clip_norm": 0.5, "train.optimizer": "adamw"},
    "parts and memory": {"train.accumulate": 2, "train.updates": "simultaneous", "train.optimizer_d": "sgd"},
}  # fmt: skip
NORMALISED: dict[str, dict[str, Any]] = {  # by batch norm in G, which sees a rank's own rows: not those of one process
    "sngan-torch": {"use.with": "diffaugment,spectral-norm", "train.critic_steps": 2, "train.ema_halflife": 50},
}


def play(name: str, out: Path) -> None:
    """One of them."""
    if name == "conditions":
        play_conditions(out)
    elif name in NORMALISED:
        small = {key: value for key, value in SMALL.items() if key != "model.norm"}
        gz.train(name, settings={**small, **NORMALISED[name]}, steps=STEPS, out=out, quiet=True)
    else:
        loss = {"memory": Centred, "parts and memory": Centred, "own": SharedAndOwn}.get(name, lambda: None)()
        model = name if name.endswith("-torch") else "dcgan-torch"
        small = SMALL if model == "dcgan-torch" else {key: SMALL[key] for key in SMALL if key != "model.norm"}
        mix = dict(MIXES[name])
        if not dist.is_initialized():  # one process is the measure, and computes each batch at once
            mix.pop("train.accumulate", None)
        gz.train(model, loss=loss, settings={**small, **mix}, steps=STEPS, out=out, quiet=True)


def resume_half(run: Path, out: Path) -> None:
    """Go on in a copy of a run of `own`, from the checkpoint before its last."""
    if dist.get_rank() == 0:
        shutil.copytree(run, out)
        shutil.rmtree(max((out / "checkpoints").iterdir(), key=lambda path: int(path.name)))
        shutil.rmtree(out / "generator")
    dist.barrier()
    gz.resume(out, picks={"loss": SharedAndOwn()}, quiet=True)


class Paired:
    """Least squares, and the distance of what is drawn from the target of its source, in the pair that D saw."""

    needs = ("same_real_in_generator_step",)

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D(step.real), step.D(step.fake)
        wrong = step.D(step.real, source=-step.conditions["source"])
        return {"adversarial": ops.mean(ops.square(real - 1)) + ops.mean(ops.square(fake)) + ops.mean(wrong)}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        distance = ops.mean(ops.abs(step.real - step.fake))
        return {"adversarial": ops.mean(ops.square(step.D(step.fake) - 1)), "distance": distance}


class FromSource(nn.Module):
    """A source [N,1,8,8] and z -> images, or images and their source -> scores; both given in Python."""

    conditions = ("source",)

    def __init__(self, inputs: int, outputs: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.shape = nn.Linear(inputs, outputs), shape

    def forward(self, x: torch.Tensor, *, source: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([x.flatten(1), source.flatten(1)], dim=1)
        return torch.tanh(self.layer(joined)).reshape(len(x), *self.shape)


def play_conditions(out: Path) -> None:
    """Networks of a picture, with reals that come with one; derived on demand, so read a batch ahead."""
    torch.manual_seed(1)
    G, D = FromSource(8 + 64, 64, (1, 8, 8)), FromSource(128, 1, ())
    rng = np.random.default_rng(0)
    source = gz.ImageSource(rng.integers(0, 256, (50, 8, 8, 1), dtype=np.uint8))
    own = {name: value for name, value in SMALL.items() if not name.endswith(("width", "norm", "data.size"))}
    asked = {**own, **MIXES["conditions"], "data.derive": "edges"}
    gz.train(generator=G, discriminator=D, loss=Paired(), data=source, settings=asked, steps=STEPS, out=out, quiet=True)


def linear_networks() -> tuple[nn.Module, nn.Module]:
    """Given in Python, with weights that differ from process to process."""
    G = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    return G, nn.Sequential(nn.Flatten(), nn.Linear(64, 1))


def watch(steps: list[int]) -> None:
    """After every step of any trainer, compare."""
    plain = Trainer.step

    def watched(self: Trainer, step: int, images: int, values: Mapping[str, float]) -> None:
        plain(self, step, images, values)
        own = torch.cat([parameter.detach().reshape(-1) for net in (self.G, self.D) for parameter in net.parameters()])
        found = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(found, own)
        assert all(torch.equal(other, own) for other in found), f"step {step}"
        steps.append(step)

    Trainer.step = watched  # type: ignore[method-assign]


if __name__ == "__main__":
    played: list[int] = []
    watch(played)
    folder = Path(sys.argv[1])
    names = sys.argv[2].split(",")
    for name in names:
        play(name, folder / name)
    assert played == [*range(STEPS)] * len(names)
    if "own" in names:
        resume_half(folder / "own", folder / "resumed")
    G, D = linear_networks()
    own = {"engine.device": "cpu", "engine.threads": 1, "model.latent_dim": 8}
    gz.train(generator=G, discriminator=D, settings=own, steps=2, out=folder / "objects", quiet=True)
    assert played[-2:] == [0, 1]
