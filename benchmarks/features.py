"""Do an extractor's features tell damaged pictures from real ones? The tables in `plugins/ganzoo-features/README.md`.

    GANZOO_DATA=FOLDER python benchmarks/features.py --fonts FOLDER
    GANZOO_DATA=FOLDER python benchmarks/features.py --fonts FOLDER --pictures sets   # the sets, to train on
    python benchmarks/features.py --runs runs/mnist runs/faces              # a training's beginning, middle and end
    python benchmarks/features.py --speed torch                             # or tensorflow

Eight sets of pictures, none of which made the weights of `bundled`, are cut into halves, twenty times. One half is
damaged in eight ways, five strengths each, and compared with the other by KID's unbiased estimate over all pairs. Two
figures for each set, damage and extractor: whether the five distances (means over the splits) stand in the order of the
strengths, and how many times clear of the noise the weakest and the strongest are: (distance - that of undamaged
halves) / standard deviation of the latter from split to split.

Beside `bundled` stand the same network with random weights, pixels (both reduced to the directions in
which the reference varies most), and `classifier`, trained on other pictures of the set where these have labels.

The data root holds `MNIST/raw`, `fashion_mnist_sample` and `cifar10_jpg_10k.tar.gz`; `--fonts` is a folder with the
packages font-amatic-sc, font-caladea, font-fredoka-one, font-intuitive and font-lato (`pip install --target FOLDER`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import damages
import numpy as np

from ganzoo_features import bundled

SPLITS = 20  # into halves
STRENGTHS = 5
EXTRACTORS = ("bundled", "random weights", "pixels", "classifier")
SHARES = (0.1, 0.3, 1.0)  # of a training
TIMED = 10_000  # random pictures at 32 pixels
Extract = Callable[[np.ndarray], np.ndarray]  # uint8 [N,H,W,C] -> float [N,F]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=bundled.WEIGHTS_FILE, help="other weights for `bundled`")
    parser.add_argument("--data-root", type=Path, default=Path(os.environ.get("GANZOO_DATA", "data")))
    parser.add_argument("--fonts", type=Path, help="where the packages of fonts are installed")
    parser.add_argument("--extractors", default=",".join(EXTRACTORS), help="only these")
    parser.add_argument("--rows", type=Path, default=Path("features.jsonl"), help="kept here, and not measured again")
    parser.add_argument("--pictures", type=Path, help="instead: write each set as a folder of pictures into this one")
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="instead of damages: folders of runs")
    parser.add_argument("--speed", choices=("torch", "tensorflow"), help="instead: time and memory of `bundled` in it")
    args = parser.parse_args()
    started = time.monotonic()
    if args.speed:
        print(measure_speed(args.speed))
        return
    if args.runs:
        for run in args.runs:
            print_run(run, args.weights)
        return
    if args.pictures:
        for name, read in damages.list_sets(args.data_root, args.fonts).items():
            print(damages.write_pictures(read(), args.pictures / name.lower().replace(" ", "-")))
        return
    rows = [json.loads(line) for line in args.rows.read_text().splitlines()] if args.rows.exists() else []
    for name, read in damages.list_sets(args.data_root, args.fonts).items():
        known = {(row["extractor"], row["damage"]) for row in rows if row["set"] == name}
        every = {*damages.PICTURE_DAMAGES, *damages.SET_DAMAGES}
        wanted = {
            extractor: {d for d in every if (extractor, d) not in known} for extractor in args.extractors.split(",")
        }
        for row in measure_set(
            name, read, args.weights, {extractor: some for extractor, some in wanted.items() if some}
        ):
            rows.append(row)
            with args.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
    print_table("set", rows)
    print_table("damage", rows)
    print(f"{time.monotonic() - started:.0f} s, load {os.getloadavg()[0]:.1f}", file=sys.stderr)


def measure_set(
    name: str, read: Callable[[], damages.PictureSet], weights: Path, wanted: dict[str, set[str]]
) -> Iterator[dict[str, Any]]:
    """A row for each extractor and damage that are wanted: how far the five strengths are clear of the noise."""
    if not wanted:
        return
    pictures = read()
    images = pictures.images
    modes = damages.find_modes(images) if pictures.labels is None else pictures.labels
    strengths = range(1, STRENGTHS + 1)
    for extractor, make in list_extractors(images, pictures.others, weights).items():
        if extractor not in wanted:
            continue
        extract = make()
        found = extract(images)
        halves = [compute_kid(found[a], found[b]) for a, b in split(len(found))]
        for damage in sorted(wanted[extractor]):
            if damage in damages.PICTURE_DAMAGES:
                do = damages.PICTURE_DAMAGES[damage]
                far = compare(found, [extract(do(images, strength)) for strength in strengths])
            else:
                choose = damages.SET_DAMAGES[damage]
                far = compare(found, [found] * STRENGTHS, lambda b, s, choose=choose: b[choose(modes[b], s)])
            clear = [float((distance - np.mean(halves)) / np.std(halves)) for distance in far]
            yield {"set": name, "damage": damage, "extractor": extractor, "clear": clear}
            words = " ".join(f"{times:.1f}" for times in clear)
            print(f"{name}, {damage}, {extractor}: {words}{'' if is_ordered(clear) else ' (not in order)'}", flush=True)


def split(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The places of two halves, for each split."""
    random = np.random.Generator(np.random.Philox(3))
    orders = [random.permutation(count) for _ in range(SPLITS)]
    return [(order[: count // 2], order[count // 2 : 2 * (count // 2)]) for order in orders]


def compare(
    found: np.ndarray, damaged: list[np.ndarray], select: Callable[[np.ndarray, int], np.ndarray] | None = None
) -> list[float]:
    """The distance of one half of the real pictures to the other half, damaged: the mean over splits, per strength.

    `select` takes the places of that half and the strength, and says which are looked at.
    """
    pairs = split(len(found))
    return [
        float(np.mean([compute_kid(found[a], some[select(b, 1 + place) if select else b]) for a, b in pairs]))
        for place, some in enumerate(damaged)
    ]


def list_extractors(
    reference: np.ndarray, others: tuple[np.ndarray, np.ndarray] | None, weights: Path
) -> dict[str, Callable[[], Extract]]:
    """What makes each extractor, by name."""

    def load(tensors: dict[str, np.ndarray]) -> Extract:
        forward = bundled.make_forward("torch", tensors)
        return lambda images: bundled.extract_features(forward, images)

    def train_classifier() -> Extract:
        from ganzoo_scores import classifier_network  # imports PyTorch, which `--speed tensorflow` must not hold

        assert others is not None
        network = classifier_network.train(*others, int(others[1].max()) + 1, lambda done, total: None)
        return lambda images: classifier_network.extract_features(network, images)[0]

    extractors = {
        "bundled": lambda: load(bundled.load_tensors(weights)),
        "random weights": lambda: reduce_features(load(make_random_tensors()), reference),
        "pixels": lambda: reduce_features(lambda images: images.reshape(len(images), -1) / 255, reference),
    }
    return extractors | ({} if others is None else {"classifier": train_classifier})


def make_random_tensors() -> dict[str, np.ndarray]:
    """The network's start: He's initialisation, no biases, all pooled means."""
    random = np.random.Generator(np.random.Philox(0))
    tensors = {}
    for name, (_, shape) in bundled.describe_tensors().items():
        tensors[name] = np.zeros(shape, np.float32)
        if len(shape) == 4:
            tensors[name] = (random.standard_normal(shape) * np.sqrt(2 / (9 * shape[1]))).astype(np.float32)
    return tensors | {"projection": np.eye(bundled.POOLED, dtype=np.float32)}


def reduce_features(extract: Extract, reference: np.ndarray) -> Extract:
    """The same in the directions in which the reference varies most, as many as `bundled` has, scaled alike."""
    found = extract(reference).astype(np.float64)
    centre = found.mean(0)
    _, spread, directions = np.linalg.svd(found - centre, full_matrices=False)
    kept = slice(0, bundled.FEATURES)
    projection = directions[kept].T / np.sqrt((spread[kept] ** 2).mean() / len(found))
    return lambda images: (extract(images) - centre) @ projection


def compute_kid(real: np.ndarray, fake: np.ndarray) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy under k(x, y) = (x·y / F + 1)³."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a.astype(np.float64) @ b.T.astype(np.float64) / a.shape[1] + 1) ** 3

    def average(within: np.ndarray) -> float:
        return float(within.sum() - within.trace()) / (len(within) * (len(within) - 1))

    return average(kernel(real, real)) + average(kernel(fake, fake)) - 2 * float(kernel(real, fake).mean())


def is_ordered(distances: list[float]) -> bool:
    return all(a < b for a, b in zip([0.0, *distances], distances, strict=False))


def print_table(key: str, rows: list[dict[str, Any]]) -> None:
    """For each extractor: the orders that are right, and the median of how many times clear of the noise."""
    extractors = list(dict.fromkeys(row["extractor"] for row in rows))
    print(f"\n| {key} | {' | '.join(extractors)} |\n|---{'|---:' * len(extractors)}|")
    for name in [*dict.fromkeys(row[key] for row in rows), "all"]:
        cells = []
        for extractor in extractors:
            mine = [row["clear"] for row in rows if row["extractor"] == extractor and name in (row[key], "all")]
            right = sum(map(is_ordered, mine))
            weakest, strongest = (np.median([clear[place] for clear in mine] or [0]) for place in (0, -1))
            cells.append(f"{right} of {len(mine)}; {weakest:.1f} to {strongest:.0f}" if mine else "")
        print(f"| {name} | {' | '.join(cells)} |")


def measure_speed(framework: str) -> str:
    """Seconds of the features of many pictures after a first batch, and this process's peak memory, in words."""
    import resource

    forward = bundled.make_forward(framework, bundled.load_tensors())
    pictures = np.random.Generator(np.random.Philox(0)).integers(0, 256, (TIMED, 32, 32, 3), dtype=np.uint8)
    bundled.extract_features(forward, pictures[: bundled.BATCH])
    clock, processor = time.monotonic(), time.process_time()
    bundled.extract_features(forward, pictures)
    clock, processor = time.monotonic() - clock, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return (
        f"{framework}: {TIMED:,} pictures in {clock:.1f} s, {processor:.1f} s of the processor; peak memory "
        f"{peak:.0f} MiB; load {os.getloadavg()[0]:.1f}"
    )


def print_run(run: Path, weights: Path) -> None:
    """The distance of what a run drew at 10, 30 and 100 % of its training, which should fall."""
    from first_look import read_real_images

    from ganzoo_core.evaluation.protocol import resize_images

    source = read_real_images(run, None)[0]
    order = np.random.Generator(np.random.Philox(0)).permutation(len(source.images))
    real = np.asarray(source.images)[order[: 2 * damages.COUNT]]
    snapshots = sorted(int(path.name) for path in (run / "snapshots").iterdir())
    chosen = [min(snapshots, key=lambda images: abs(images - share * snapshots[-1])) for share in SHARES]
    others = None
    if source.labels is not None:
        learnt = order[-damages.TRAINED :]  # others than the above, where there are enough
        others = (np.asarray(source.images)[learnt], np.asarray(source.labels)[learnt])
    drawn = [resize_images(draw_images(run, images), real.shape[1:]) for images in chosen]  # as when they are scored
    for extractor, make in list_extractors(real, others, weights).items():
        extract = make()
        found = extract(real)
        distances = [compute_kid(found, extract(some)) for some in drawn]
        noise = np.std([compute_kid(found[a], found[b]) for a, b in split(len(found))])
        words = ", ".join(
            f"{images:,} images {value / noise:.1f}" for images, value in zip(chosen, distances, strict=True)
        )
        print(f"{run.name}, {extractor}: {words}{'' if is_ordered(distances[::-1]) else ' (not in order)'}", flush=True)


def draw_images(run: Path, images: int) -> np.ndarray:
    """What the generator of that many images draws: uint8 [N,H,W,C]."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawn.npz"
        words = ["generate", str(run), "--checkpoint", str(images), "-n", str(damages.COUNT), "--out", str(path)]
        subprocess.run([sys.executable, "-m", "ganzoo_core", *words], check=True, stdout=subprocess.DEVNULL)
        with np.load(path) as arrays:
            drawn: np.ndarray = arrays["images"]
            return drawn


if __name__ == "__main__":
    main()
