"""The core's own settings, with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OPTIMIZERS = ("adam", "rmsprop", "sgd")


@dataclass(frozen=True)
class Setting:
    """A setting: its default, the kind of its values, and a line of help.

    `kind` is int, float, bool, text, length (see `lengths`), duration (a length, or minutes), or a list: numbers,
    integers, words, lengths. A default of None means that the setting is off unless it is set.
    """

    default: Any
    kind: str
    help: str = ""
    choices: tuple[str, ...] = ()


CORE_SETTINGS: Mapping[str, Setting] = {
    "use.model": Setting("", "text", "the model; generator and discriminator are its own unless named"),
    "use.generator": Setting("", "text", "the model whose generator is trained"),
    "use.discriminator": Setting("", "text", "the model whose discriminator is trained"),
    "use.loss": Setting("", "text", "the loss"),
    "use.schedule": Setting("", "text", "the schedule"),
    "use.data": Setting("", "text", "the dataset, NAME or NAME:ARGUMENT"),
    "use.with": Setting([], "words", "modifiers, the first innermost"),
    "use.track": Setting([], "words", "trackers"),
    "model.latent_dim": Setting(100, "int", "length of z"),
    "data.split": Setting("train", "text", "which part of the data", ("train", "test", "all")),
    "data.size": Setting(0, "int", "height and width in pixels; 0 for the data's own, or the least the model takes"),
    "data.fit": Setting(
        "crop",
        "text",
        "how images of another aspect are brought to the networks' size: cut out the middle, add a border, or stretch",
        ("crop", "pad", "stretch"),
    ),
    "data.channels": Setting(0, "int", "1 or 3; 0 for the data's own"),
    "data.holdout": Setting(
        0.2, "float", "the share that is kept back as the test part where the data has none; 0 to train on every image"
    ),
    "data.flip": Setting(False, "bool", "show each image mirrored left to right as well, half of the time"),
    "data.skip_bad": Setting(False, "bool", "leave out files that cannot be read, and count them"),
    "train.length": Setting("20epochs", "duration", "how long to train: images, epochs, steps or minutes"),
    "train.batch_size": Setting(64, "int", "real images a step of D"),
    "train.seed": Setting(0, "int", "of every random number"),
    "train.optimizer": Setting("adam", "text", "of both networks", OPTIMIZERS),
    "train.lr": Setting(2e-4, "float", "learning rate of both networks"),
    "train.lr_g": Setting(None, "float", "learning rate of G, where it differs"),
    "train.lr_d": Setting(None, "float", "learning rate of D, where it differs"),
    "train.betas": Setting([0.5, 0.999], "numbers", "Adam's decay rates of the two moments"),
    "train.adam_eps": Setting(1e-8, "float", "Adam's epsilon; the frameworks' own defaults differ"),
    "train.momentum": Setting(0.0, "float", "of sgd"),
    "train.rmsprop_decay": Setting(0.99, "float", "RMSProp's decay of the squared gradient"),
    "train.critic_steps": Setting(1, "int", "steps of D for each step of G"),
    "train.updates": Setting(
        "alternating",
        "text",
        "alternating: G against the new D; simultaneous: both against the old weights",
        ("alternating", "simultaneous"),
    ),
    "train.ema_halflife": Setting(0, "int", "half-life in images of G's moving average; 0 for none"),
    "train.report_every": Setting("50steps", "length", "a line of statistics"),
    "train.sample_every": Setting("1epoch", "length", "a grid of samples"),
    "train.sample_at": Setting([], "lengths", "grids at chosen points besides, such as [1,5,20]epochs"),
    "train.sample_count": Setting(64, "int", "images in a grid"),
    "train.snapshot_every": Setting("5epochs", "length", "the generator is saved, to be drawn from later"),
    "train.checkpoint_every": Setting("10000", "length", "the full training state is saved, for `ganzoo resume`"),
    "train.checkpoint_keep": Setting(2, "int", "checkpoints that stay, the newest"),
    "train.evaluate_every": Setting("off", "length", "the generator is scored, and the best one kept"),
    "train.evaluate_count": Setting(0, "int", "images scored; 0 for as many as the test part, 1,000 to 10,000"),
    "train.on_divergence": Setting(
        "stop",
        "text",
        "rollback: a run that diverges goes back to its last checkpoint, with half the learning rate",
        ("stop", "rollback"),
    ),
    "engine.device": Setting("auto", "text", "where it runs", ("auto", "cpu", "cuda", "mps")),
    "engine.threads": Setting(0, "int", "CPU threads; 0 for the cores this process may use"),
    "engine.channels_last": Setting(True, "bool", "PyTorch's memory layout that convolutions prefer"),
    "engine.precision": Setting(
        "float32",
        "text",
        "of the networks' arithmetic in training; bfloat16 where the processor has it",
        ("float32", "bfloat16"),
    ),
    "engine.compile": Setting(False, "bool", "compile the step, where it gives the same; a minute before the first"),
    "engine.max_parameters": Setting(
        1_000_000_000, "int", "parameters and buffers of one network; a larger one is refused before it is built"
    ),
    "engine.timeout": Setting(300, "int", "seconds that one of several processes waits for the others in a step"),
}
POSITIVE_KEYS = {
    "model.latent_dim", "train.batch_size", "train.critic_steps", "train.lr", "train.lr_g", "train.lr_d",
    "train.adam_eps", "train.sample_count", "train.checkpoint_keep", "engine.timeout",
    "engine.max_parameters",
}  # fmt: skip
NON_NEGATIVE_KEYS = {"data.size", "train.seed", "train.ema_halflife", "engine.threads", "train.evaluate_count"}
MAX_VALUES = {
    "model.latent_dim": 1_000_000, "data.size": 65_536, "train.batch_size": 1_000_000, "train.critic_steps": 10_000,
    "train.sample_count": 10_000, "train.checkpoint_keep": 1_000_000, "train.evaluate_count": 10_000_000,
    "engine.threads": 4_096, "engine.timeout": 10_000_000,
}  # fmt: skip
FRACTION_KEYS = {"data.holdout", "train.momentum", "train.rmsprop_decay"}
