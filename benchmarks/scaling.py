"""What more GPUs would give, on paper: docs/scaling.md from what speed.py measured and counts.py counted.

    python benchmarks/speed.py --json benchmarks/measured.json
    python benchmarks/counts.py benchmarks/counts.json
    python benchmarks/scaling.py > docs/scaling.md

Nothing here was measured on a GPU. The formulas and every assumed figure stand on the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scaling_commands import join_names, make_commands
from scaling_model import (
    ASSUMED_UTILISATION,
    CPU_LINKS,
    LARGE_BATCH,
    LINKS,
    MIN_SPEEDUP,
    MIN_STEP_SECONDS,
    NODE_GPUS,
    NVLINK,
    PART_IMAGES,
    PEAK_FLOPS,
    Link,
    Measured,
    Model,
    compute_speedup,
    find_share,
    find_useful_gpus,
    read_measured,
    read_models,
    time_all_reduce,
    time_exchange,
    time_score,
)
from table import to_markdown_table

FOLDER = Path(__file__).parent
GPU_COUNTS = (8, 64)
GPU_BYTES = 80e9  # of a common GPU; an H200 has 141
TF32_GAIN = 3.0  # times as fast as float32: what the page tries
SCORED = (10_000, 50_000)
FEATURE_BYTES = 4 * (2048 + 1008)  # of an image: Inception's features and logits
INFINIBAND, ETHERNET, SLOW_ETHERNET = LINKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    print(make_page(), end="")


def make_page() -> str:
    """docs/scaling.md."""
    found, counts = (json.loads((FOLDER / name).read_text("utf-8")) for name in ("measured.json", "counts.json"))
    steps = read_measured(found)
    models = list(read_models(counts, steps))
    blocks = [
        "# Scaling on paper",
        make_introduction(found["machine"]),
        *make_commands(models),
        *describe_steps(models),
        *describe_growing(models, steps),
        *describe_fixed(models),
        *describe_batch_norm(models),
        *describe_scores(models, counts["inception"]),
    ]
    return "\n\n".join(blocks) + "\n"


def make_introduction(machine: Mapping[str, Any]) -> str:
    """What this is."""
    return (
        "`python benchmarks/scaling.py > docs/scaling.md` writes this page. **It is arithmetic: ganzoo was never run "
        "on several GPUs, nor on several machines.** Work, memory and parameters were counted without a step "
        "(`python benchmarks/counts.py benchmarks/counts.json`), of each model at its published size, with one step of "
        "D to one of G and without augmentation. What was measured is how near a step comes to a matrix product's "
        f"speed on {machine['cores']} cores of {machine['processor']} (`{machine['command']}`). "
        "[Several machines](machines.md) says how such runs are started."
    )


def describe_steps(models: Sequence[Model]) -> list[str]:
    """What a step is."""
    rows = [
        (
            model.name,
            f"{model.size}",
            f"{model.batch}",
            f"{model.gflop:.3g}",
            f"{model.utilisation:.0%}" + ("" if model.measured else " assumed"),
            " + ".join(f"{size / 1e6:.3g}" for size in model.gradient_bytes),
            f"{round_figure(model.estimate_step(model.batch) * 1e3)} ms",
            f"{model.count_fitting(GPU_BYTES):,}",
        )
        for model in models
    ]
    head = ("row", "px", "batch", "GFLOP an image", "u", "gradients, MB, D + G", "step", "fit in 80 GB")
    return [
        "## What a step is",
        f"A step of b images on one GPU is taken as {MIN_STEP_SECONDS * 1e3:.0f} ms + b x GFLOP / "
        f"({PEAK_FLOPS / 1e12:.0f} TFLOP/s x u): the float32 peak of an H200 by its data sheet; u the share of the "
        f"roof that the same model reached on the CPU, where that was measured, else {ASSUMED_UTILISATION:.0%}, "
        f"assumed; and {MIN_STEP_SECONDS * 1e3:.0f} ms, assumed, for starting some 400 kernels. The last column is how "
        f"many images {GPU_BYTES / 1e9:.0f} GB hold: in PyTorch by the most bytes of tensors that live at a time, in "
        "TensorFlow by all that a step makes, so more may fit. What libraries take besides is not in it.",
        to_markdown_table(head, rows),
        "Ranks exchange float32 gradients in one flat all-reduce a phase, when the backward pass is over, so nothing "
        "hides it. s bytes over n ranks take 2 (n - 1) / n x s / speed + 2 log2(n) x delay. "
        f"The {NODE_GPUS} GPUs of a machine do it by NVLink ({NVLINK.bytes_per_second / 1e9:.0f} GB/s), then each "
        "exchanges an eighth with its counterparts in other machines. Delays, assumed: "
        f"{NVLINK.latency * 1e6:.0f} microseconds by NVLink and InfiniBand, {ETHERNET.latency * 1e6:.0f} by Ethernet.",
    ]


def describe_growing(models: Sequence[Model], steps: Sequence[Measured]) -> list[str]:
    """Weak scaling."""

    def make_row(model: Model) -> tuple[str, ...]:
        rate = model.batch / model.estimate_step(model.batch)
        shares = [(ranks, find_share(model, ranks, INFINIBAND)) for ranks in GPU_COUNTS]
        cells = [f"{round_figure(ranks * rate * share)} ({share:.0%})" for ranks, share in shares]
        others = [f"{find_share(model, 64, link):.0%}" for link in (ETHERNET, SLOW_ETHERNET)]
        return (model.name, f"{model.batch}", round_figure(rate), *cells, *others)

    cpu = {link.name: [find_cpu_speedup(step, 8, link) for step in steps if step.parameters] for link in CPU_LINKS}
    tf32 = to_range([find_share(model, 64, ETHERNET, faster=TF32_GAIN) for model in models], "{:.0%}")
    said = ", and of ".join(f"{to_range(values, '{:.1f}')} by {name}" for name, values in cpu.items())
    return [
        "## The published batch on each GPU",
        "Images a second, and the share of the time that is spent computing, by InfiniBand "
        f"({INFINIBAND.name.partition(', ')[2]}); then this share alone for 64 GPUs by Ethernet of 100 and of 25 Gb/s "
        "a machine of eight. Where a batch does not fit into a GPU, it is taken in parts.",
        to_markdown_table(
            ("row", "a GPU", "1", "8", "64", "64, Ethernet 100", "Ethernet 25"), list(map(make_row, models))
        ),
        "On CUDA both frameworks compute convolutions in tf32. Were it "
        f"{TF32_GAIN:.0f} times as fast, the shares of 64 GPUs by Ethernet of 100 Gb/s would be {tf32}. Eight machines "
        f"like the measured one, with the steps measured there, would do the work of {said}.",
    ]


def find_cpu_speedup(step: Measured, ranks: int, link: Link) -> float:
    """Times as fast as one machine of the measured kind, its batch on each."""
    exchange = sum(time_all_reduce(4 * count, ranks, link) for count in step.parameters.values())
    return ranks * step.seconds / (step.seconds + exchange)


def describe_fixed(models: Sequence[Model]) -> list[str]:
    """Strong scaling."""
    rows = [
        (
            model.name,
            f"{find_useful_gpus(model, model.batch, INFINIBAND)} of {model.batch}",
            *(f"{compute_speedup(model, LARGE_BATCH, ranks, INFINIBAND):.1f}" for ranks in GPU_COUNTS),
            *(f"{find_useful_gpus(model, LARGE_BATCH, link):,}" for link in LINKS),
        )
        for model in models
    ]
    head = ("row", "its own batch pays up to", "8", "64", "pays up to, InfiniBand", "Ethernet 100", "Ethernet 25")
    return [
        "## The batch stays",
        f"GPUs up to which twice as many are at least {MIN_SPEEDUP} times as fast: with the published batch, by "
        f"InfiniBand; and with {LARGE_BATCH:,} images, the largest batch that BigGAN (arXiv:1809.11096) found to help, "
        "beside the times as fast as one GPU.",
        to_markdown_table(head, rows),
        f"Beyond that, a GPU has too few images to outlast the {MIN_STEP_SECONDS * 1e3:.0f} ms and the exchange. "
        "Letting the batch grow instead keeps GPUs busy; whether the generator is good any sooner, no table here says.",
    ]


def describe_batch_norm(models: Sequence[Model]) -> list[str]:
    """What batch norm costs."""
    normed = [model for model in models if any(model.batch_norm)]
    others = [model.name for model in models if not any(model.batch_norm)]

    def make_row(model: Model) -> tuple[str, ...]:
        step, sizes = model.estimate_step(model.batch), model.norm_bytes
        times = [time_exchange(sizes, ranks, INFINIBAND) for ranks in GPU_COUNTS]
        slow = time_exchange(sizes, 64, ETHERNET)
        return (
            model.name,
            " + ".join(f"{len(layers)} ({sum(layers):,})" for layers in model.batch_norm if layers),
            f"{model.batch}",
            f"{model.batch // 8}",
            f"{len(sizes)}",
            f"{sum(sizes) / 1e3:,.0f} kB",
            *(f"{time * 1e3:.1f} ms ({time / step:.0%})" for time in (*times, slow)),
        )

    head = (
        "row",
        "layers (channels), G + D",
        "rows it needs",
        "has with 8 GPUs",
        "exchanges",
        "bytes",
        "8 GPUs",
        "64",
        "64, Ethernet 100",
    )
    return [
        "## Batch norm",
        "Each GPU normalises by its own rows. With fewer than the published batch, its means and variances are worse "
        f"than the published ones: the error grows as the root of the ratio, {8**0.5:.1f} times with an eighth of the "
        "rows. So the batch of such a model should grow with the GPUs, or they should be few. The last columns are "
        "what synchronising would add to a step, in brackets as a share of the step with the published batch: a pass "
        "exchanges two sums a channel in each layer forward, and two back; a step has one pass of G and three of D.",
        to_markdown_table(head, list(map(make_row, normed))),
        "It is not done. The bytes are few; the delays are many and cannot hide, since the next layer waits for each. "
        "It would replace the plugin's layers by others, in each framework. And with the published batch on each GPU "
        f"there is nothing to mend. Without batch norm, as published, are {join_names(others)}. `progan-tf` has a "
        "standard deviation over four successive rows instead: let each GPU have a multiple of four.",
    ]


def describe_scores(models: Sequence[Model], inception: float) -> list[str]:
    """What scores cost."""

    def make_row(model: Model) -> tuple[str, ...]:
        cells = [
            f"{time_score(model, inception, images, ranks):.2g} s" for images in SCORED for ranks in (1, *GPU_COUNTS)
        ]
        alone = time_score(model, inception, SCORED[-1], 1)
        return (model.name, f"{model.drawing_gflop:.2g}", *cells, f"{alone / model.estimate_step(model.batch):,.0f}")

    kinds = [f"{images:,}: {kind}" for images in SCORED for kind in ("alone", "8", "64")]
    incoming = SCORED[-1] * FEATURE_BYTES
    waiting = to_range([time_score(model, inception, SCORED[-1], 1) * 64 / 60 for model in models], "{:.0f}")
    parts = -(-SCORED[0] // PART_IMAGES)
    return [
        "## Scores",
        f"A score draws images and extracts their features. Inception takes {inception:.1f} GFLOP an image (counted: "
        "torch-fidelity's network, to whose 299 pixels all images are enlarged), more than most generators. Its u is "
        f"assumed to be {ASSUMED_UTILISATION:.0%}; reading, files, and the metrics, which rank 0 computes, are left "
        "out. *Alone*: one GPU draws and extracts. Else the ranks take turns at parts of "
        f"{PART_IMAGES} images, while they train as in `torchrun … evaluate`. Last, how many steps of one GPU "
        "take as long as 50,000 images alone.",
        to_markdown_table(("row", "GFLOP of G", *kinds, "in steps"), list(map(make_row, models))),
        f"If 64 GPUs waited for one, 50,000 images would cost {waiting} GPU minutes. Shared, "
        f"{incoming / 1e6:,.0f} MB of features and logits reach rank 0, "
        f"{incoming / (ETHERNET.bytes_per_second * NODE_GPUS):.2g} s by Ethernet of 100 Gb/s. 10,000 images are "
        f"{parts} parts: more ranks than these find nothing to do.",
    ]


def round_figure(value: float) -> str:
    """Three digits that count."""
    return f"{float(f'{value:.3g}'):,.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"


def to_range(values: Iterable[float], form: str) -> str:
    """The least and the most of the values."""
    values = sorted(values)
    low, high = form.format(values[0]), form.format(values[-1])
    return low if low == high else f"{low} to {high}"


if __name__ == "__main__":
    main()
