"""What `test_ranks.py` starts: several short runs, one after the other, in each of the processes.

    python tests/tensorflow/tf_ranks_played.py FOLDER NAMES [kill|stop|ask STEP]

The environment says which process it is. After every step the processes compare all their trained weights. Process 1
is killed, stopped for good, or asked to stop, before the step that is given. A run that is there is resumed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

import ganzoo_core as gz
from ganzoo_core.distributed.launchers import rank_from_env, read_launch
from ganzoo_core.engines.create import create_engine
from ganzoo_core.engines.tensorflow.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parents[1]))
from small_losses import SharedAndOwn

STEPS, BATCH, SIZE = 8, 16, 8
SMALL: dict[str, Any] = {
    "model.latent_dim": 8, "train.batch_size": BATCH, "train.report_every": "3steps",
    "train.checkpoint_every": "5steps", "train.sample_count": 4, "train.lr": 1e-3, "engine.threads": 1,
    "engine.device": "cpu", "engine.timeout": 15, "use.schedule": "constant",
}  # fmt: skip
WIDTH = {"generator.width": 4, "discriminator.width": 4, "data.size": 16}
BLOWS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "ask": signal.SIGTERM}
NETWORKS: dict[str, dict[str, Any]] = {  # two dense networks, given as objects
    "wgan-gp": {"use.loss": "wgan-gp", "train.critic_steps": 2, "train.ema_halflife": 50},
    "parts": {"use.loss": "wgan-gp", "train.accumulate": 2, "train.clip_norm": 0.5, "train.optimizer": "adamw"},
    "own": {"train.critic_steps": 2},
    "hinge": {"use.loss": "hinge", "train.updates": "simultaneous", "train.optimizer": "sgd", "train.lr": 1e-2},
    "relativistic": {"use.loss": "relativistic"},
}
MODELS: dict[str, dict[str, Any]] = {
    "progan-tf": {"schedule.stable_images": 0, "schedule.fade_images": 0, "use.schedule": "progressive"},
    "dcgan-tf": {"use.with": "diffaugment,spectral-norm", "train.ema_halflife": 50},
    "convgan-tf": {"use.loss": "wgan-gp", "train.critic_steps": 2},
}


def play(name: str, out: Path, steps: int = STEPS) -> None:
    """One of them, from its beginning or from where it stands."""
    picks: dict[str, Any] = {"loss": SharedAndOwn((SIZE, SIZE, 1), BATCH)} if name == "own" else {}
    if name in MODELS:
        settings = {**SMALL, **WIDTH, **MODELS[name]}
        if out.exists():
            gz.resume(out, quiet=True)
        else:
            gz.train(name, settings=settings, steps=steps, out=out, quiet=True)
        return
    settings = {**SMALL, **NETWORKS[name]}
    if rank_from_env().is_alone:  # one process is the measure, and computes each batch at once
        settings.pop("train.accumulate", None)
    picks |= dict(zip(("generator", "discriminator"), make_networks(), strict=True))
    picks["data"] = gz.ImageSource(np.random.default_rng(0).integers(0, 256, (50, SIZE, SIZE, 1), dtype=np.uint8))
    if out.exists():
        gz.resume(out, picks=picks, quiet=True)
    else:
        gz.train(**picks, settings=settings, steps=steps, out=out, quiet=True)


def make_networks() -> tuple[keras.Model, keras.Model]:
    """Dense networks, whose weights differ from process to process."""
    keras.utils.set_random_seed(rank_from_env().number)
    G = [keras.layers.Dense(SIZE * SIZE, "tanh"), keras.layers.Reshape((SIZE, SIZE, 1))]
    D = [keras.layers.Flatten(), keras.layers.Dense(16, "tanh"), keras.layers.Dense(1), keras.layers.Reshape(())]
    return keras.Sequential([keras.Input((8,)), *G]), keras.Sequential([keras.Input((SIZE, SIZE, 1)), *D])


def watch(steps: list[int], blow: str = "", at: int = -1) -> None:
    """After every step of any trainer, compare; one of BLOWS for process 1 before one."""
    plain = Trainer.step

    def watched(self: Trainer, step: int, images: int, values: Mapping[str, float]) -> None:
        if step == at and rank_from_env().number == 1:
            os.kill(os.getpid(), BLOWS[blow])
        plain(self, step, images, values)
        if self.group is not None:
            weights = {
                f"{network.name} {index}": weight.numpy()
                for network in (self.G, self.D)
                for index, weight in enumerate(network.trainable_weights)
            }
            self.group.check_same_tensors(weights)
        steps.append(step)

    Trainer.step = watched  # type: ignore[method-assign]


def join() -> None:
    """Meet the other processes, before TensorFlow is used to make the networks that are given as objects."""
    settings = {"engine.channels_last": True, "engine.precision": "float32", "engine.compile": False}
    settings["engine.max_parameters"] = 10**6
    create_engine("tensorflow", {**SMALL, **settings}, launch=read_launch())


if __name__ == "__main__":
    join()
    played: list[int] = []
    watch(played, *sys.argv[3:4], *map(int, sys.argv[4:5]))
    for name in sys.argv[2].split(","):
        play(name, Path(sys.argv[1]) / name)
    assert played
