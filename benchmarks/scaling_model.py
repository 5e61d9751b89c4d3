"""The arithmetic behind `scaling.py`: what a step, an exchange and a score take on so many GPUs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comparisons import PUBLISHED

from ganzoo_core.evaluation.drawn_parts import choose_part_size

PEAK_FLOPS = 67e12  # float32 operations a second of an H200 SXM, outside of its tensor cores; NVIDIA's data sheet
ASSUMED_UTILISATION = 0.5  # share of it where none was measured
MIN_STEP_SECONDS = 4e-3  # of a step that no GPU is too fast for: about 400 kernels, 10 microseconds each. Assumed
NODE_GPUS = 8  # GPUs that are joined by NVLink
# Images of all GPUs: the largest batch that BigGAN (arXiv:1809.11096) found to help.
LARGE_BATCH = 2048
MIN_SPEEDUP = 1.5  # times faster for twice the GPUs: below that it has stopped paying
PART_IMAGES = choose_part_size(64)  # of a score: ranks take turns at parts; a GPU extracts 64 images at once


@dataclass(frozen=True)
class Link:
    """What joins the ranks: bytes a second for each of them in each direction, and seconds until the first byte."""

    name: str
    bytes_per_second: float
    latency: float


NVLINK = Link("NVLink, 450 GB/s", 450e9, 5e-6)
LINKS = (
    Link("InfiniBand, 400 Gb/s a GPU", 50e9, 5e-6),
    Link("Ethernet, 100 Gb/s a machine", 12.5e9 / NODE_GPUS, 30e-6),
    Link("Ethernet, 25 Gb/s a machine", 3.125e9 / NODE_GPUS, 30e-6),
)
CPU_LINKS = (Link("1 Gb/s", 0.125e9, 50e-6), Link("10 Gb/s", 1.25e9, 50e-6))


@dataclass(frozen=True)
class Measured:
    """A step that `speed.py` measured on a CPU; `gflop` an image, learnable parameters, the share of the roof."""

    name: str
    gflop: float
    parameters: Mapping[str, int]
    seconds: float
    utilisation: float


@dataclass(frozen=True)
class Model:
    """A model at its published size, as `counts.py` counted it.

    Attributes:
        name: the model.
        framework: `torch` or `tensorflow`.
        size: height and width of its images in pixels.
        batch: its published one, in images.
        gflop: an image of a step.
        drawing_gflop: an image that G draws.
        memory: bytes an image of a step's tensors.
        generator, discriminator: learnable parameters.
        batch_norm: the channels of each layer of batch norm in G, and in D.
        utilisation: the share of the peak.
        measured: whether that was measured on a CPU; else it is assumed.
    """

    name: str
    framework: str
    size: int
    batch: int
    gflop: float
    drawing_gflop: float
    memory: float
    generator: int
    discriminator: int
    batch_norm: tuple[Sequence[int], Sequence[int]]
    utilisation: float
    measured: bool

    @property
    def gradient_bytes(self) -> tuple[int, int]:
        """Bytes of gradients that D's phase and G's phase exchange."""
        return 4 * self.discriminator, 4 * self.generator

    @property
    def norm_bytes(self) -> list[int]:
        """Bytes of each exchange of a step whose batch norm sees all ranks' rows: two sums a channel.

        A pass exchanges them forward and back. G has one pass a step, D three: reals, fakes, and fakes in G's phase.
        """
        in_g, in_d = self.batch_norm
        return [2 * 4 * channels for channels in (*in_g, *in_d, *in_d, *in_d) for _ in ("forward", "back")]

    @property
    def fixed_bytes(self) -> int:
        """Bytes of weights, gradients, Adam's two moments, and what an exchange is made in."""
        return 5 * 4 * (self.generator + self.discriminator)

    def estimate_step(self, images: float, *, faster: float = 1.0) -> float:
        """Seconds of a step of so many images on one GPU, which computes so many times faster than assumed."""
        return MIN_STEP_SECONDS + images * self.gflop * 1e9 / (PEAK_FLOPS * self.utilisation * faster)

    def count_fitting(self, memory: float) -> int:
        """Images of a step that fit into so many bytes."""
        return int((memory - self.fixed_bytes) // self.memory)


def read_measured(found: Mapping[str, Any]) -> list[Measured]:
    """Each comparison of `speed.py --json`."""
    steps = []
    for row in found["rows"]:
        for game in row["games"]:
            speed = statistics.median(game["rates"]["runner"])
            share = speed * game["gflop"] / row["roof"]
            steps.append(Measured(row["name"], game["gflop"], game["parameters"], row["batch"] / speed, share))
    return steps


def read_models(counts: Mapping[str, Any], steps: Sequence[Measured]) -> Iterator[Model]:
    """The published rows, each with the utilisation of its model's measured step that is nearest in work."""
    for row in PUBLISHED:
        entry = counts["rows"][row.name]
        near = [step for step in steps if step.name.startswith(row.name)]
        nearest = min(near, key=lambda step, gflop=entry["gflop"]: abs(step.gflop - gflop), default=None)
        yield Model(
            row.name,
            row.framework,
            row.size,
            row.batch,
            entry["gflop"],
            entry["drawing_gflop"],
            entry["memory_mb"] * 1e6,
            entry["parameters"]["generator"],
            entry["parameters"]["discriminator"],
            (entry["batch_norm"]["generator"], entry["batch_norm"]["discriminator"]),
            nearest.utilisation if nearest else ASSUMED_UTILISATION,
            nearest is not None,
        )


def time_all_reduce(size: float, ranks: int, link: Link) -> float:
    """Seconds of an all-reduce over a ring: each rank sends and receives 2 (n - 1) / n of the bytes.

    The delays are those of a tree, 2 log2 n: NCCL takes one where messages are short (Patarasuk and Yuan 2009 for the
    ring; NVIDIA's NCCL 2.4 notes for the tree).
    """
    if ranks == 1:
        return 0.0
    return 2 * (ranks - 1) / ranks * size / link.bytes_per_second + 2 * math.log2(ranks) * link.latency


def time_exchange(sizes: Sequence[float], ranks: int, link: Link) -> float:
    """Seconds of one all-reduce after the other: by NVLink first, then between machines, each GPU a share of it."""
    inside, machines = min(ranks, NODE_GPUS), max(1, ranks // NODE_GPUS)
    return sum(time_all_reduce(size, inside, NVLINK) + time_all_reduce(size / inside, machines, link) for size in sizes)


def find_share(model: Model, ranks: int, link: Link, *, faster: float = 1.0) -> float:
    """The share of a step that is spent computing, with the published batch on each GPU."""
    alone = model.estimate_step(model.batch, faster=faster)
    return alone / (alone + time_exchange(model.gradient_bytes, ranks, link))


def compute_speedup(model: Model, batch: int, ranks: int, link: Link) -> float:
    """Times as fast as one GPU, with the batch of all GPUs as it is."""
    step = model.estimate_step(batch / ranks) + time_exchange(model.gradient_bytes, ranks, link)
    return model.estimate_step(batch) / step


def find_useful_gpus(model: Model, batch: int, link: Link) -> int:
    """The GPUs after which twice as many are less than MIN_SPEEDUP times as fast."""
    ranks = 1
    while 2 * ranks <= batch and (
        compute_speedup(model, batch, 2 * ranks, link) >= MIN_SPEEDUP * compute_speedup(model, batch, ranks, link)
    ):
        ranks *= 2
    return ranks


def time_score(model: Model, inception_gflop: float, images: int, ranks: int) -> float:
    """Seconds in which so many ranks draw and extract so many images, each of them whole parts."""
    largest = min(images, math.ceil(images / PART_IMAGES / ranks) * PART_IMAGES)
    drawing = model.drawing_gflop / model.utilisation
    return largest * (drawing + inception_gflop / ASSUMED_UTILISATION) * 1e9 / PEAK_FLOPS
