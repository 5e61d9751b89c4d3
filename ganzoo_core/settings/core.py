"""The core's own settings. Each is declared once, in the table or the dataclass of what reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ganzoo_core.settings.declare import Setting, list_group, list_network_group, setting

_WITH_ADAM = ("train.optimizer", ("adam", "adamw"))


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """What a training step takes in, and how often each network is updated in it; `engines.Plan` extends it."""

    seed: int = setting("train.seed", 0, "int", "of every random number", at_least=0)
    batch_size: int = setting("train.batch_size", 64, "int", "real images a step of D", above=0, at_most=1_000_000)
    latent_dim: int = setting("model.latent_dim", 100, "int", "length of z", above=0, at_most=1_000_000)
    accumulate: int = setting(
        "train.accumulate", 1, "int",
        "parts of a batch that are computed one after another, before one update; batch norm sees each part alone",
        above=0, at_most=10_000,
    )  # fmt: skip
    critic_steps: int = setting(
        "train.critic_steps", 1, "int", "steps of D for each step of G", above=0, at_most=10_000
    )
    updates: str = setting(
        "train.updates", "alternating", "text",
        "alternating: G against the new D; simultaneous: both against the old weights", ("alternating", "simultaneous"),
    )  # fmt: skip

    @property
    def images_per_step(self) -> int:
        """Real images counted per step."""
        return self.batch_size * self.critic_steps


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """The optimizer of one network; the schedule's `lr_g` or `lr_d`, and `beta2`, win over it.

    Each is a setting of both networks, such as `train.betas`, and may differ in one: `train.betas_d`.
    """

    name: str = setting("train.optimizer", "adam", "text", "of both networks", ("adam", "adamw", "rmsprop", "sgd"))
    lr: float = setting("train.lr", 2e-4, "float", "learning rate of both networks", above=0, scheduled="lr_{network}")
    betas: tuple[float, float] = setting(
        "train.betas", [0.5, 0.999], "numbers", "Adam's decay rates of the two moments",
        length=2, at_least=0, below=1, only_with=_WITH_ADAM, scheduled="beta2",
    )  # fmt: skip
    adam_eps: float = setting(
        "train.adam_eps", 1e-8, "float", "Adam's epsilon; the frameworks' own defaults differ",
        above=0, only_with=_WITH_ADAM,
    )  # fmt: skip
    weight_decay: float = setting(
        "train.weight_decay", 0.01, "float", "of adamw: each weight shrinks by this times the learning rate a step",
        at_least=0, only_with=("train.optimizer", ("adamw",)),
    )  # fmt: skip
    momentum: float = setting(
        "train.momentum", 0.0, "float", "of sgd and rmsprop",
        at_least=0, below=1, only_with=("train.optimizer", ("sgd", "rmsprop")),
    )  # fmt: skip
    rmsprop_decay: float = setting(
        "train.rmsprop_decay", 0.99, "float", "RMSProp's decay of the squared gradient",
        at_least=0, below=1, only_with=("train.optimizer", ("rmsprop",)),
    )  # fmt: skip
    clip_norm: float = setting(
        "train.clip_norm", 0.0, "float", "largest norm of all of a network's gradients together; 0 for no limit",
        at_least=0,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EmaSettings:
    """G's moving average; the schedule's `ema_halflife` wins over it."""

    halflife: int = setting(
        "train.ema_halflife", 0, "int", "half-life in images of G's moving average; 0 for none",
        at_least=0, scheduled="ema_halflife",
    )  # fmt: skip
    rampup: float = setting(
        "train.ema_rampup", 0.05, "float", "the half-life is at most this share of the images seen; 0 for no limit",
        at_least=0,
    )  # fmt: skip


CORE_SETTINGS: Mapping[str, Setting] = {
    **list_group(StepSettings),
    **list_network_group(OptimizerSettings),
    **list_group(EmaSettings),
    # read by `mix.request`
    "use.model": Setting("", "text", "the model; generator and discriminator are its own unless named"),
    "use.generator": Setting("", "text", "the model whose generator is trained"),
    "use.discriminator": Setting("", "text", "the model whose discriminator is trained"),
    "use.loss": Setting("", "text", "the loss"),
    "use.schedule": Setting("", "text", "the schedule"),
    "use.data": Setting("", "text", "the dataset, NAME or NAME:ARGUMENT"),
    "use.with": Setting([], "words", "modifiers, the first innermost"),
    "use.track": Setting([], "words", "trackers"),
    # read by `building` and `mix.fit`, and passed to the dataset
    "data.split": Setting("train", "text", "which part of the data", ("train", "test", "all")),
    "data.size": Setting(
        0, "int", "height and width in pixels; 0 for the data's own, or the least the model takes",
        at_least=0, at_most=65_536,
    ),
    "data.fit": Setting(
        "crop", "text",
        "how images of another aspect are brought to the networks' size: cut out the middle, add a border, or stretch",
        ("crop", "pad", "stretch"),
    ),
    "data.channels": Setting(0, "int", "1 or 3; 0 for the data's own", (0, 1, 3)),
    "data.holdout": Setting(
        0.2, "float", "the share that is kept back as the test part where the data has none; 0 to train on every image",
        at_least=0, below=1,
    ),
    "data.share": Setting(
        1.0, "float", "the part of the training images that is used, chosen once for all; a smaller is in a larger one",
        above=0, at_most=1,
    ),
    "data.flip": Setting(False, "bool", "show each image mirrored left to right as well, half of the time"),
    "data.derive": Setting(
        "", "text",
        "make the condition `source` from the images: grey, edges, downscale:2 (or 4, 8), mask:SHARE",
    ),
    "data.skip_bad": Setting(False, "bool", "leave out files that cannot be read, and count them"),
    # read by `training`
    "train.length": Setting("20epochs", "duration", "how long to train: images, epochs, steps or minutes"),
    "train.report_every": Setting("50steps", "length", "a line of statistics"),
    "train.sample_every": Setting("1epoch", "length", "a grid of samples"),
    "train.sample_at": Setting([], "lengths", "grids at chosen points besides, such as [1,5,20]epochs"),
    "train.sample_count": Setting(64, "int", "images in a grid", above=0, at_most=10_000),
    "train.snapshot_every": Setting("5epochs", "length", "the generator is saved, to be drawn from later"),
    "train.checkpoint_every": Setting("10000", "length", "the full training state is saved, for `ganzoo resume RUN`"),
    "train.checkpoint_keep": Setting(2, "int", "checkpoints that stay, the newest", above=0, at_most=1_000_000),
    "train.evaluate_every": Setting("off", "length", "the generator is scored, and the best one kept"),
    "train.evaluate_count": Setting(
        0, "int", "images scored; 0 for as many as the test part, 1,000 to 10,000",
        at_least=0, at_most=10_000_000, only_with=("train.evaluate_every", ()),
    ),
    "train.on_divergence": Setting(
        "stop", "text", "rollback: a run that diverges goes back to its last checkpoint, with half the learning rate",
        ("stop", "rollback"),
    ),
    # read by `engines.create_engine`
    "engine.device": Setting("auto", "text", "where it runs", ("auto", "cpu", "cuda", "mps")),
    "engine.threads": Setting(
        0, "int", "CPU threads; 0 for OMP_NUM_THREADS, what `ganzoo doctor --tune` chose, or the cores at hand",
        at_least=0, at_most=4_096,
    ),
    "engine.channels_last": Setting(True, "bool", "PyTorch's memory layout that convolutions prefer"),
    "engine.precision": Setting(
        "float32", "text", "of the networks' arithmetic in training; bfloat16 where the processor has it",
        ("float32", "bfloat16"),
    ),
    "engine.compile": Setting(False, "bool", "compile the step, where it gives the same; a minute before the first"),
    "engine.max_parameters": Setting(
        1_000_000_000, "int", "parameters and buffers of one network; a larger one is refused before it is built",
        above=0,
    ),
    "engine.timeout": Setting(
        300, "int", "seconds that one of several processes waits for the others in a step", above=0, at_most=10_000_000
    ),
}  # fmt: skip
