"""How long a folder of photographs takes to read, and how much memory.

    python benchmarks/photographs.py FOLDER             # writes 200 photographs there, if there is no such folder
    python benchmarks/photographs.py FOLDER             # reads them
    python benchmarks/photographs.py FOLDER --threads   # in one process, for comparison

The photographs are generated: baseline JPEGs of 6000×4000 pixels with detail at every scale. Ten are made and linked
under further names.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

import numpy as np
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.data.reading import pool

WIDTH, HEIGHT, DIFFERENT = 6000, 4000, 10


def write_photograph(path: Path, seed: int) -> None:
    """Write noise of several scales, added up, as a JPEG."""
    rng = np.random.default_rng(seed)
    total = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for side in (6, 40, 300, 2000):
        noise = Image.fromarray(rng.integers(0, 256, (side * 2 // 3, side, 3), dtype=np.uint8))
        total += np.asarray(noise.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) / 4
    Image.fromarray(total.astype(np.uint8)).save(path, quality=90)


def main() -> None:
    """Write the photographs, or read them and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--threads", action="store_true")
    args = parser.parse_args()
    if args.threads:
        pool.MIN_PROCESS_PIXELS = pool.MIN_PROCESS_FILES = 2**62
    if not args.folder.is_dir():
        args.folder.mkdir(parents=True)
        for number in range(args.count):
            path = args.folder / f"{number:04}.jpg"
            if number < DIFFERENT:
                write_photograph(path, number)
            else:
                os.link(args.folder / f"{number % DIFFERENT:04}.jpg", path)
        print("written; call this again to read them")
        return
    start = time.perf_counter()
    images = gz.ImageSet(gz.scan_images(args.folder).files, {"size": args.size}).read().images
    seconds = time.perf_counter() - start
    own, child = (resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"{len(images)} photographs -> {list(images.shape[1:])}: {seconds:.1f} s")
    print(f"most memory: {own} MiB in this process, {child} MiB in a child")


if __name__ == "__main__":
    main()
