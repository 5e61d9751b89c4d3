"""A set that lies in a file, beside a sample of the same images in memory: does a step cost more?

    uv run --all-packages python benchmarks/large.py FOLDER

FOLDER takes the set, 10 GB of the dataset `shapes` as one .npy file, which is drawn once, in some minutes, and used
again. dcgan-torch trains from it and from memory in alternating blocks.

What the system has read before it keeps in memory as long as there is room, and a machine with more memory than the set
has gigabytes would soon read nothing from the disk any more. So before each block of the mapped set its pages are given
back (`madvise` and `posix_fadvise`), and how much was truly read from the disk in a block is printed. Linux only.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from pairs import read_peak_memory

import ganzoo_core as gz
from ganzoo_core import building, engines, mix
from ganzoo_core.data import framing, lazy
from ganzoo_core.data import memory as data_memory
from ganzoo_core.discovery import catalog
from ganzoo_core.engines import count_available_cores
from ganzoo_datasets import shapes

SIZE, CHANNELS, SAMPLE = 64, 3, 4096
MAX_RATIO = 1.10
BLOCK_IMAGES = 4096  # images that are drawn together


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="takes the set, and keeps it")
    parser.add_argument("--gigabytes", type=float, default=10.0, help="of the set (10)")
    parser.add_argument("--pairs", type=int, default=6, help="blocks of each (6)")
    parser.add_argument("--steps", type=int, default=20, help="steps a block (20)")
    parser.add_argument("--width", type=int, default=64, help="model.width (64)")
    parser.add_argument("--batch", type=int, default=64, help="images a step (64)")
    parser.add_argument("--framing", choices=("none", "resize"), default="none", help="resize: from 64 pixels to 32")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found")
    args = parser.parse_args()
    path = write_images(args.folder, args.gigabytes)
    found = measure_rates(path, args)
    print_results(found, args)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


def write_images(folder: Path, gigabytes: float) -> Path:
    """The set, drawn by as many processes as there are cores unless it is there."""
    count = max(SAMPLE, round(gigabytes * 1e9 / (SIZE * SIZE * CHANNELS)))
    path = folder / f"shapes-{count}.npy"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, SIZE, SIZE, CHANNELS)}
    cores = count_available_cores()
    with ProcessPoolExecutor(cores) as pool, unfinished.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, count, 8 * cores * BLOCK_IMAGES):  # so that drawn images do not pile up before the disk
            print(f"{first:,} of {count:,} images are drawn", file=sys.stderr)
            starts = range(first, min(first + 8 * cores * BLOCK_IMAGES, count), BLOCK_IMAGES)
            for drawn in pool.map(partial(_draw_block, count), starts):
                file.write(drawn.tobytes())
        os.fsync(file.fileno())
    unfinished.rename(path)
    return path


def _draw_block(count: int, start: int) -> np.ndarray:
    return shapes.draw("train", start, min(start + BLOCK_IMAGES, count), size=SIZE, channels=CHANNELS)


def measure_rates(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Blocks of steps from the file and from memory, in turns."""
    mapped = np.load(path, mmap_mode="r")
    sample = np.sort(np.random.default_rng(0).choice(len(mapped), SAMPLE, replace=False))
    resident = lazy.gather(mapped, sample)
    loops = {
        "memory": make_loop(make_trainer(resident, args), args),
        "file": make_loop(make_trainer(mapped, args, stays=True), args),
    }
    load, rates, read, peaks = os.getloadavg()[0], {name: [] for name in loops}, [], {}  # type: Any, Any, list[int], Any
    for pair in range(-1, args.pairs):
        for name in list(loops) if pair % 2 == 0 else list(loops)[::-1]:
            drop_pages(mapped, path)
            before, since = _read_bytes(), time.perf_counter()
            loops[name](args.steps)
            if pair < 0:  # the first is slower, and does not count
                continue
            rates[name].append(args.steps * args.batch / (time.perf_counter() - since))
            if name == "file":
                read.append(_read_bytes() - before)
        peaks.setdefault("after the first blocks", read_peak_memory())
    peaks["at the end"] = read_peak_memory()
    return {
        "rates": rates,
        "read": read,
        "bytes": prod(mapped.shape),
        "images": len(mapped),
        "peak": peaks,
        "load before": load,
        "load after": os.getloadavg()[0],
    }


def make_trainer(images: np.ndarray, args: argparse.Namespace, *, stays: bool = False) -> Any:
    """dcgan-torch's trainer on these images; `stays`: in their file, however much memory there is."""
    size = SIZE if args.framing == "none" else SIZE // 2
    settings = {"model.width": args.width, "train.batch_size": args.batch, "data.size": size}
    resolved = mix.resolve(
        catalog.scan(), mix.Request(picks={"model": "dcgan-torch", "data": "shapes"}, assigned=settings, preset="none")
    )
    facts: dict[str, Any] = {"channels": CHANNELS, "classes": 0, "background": None, "conditions": {}}
    fitted = mix.make_data_fit(resolved, height=SIZE, width=SIZE, **facts)
    free = data_memory.measure_free_memory
    if stays:
        data_memory.measure_free_memory = lambda: 0
    try:
        prepared = framing.prepare(gz.ImageSource(images), fitted.framing, fitted.spec.channels).images
    finally:
        data_memory.measure_free_memory = free
    if lazy.is_in_file(prepared) is not stays:
        raise SystemExit("the images are not where they were to be")
    engine = engines.create_engine("torch", resolved.settings)
    G, D = building.build_networks(engine, resolved, fitted, {})
    plan = building.make_plan(resolved, {})
    return engine.create_trainer(G, D, building.build_loss(resolved, fitted), plan, prepared, None)


def make_loop(trainer: Any, args: argparse.Namespace) -> Callable[[int], None]:
    position = 0

    def loop(steps: int) -> None:
        nonlocal position
        for _ in range(steps):
            trainer.step(position, position * args.batch, {})
            position += 1
        trainer.pop_means()

    return loop


def drop_pages(mapped: np.memmap[Any, Any], path: Path) -> None:
    """Have the system forget what it has read of the file."""
    owner: Any = mapped
    while isinstance(owner, np.ndarray):
        owner = owner.base
    owner.madvise(mmap.MADV_DONTNEED)  # pages that a process has in use would stay
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _read_bytes() -> int:
    """What this process has had read from disks so far, what was read ahead for it among it."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["read_bytes"])


def print_results(found: dict[str, Any], args: argparse.Namespace) -> None:
    rates, took = found["rates"], args.steps * args.batch * SIZE * SIZE * CHANNELS
    ratios = [memory / file for memory, file in zip(rates["memory"], rates["file"], strict=True)]
    print(f"{found['images']:,} images, {found['bytes'] / 1e9:.1f} GB; framing {args.framing}, batch {args.batch}")
    print(f"load before {found['load before']:.2f}, after {found['load after']:.2f}")
    for name, each in rates.items():
        print(f"from {name:<8}{statistics.median(each):>9.1f} img/s")
    print(
        f"an image from the file costs {statistics.median(ratios):.3f} times one from memory "
        f"({min(ratios):.3f} to {max(ratios):.3f}; bound {MAX_RATIO})"
    )
    read = statistics.median(found["read"])
    print(f"read from the disk in a block: {read / 1e6:.0f} MB, of which {took / 1e6:.0f} MB are its images")
    for when, peak in found["peak"].items():
        print(f"peak memory {when}: {peak:,.0f} MB, pages of the file that were in use among it")


if __name__ == "__main__":
    raise SystemExit(main())
