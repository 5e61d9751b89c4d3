"""JPEGs that stay encoded in tar shards, read by 0, 1 and 2 processes: how fast, in how much memory, the same bytes?

    uv run --all-packages python benchmarks/shards.py FOLDER --images 2000

FOLDER takes the shards, which are drawn once, and used again: 200,000 JPEGs of 256×256 pixels, 1,000 in each. All of
them are read in the shuffled order of an epoch, a batch ahead as in training, but without a network. Each pass runs in
a process of its own, in alternating order, so that its peak memory is its own.

`--array` reads the same pixels from a .npy file too, which takes 39 GB for 200,000. Whether a network waits for its
images follows from the rates: it does not where it learns from fewer a second, and cores are left for the processes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.data.lazy import iterate_chunks, make_indexable
from ganzoo_core.data.prefetch import Prefetcher
from ganzoo_core.data.stream import Stream
from ganzoo_core.engines import count_available_cores
from ganzoo_datasets import shards

SIZE, PER_SHARD, BATCH = 256, 1000, 64
OPTIONS = {"size": SIZE, "holdout": 0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="takes the shards, and keeps them")
    parser.add_argument("--images", type=int, default=200_000, help="how many (200,000)")
    parser.add_argument("--pairs", type=int, default=2, help="passes of each (2)")
    parser.add_argument("--workers", default="0,1,2", help="numbers of processes (0,1,2)")
    parser.add_argument("--array", action="store_true", help="read the same pixels from a .npy file too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        print(json.dumps(read_epoch(args.folder, args.read, args.images)))
        return 0
    place = write_shards(args.folder, args.images)
    began = time.perf_counter()
    shards.describe_dataset("shards", str(place), "all", OPTIONS)
    indexed = time.perf_counter() - began
    ways = [*args.workers.split(","), *(["array"] if args.array else [])]
    if args.array:
        write_array(place)
    load = os.getloadavg()[0]
    passes: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for pair in range(args.pairs):
        for way in ways if pair % 2 == 0 else ways[::-1]:
            passes[way].append(run_pass(place, way, args.images))
    digests = {each["digest"] for found in passes.values() for each in found}
    print(f"{args.images:,} JPEGs of {SIZE}×{SIZE}; {count_available_cores()} cores; load before {load:.2f}")
    print(f"index: {indexed:.1f} s, next to nothing where it was made before")
    for way, found in passes.items():
        rates = [each["rate"] for each in found]
        who = "array" if way == "array" else f"{way} processes" if way != "1" else "1 process"
        own, child = (max(each[name] for each in found) for name in ("peak", "child"))
        print(
            f"{who:<12}{statistics.median(rates):>9.1f} img/s ({min(rates):.1f} to {max(rates):.1f}), peak memory "
            f"{own:,.0f} MB{f', of each process {child:,.0f} MB' if child else ''}"
        )
    print(f"bytes: {'equal' if len(digests) == 1 else 'DIFFERENT'}, {', '.join(sorted(digests))}")
    if args.json is not None:
        args.json.write_text(json.dumps({"images": args.images, "index": indexed, "passes": passes}, indent=1))
    return 0 if len(digests) == 1 else 1


def write_shards(folder: Path, count: int) -> Path:
    """The shards, drawn by as many processes as there are cores unless they are there."""
    place = folder / f"jpegs-{count}"
    place.mkdir(parents=True, exist_ok=True)
    missing = [start for start in range(0, count, PER_SHARD) if not _name_shard(place, start).exists()]
    with ProcessPoolExecutor(count_available_cores()) as pool:
        for number, _ in enumerate(pool.map(partial(_write_shard, place, count), missing), 1):
            print(f"{number:,} of {len(missing):,} shards are drawn", file=sys.stderr)
    return place


def _name_shard(place: Path, start: int) -> Path:
    return place / f"{start // PER_SHARD:06d}.tar"


def _write_shard(place: Path, count: int, start: int) -> None:
    unfinished = _name_shard(place, start).with_suffix(".unfinished")
    with tarfile.open(unfinished, "w") as tar:
        for number in range(start, min(start + PER_SHARD, count)):
            for ending, content in (("jpg", draw_jpeg(number)), ("cls", str(number % 10).encode())):
                member = tarfile.TarInfo(f"{number:08d}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    unfinished.rename(_name_shard(place, start))


def draw_jpeg(number: int) -> bytes:
    """A JPEG of soft colours with some grain, about as large as a photograph of this size."""
    from PIL import Image, ImageChops

    rng = np.random.default_rng(number)
    soft = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize(
        (SIZE, SIZE), Image.Resampling.BICUBIC
    )
    shift = int(rng.integers(SIZE * SIZE * 3))
    grainy = Image.fromarray(np.roll(draw_grain(), shift).reshape(SIZE, SIZE, 3))
    buffer = io.BytesIO()
    ImageChops.add(soft, grainy, offset=-128).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


@cache
def draw_grain() -> np.ndarray:
    """Noise around 128, of which every picture has a shift of its own: drawn anew it would take most of the time."""
    return np.random.default_rng(0).normal(128, 6, SIZE * SIZE * 3).clip(0, 255).astype(np.uint8)


def write_array(place: Path) -> None:
    """The decoded pixels beside the shards, unless they are there."""
    path = place / "images.npy"
    if path.exists():
        return
    images = make_indexable(shards.dataset("shards", str(place), "all", {**OPTIONS, "workers": "auto"})).images
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": images.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for _, some in iterate_chunks(images):
            file.write(some.tobytes())
    unfinished.rename(path)


def run_pass(place: Path, way: str, count: int) -> dict[str, Any]:
    """An epoch in a process of its own."""
    words = [sys.executable, __file__, str(place), "--read", way, "--images", str(count)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def read_epoch(place: Path, way: str, count: int) -> dict[str, Any]:
    """Read all images once, a batch ahead; the rate counts from the first batch on, when the processes are there."""
    if way == "array":
        images: Any = np.load(place / "images.npy", mmap_mode="r")
    else:
        images = make_indexable(shards.dataset("shards", str(place), "all", {**OPTIONS, "workers": way})).images
    prefetcher, digest = Prefetcher(images), hashlib.blake2b(digest_size=16)
    digest.update(prefetcher.take(*next(batches := _list_batches(count))))
    since, seen = time.perf_counter(), 0
    for order, following in batches:
        batch = prefetcher.take(order, following)
        digest.update(batch)
        seen += len(batch)
    seconds = time.perf_counter() - since
    del images, prefetcher
    own, children = (
        resource.getrusage(who).ru_maxrss / 1e3 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {"rate": seen / seconds if seen else 0.0, "peak": own, "child": children, "digest": digest.hexdigest()}


def _list_batches(count: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """The indices of each batch of an epoch, and of the next one."""
    stream, steps = Stream(count, seed=0, purpose="data"), -(-count // BATCH)
    orders = [stream.take_indices(step * BATCH, min(BATCH, count - step * BATCH)) for step in range(steps)]
    yield from zip(orders, [*orders[1:], None], strict=True)


if __name__ == "__main__":
    raise SystemExit(main())
