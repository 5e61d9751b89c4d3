"""What is measured: the rows, ganzoo's own side of each, and what the two frameworks' files give for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pairs import Loop

import ganzoo_core as gz
from ganzoo_core import building, engines, mix
from ganzoo_core.discovery import catalog

MAX_IMAGES, MAX_BYTES = 2048, 2**26


@dataclass(frozen=True)
class Row:
    """One model at one size, measured in a process of its own.

    Attributes:
        name: as `--only` takes it.
        framework: `torch` or `tensorflow`.
        model: the part.
        size: height and width of the images in pixels.
        batch: images a step.
        classes: of the labels; 0 for none.
        channels: of the images.
        settings: over the model's own.
        tiny: settings of the smallest networks; see `make_tiny`.
        tiny_size: height and width of the smallest images; 0 for those of `size`.
        tutorial: whether the loop that tutorials teach is written out for it.
    """

    name: str
    framework: str
    model: str
    size: int
    batch: int
    classes: int = 0
    channels: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    tiny: Mapping[str, Any] = field(default_factory=dict)
    tiny_size: int = 0
    tutorial: bool = False

    def make_tiny(self) -> Row:
        """The same row so small that it only shows that everything works."""
        settings = {**self.settings, "model.width": 4, **self.tiny}
        return replace(self, batch=8, size=self.tiny_size or self.size, settings=settings)

    @property
    def count(self) -> int:
        """Images: enough that a batch does not lie in the processor's cache."""
        return min(MAX_IMAGES, MAX_BYTES // (self.size**2 * self.channels))

    def make_images(self) -> np.ndarray:
        """Noise, uint8 [N,H,W,C]."""
        shape = (self.count, self.size, self.size, self.channels)
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def make_labels(self) -> np.ndarray | None:
        """int64 [N], or None."""
        return np.arange(self.count) % self.classes if self.classes else None


ROWS = (
    Row("dcgan-torch-64", "torch", "dcgan-torch", 64, 64, settings={"model.width": 64}, tutorial=True),
    Row("dcgan-torch-32", "torch", "dcgan-torch", 32, 64, settings={"model.width": 64}, tutorial=True),
    Row("dcgan-torch-digits", "torch", "dcgan-torch", 32, 16, settings={"model.width": 32}, tutorial=True),
    Row("cgan-torch", "torch", "cgan-torch", 28, 64, classes=10, settings={"model.width": 128}, tutorial=True),
    Row(
        "cgan-projection-torch", "torch", "cgan-projection-torch", 32, 64, classes=10,
        settings={"model.width": 32, "model.latent_dim": 100, "train.critic_steps": 1}, tutorial=True,
    ),
    Row(
        "sngan-torch", "torch", "sngan-torch", 32, 64, channels=3, tiny_size=16,
        settings={"model.width": 32, "train.critic_steps": 1},
    ),
    Row(
        "r3gan-torch", "torch", "r3gan-torch", 32, 64, channels=3, tiny_size=16,
        settings={
            "use.with": [], "use.schedule": "constant", "model.block": "plain", "model.width": 96,
            "model.taper": [1.0, 0.75, 0.5], "model.blocks": 1,
        },
        tiny={"model.width": 16},
    ),
    Row(
        "pix2pix-torch", "torch", "pix2pix-torch", 64, 8, channels=3, tiny_size=32,
        settings={"data.derive": "grey", "model.width": 24}, tiny={"model.patch": 16},
    ),
    Row("dcgan-tf", "tensorflow", "dcgan-tf", 28, 256, settings={"model.width": 64}, tutorial=True),
    Row("convgan-tf", "tensorflow", "convgan-tf", 28, 128, tiny={"model.hidden": 8}, tiny_size=16),
    Row(
        "progan-tf", "tensorflow", "progan-tf", 32, 16, settings={"model.width": 64, "model.latent_dim": 64},
        tutorial=True,
    ),
)  # fmt: skip

# Each model with the networks, the images and the batch of its paper, its manifest's defaults, for `gpu.py`. What would
# make its steps unlike those of plain.py is left out: further steps of D, and in r3gan-torch augmentation, the schedule
# and with it the moving average. progan-tf stands where the paper's own comparisons do, fully grown.
PUBLISHED = (
    Row("dcgan-torch", "torch", "dcgan-torch", 64, 64, channels=3, tiny_size=16),
    Row("cgan-torch", "torch", "cgan-torch", 28, 64, classes=10, tiny_size=16),
    Row(
        "cgan-projection-torch", "torch", "cgan-projection-torch", 32, 64, classes=10, channels=3, tiny_size=16,
        settings={"train.critic_steps": 1},
    ),
    Row("sngan-torch", "torch", "sngan-torch", 32, 64, channels=3, tiny_size=16, settings={"train.critic_steps": 1}),
    Row(
        "r3gan-torch", "torch", "r3gan-torch", 32, 512, channels=3, tiny_size=16,
        settings={"use.with": [], "use.schedule": "constant"}, tiny={"model.width": 16, "model.group_size": 2},
    ),
    Row(
        "pix2pix-torch", "torch", "pix2pix-torch", 256, 1, channels=3, tiny_size=32,
        settings={"data.derive": "grey"}, tiny={"model.patch": 16},
    ),
    Row("dcgan-tf", "tensorflow", "dcgan-tf", 28, 256, tiny_size=8),
    Row("convgan-tf", "tensorflow", "convgan-tf", 28, 128, tiny={"model.hidden": 8}, tiny_size=16),
    Row("progan-tf", "tensorflow", "progan-tf", 128, 16, channels=3, tiny={"model.latent_dim": 4}, tiny_size=8),
)  # fmt: skip


@dataclass
class Comparison:
    """One comparison.

    Attributes:
        name: what of the row.
        runner: steps of ganzoo's trainer.
        others: builds the loops beside it, by name; called when the runner's memory was read.
        gflop: thousand million multiplications and additions that one image takes of the networks' matrix products
            and convolutions; called once the loops were built.
        parameters: learnable ones of `generator` and `discriminator`; called then, too.
    """

    name: str
    runner: Loop
    others: Callable[[], dict[str, Loop]]
    gflop: Callable[[], float]
    parameters: Callable[[], Mapping[str, int]]


def find_package(row: Row) -> str:
    """The package of the row's plugin."""
    return f"ganzoo_{row.model.replace('-', '_')}"


class RowSetup:
    """A row's mix, resolved, with its engine.

    Args:
        row: what is measured.
        device: `cpu`, or what else `engine.device` takes.
        assigned: settings over the row's.
    """

    def __init__(self, row: Row, device: str, **assigned: Any) -> None:
        self.row = row
        names = [str(label) for label in range(row.classes)]
        source = gz.ImageSource(row.make_images(), row.make_labels(), names)
        settings = {**row.settings, "train.batch_size": row.batch, "engine.device": device, **assigned}
        request = mix.Request(picks={"model": row.model, "data": source}, assigned=settings, preset="none")
        self.mix = mix.resolve(catalog.scan(), request)
        self.fitted = building.fit_to_data(self.mix, source)
        self.source = building.prepare_data(self.mix, self.fitted, source)
        self.images = np.asarray(self.source.images)
        self.engine = engines.create_engine(row.framework, self.mix.settings)
        self.plan = building.make_plan(self.mix, {})

    def build_networks(self, values: Mapping[str, float] | None = None) -> tuple[Any, Any]:
        """G and D as they are at these values of the schedule, anew."""
        G, D = building.build_networks(self.engine, self.mix, self.fitted, values or {})
        return G, D

    def build_trainer(self, values: Mapping[str, float] | None = None) -> Any:
        """What `ganzoo run` lets take the steps."""
        return building.build_trainer(self.engine, self.mix, self.fitted, self.source, values or {})

    def count_parameters(self, trainer: Any) -> dict[str, int]:
        """How many numbers each network of a trainer learns."""
        count = self.engine.count_parameters
        return {"generator": count(trainer.G), "discriminator": count(trainer.D)}

    def make_runner_loop(self, trainer: Any, values: Mapping[str, float] | None = None) -> Loop:
        """Steps of a trainer at these values, with the read of a report after them."""
        step = 0

        def loop(steps: int) -> None:
            nonlocal step
            for _ in range(steps):
                trainer.step(step, step * self.row.batch, values or {})
                step += 1
            trainer.pop_means()

        return loop


def iterate_batches(count: int, batch: int) -> Iterator[np.ndarray]:
    """Indices [N] of one batch after the other, without end, as the plain scripts take them: whole permutations."""
    numbers, order = np.random.default_rng(0), np.empty(0, dtype=np.int64)
    while True:
        if len(order) < batch:
            order = np.concatenate([order, numbers.permutation(count)])
        yield order[:batch]
        order = order[batch:]
