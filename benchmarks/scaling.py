"""What more machines would give, on paper: docs/scaling.md from what speed.py measured.

    python benchmarks/speed.py --json benchmarks/measured.json
    python benchmarks/scaling.py benchmarks/measured.json > docs/scaling.md

Nothing here was measured on a GPU. The formulas and every assumed figure stand on the page.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PEAK_FLOPS = 67e12  # float32 operations a second of an H200 SXM, outside of its tensor cores; NVIDIA's data sheet
MIN_STEP_SECONDS = (
    4e-3  # seconds of a step that no GPU is too fast for: about 400 kernels to start, 10 microseconds each. Assumed
)
NODE_GPUS = 8  # GPUs that are joined by NVLink
BATCH_PER_GPU = 64  # images a GPU, where the batch grows with the GPUs
GLOBAL_BATCH = (
    2048  # images of all GPUs, where it does not: the largest batch that BigGAN (arXiv:1809.11096) found to help
)
GPU_COUNTS = (8, 16, 64, 256, 1024)
MIN_SPEEDUP = 1.5  # times faster for twice the GPUs: below that it has stopped paying


@dataclass(frozen=True)
class Link:
    """What joins the ranks: bytes a second for each of them in each direction, and seconds until the first byte."""

    name: str
    bytes_per_second: float
    latency: float


NVLINK = Link("NVLink, 450 GB/s", 450e9, 5e-6)
LINKS = (
    Link("InfiniBand, 400 Gb/s a GPU", 50e9, 5e-6),
    Link("Ethernet, 100 Gb/s a machine of eight", 12.5e9 / NODE_GPUS, 30e-6),
    Link("Ethernet, 25 Gb/s a machine of eight", 3.125e9 / NODE_GPUS, 30e-6),
)
CPU_LINKS = (Link("1 Gb/s", 0.125e9, 50e-6), Link("10 Gb/s", 1.25e9, 50e-6))


@dataclass(frozen=True)
class Model:
    """What a step of one model is: `gflop` an image, learnable parameters, and how it went on the measured machine."""

    name: str
    gflop: float
    generator: int
    discriminator: int
    batch: int
    seconds: float
    utilisation: float

    @property
    def gradient_bytes(self) -> tuple[int, int]:
        """Bytes of gradients that D's phase and G's phase exchange."""
        return 4 * self.discriminator, 4 * self.generator

    def estimate_step(self, images: float) -> float:
        """Seconds of a step of so many images on one GPU."""
        return MIN_STEP_SECONDS + images * self.gflop * 1e9 / (PEAK_FLOPS * self.utilisation)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path, help="what speed.py --json wrote")
    found = json.loads(parser.parse_args().measured.read_text(encoding="utf-8"))
    print(make_page(found["machine"], list(read_models(found))))


def read_models(found: Mapping[str, Any]) -> Iterator[Model]:
    """What was measured, a model for each row, in PyTorch: TensorFlow mixes use one device."""
    for row in found["rows"]:
        if "torch" not in row:
            continue
        game = row["games"][-1]
        speed = statistics.median(game["rates"]["runner"])
        counts = game["parameters"]
        yield Model(
            row["name"],
            game["gflop"],
            counts["generator"],
            counts["discriminator"],
            row["batch"],
            row["batch"] / speed,
            speed * game["gflop"] / row["roof"],
        )


def time_all_reduce(size: float, ranks: int, link: Link) -> float:
    """Seconds of an all-reduce over a ring: each rank sends and receives 2 (n - 1) / n of the bytes.

    The delays are those of a tree, 2 log2 n: NCCL takes one where messages are short (Patarasuk and Yuan 2009 for the
    ring; NVIDIA's NCCL 2.4 notes for the tree).
    """
    return (
        0.0
        if ranks == 1
        else 2 * (ranks - 1) / ranks * size / link.bytes_per_second + 2 * math.log2(ranks) * link.latency
    )


def time_exchange(model: Model, ranks: int, link: Link) -> float:
    """Seconds a step: both phases, within a machine by NVLink first, then between machines, each GPU a share of it."""
    total = 0.0
    for size in model.gradient_bytes:
        inside, machines = min(ranks, NODE_GPUS), max(1, ranks // NODE_GPUS)
        total += time_all_reduce(size, inside, NVLINK)
        # Each of a machine's eight GPUs exchanges an eighth of the gradients with its counterparts.
        total += time_all_reduce(size / inside, machines, link)
    return total


def make_page(machine: Mapping[str, Any], found: Sequence[Model]) -> str:
    """docs/scaling.md."""
    blocks = [
        "# Scaling on paper",
        "`python benchmarks/scaling.py benchmarks/measured.json > docs/scaling.md` writes this page. It is arithmetic: "
        "ganzoo was never run on a GPU, nor on more than one machine. What was measured is the step on "
        f"{machine['cores']} cores of {machine['processor']} (`{machine['command']}`), and how near it comes to a "
        "matrix product's speed there. [Several machines](machines.md) says how such a run is started.",
        "## What a step exchanges",
        "One flat all-reduce of float32 gradients a phase, D's and then G's. It begins when the backward pass is over, "
        "so nothing hides it. Models in TensorFlow train on one device, and are not here.",
        to_markdown_table(
            ("model", "GFLOP an image", "D's gradients", "G's gradients", "measured step", "of the roof"),
            [
                (
                    model.name,
                    f"{model.gflop:.3g}",
                    *(f"{size / 1e6:.3g} MB" for size in model.gradient_bytes),
                    f"{model.seconds * 1e3:.0f} ms for {model.batch}",
                    f"{model.utilisation:.0%}",
                )
                for model in found
            ],
        ),
        "## Machines like the measured one",
        "The step as it was measured, its batch on each machine, and a ring over the network: times as fast as one "
        "machine (and the share of its time that a machine computes).",
        make_cpu_table(found),
        "## GPUs",
        f"A step of b images on one GPU is taken as {MIN_STEP_SECONDS * 1e3:.0f} ms + b x GFLOP / "
        f"({PEAK_FLOPS / 1e12:.0f} TFLOP/s x "
        f"u): the float32 peak of an H200 by its data sheet, u the share of the roof that was measured on the CPU, and "
        f"{MIN_STEP_SECONDS * 1e3:.0f} ms, assumed, for starting some 400 kernels (CUDA graphs would take most of "
        "that away). An "
        "all-reduce of s bytes over n ranks takes 2 (n - 1) / n x s / speed + 2 log2(n) x delay; the GPUs of a "
        f"machine do it by NVLink ({NVLINK.bytes_per_second / 1e9:.0f} GB/s), and each then exchanges an eighth with "
        "its "
        "counterparts in other machines. Delays: 5 microseconds by NVLink and InfiniBand, 30 by Ethernet.",
        f"### The batch grows: {BATCH_PER_GPU} images on each GPU",
        "Thousand images a second, and the share of the time that is spent computing.",
        *(part for link in LINKS for part in (f"{link.name}:", make_weak_scaling_table(found, link))),
        f"### The batch stays: {GLOBAL_BATCH:,} images in all",
        f"Times as fast as one GPU with the same batch. Bold is where twice the GPUs last gave {MIN_SPEEDUP} times "
        "the speed.",
        *(part for link in LINKS for part in (f"{link.name}:", make_strong_scaling_table(found, link))),
        "## Where it stops paying",
        make_conclusion(found),
    ]
    return "\n\n".join(blocks) + "\n"


def make_cpu_table(found: Sequence[Model]) -> str:
    """Speed-up of n machines of the measured kind."""
    rows = []
    for model in found:
        for link in CPU_LINKS:
            cells = []
            for ranks in (2, 8, 64):
                share = model.seconds / (
                    model.seconds + sum(time_all_reduce(size, ranks, link) for size in model.gradient_bytes)
                )
                cells.append(f"{ranks * share:.1f} ({share:.0%})")
            rows.append((model.name, link.name, *cells))
    return to_markdown_table(("model", "network", "2", "8", "64 machines"), rows)


def make_weak_scaling_table(found: Sequence[Model], link: Link) -> str:
    """Weak scaling."""
    rows = []
    for model in found:
        alone = model.estimate_step(BATCH_PER_GPU)
        cells = []
        for ranks in (1, *GPU_COUNTS):
            step = alone + time_exchange(model, ranks, link)
            cells.append(f"{ranks * BATCH_PER_GPU / step / 1e3:,.0f} ({alone / step:.0%})")
        rows.append((model.name, *cells))
    return to_markdown_table(("model", *(f"{ranks:,}" for ranks in (1, *GPU_COUNTS))), rows)


def make_strong_scaling_table(found: Sequence[Model], link: Link) -> str:
    """Strong scaling."""
    rows = []
    for model in found:
        last = find_useful_gpus(model, link)
        cells = [
            f"**{compute_speedup(model, ranks, link):.1f}**"
            if ranks == last
            else f"{compute_speedup(model, ranks, link):.1f}"
            for ranks in sorted({*GPU_COUNTS, last})
        ]
        counts = sorted({*GPU_COUNTS, last})
        shown = dict(zip(counts, cells, strict=True))
        rows.append((model.name, *(shown[ranks] for ranks in GPU_COUNTS), f"{last} GPUs"))
    return to_markdown_table(("model", *(f"{ranks:,}" for ranks in GPU_COUNTS), "pays up to"), rows)


def compute_speedup(model: Model, ranks: int, link: Link) -> float:
    """Times as fast as one GPU, with the batch of all GPUs as it is."""
    return model.estimate_step(GLOBAL_BATCH) / (
        model.estimate_step(GLOBAL_BATCH / ranks) + time_exchange(model, ranks, link)
    )


def find_useful_gpus(model: Model, link: Link) -> int:
    """The GPUs after which twice as many are less than PAYS times as fast."""
    ranks = 1
    while ranks < GLOBAL_BATCH and compute_speedup(model, 2 * ranks, link) >= MIN_SPEEDUP * compute_speedup(
        model, ranks, link
    ):
        ranks *= 2
    return ranks


def make_conclusion(found: Sequence[Model]) -> str:
    """The conclusion, in words, from the same figures."""
    alone = max(found, key=lambda model: model.gflop)
    best, worst = LINKS[0], LINKS[-1]
    said = [
        f"With a batch of {GLOBAL_BATCH:,} the heaviest of them, {alone.name}, pays up to "
        f"{find_useful_gpus(alone, best)} GPUs by "
        f"{best.name.partition(',')[0]} and {find_useful_gpus(alone, worst)} by {worst.name}; beyond, a GPU has too "
        "few images to "
        f"outlast the {MIN_STEP_SECONDS * 1e3:.0f} ms that a step takes anyway.",
        "Letting the batch grow keeps the GPUs busy and does not train faster for long: 1,024 GPUs with "
        f"{BATCH_PER_GPU} images each are a batch of {1024 * BATCH_PER_GPU:,}, thirty times what was shown to help.",
        "These networks are small. One GPU trains each of them in minutes to hours; several runs beside each other "
        "(`ganzoo sweep`) use more of them better.",
    ]
    return "\n".join(f"- {line}" for line in said)


def to_markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


if __name__ == "__main__":
    main()
