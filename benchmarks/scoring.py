"""Where the seconds of `ganzoo evaluate` go, before and after: features from the cache, and two processes at once.

    python benchmarks/scoring.py RUN -n 10000
    python benchmarks/scoring.py dcgan-torch --data mnist --extractor bundled -n 10000
    python benchmarks/scoring.py RUN --batches 8 16 32 64 128 -n 2000

Each kind scores the same images in turn, in alternating order. All must find the same scores, to the bit. With
`--batches` only the extractor is timed, by how many images it looks at together.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pairs import BUSY_SHARE, read_core_seconds

from ganzoo_core.engines import count_available_cores
from ganzoo_core.evaluation.client import Scorer, say_nothing
from ganzoo_core.evaluation.drawn_parts import PartFiles, draw_parts
from ganzoo_core.evaluation.protocol import resize_images
from ganzoo_core.evaluation.request import ScoreRequest, make_request, read_run_data
from ganzoo_core.evaluation.worker import ScoringSession
from ganzoo_core.generation.bundled import find_folder
from ganzoo_core.processes import Child
from ganzoo_core.runs import generators, layout
from ganzoo_core.runs.scores import Score
from ganzoo_core.storage import paths


class Kind(NamedTuple):
    """How images are scored.

    Attributes:
        cached: the features of real images come from the cache.
        in_parts: a part is extracted while the next is drawn.
        together: both processes start at once.
    """

    cached: bool
    in_parts: bool
    together: bool


KINDS = {
    "before": Kind(False, False, False),
    "together": Kind(False, False, True),
    "parts": Kind(False, True, True),
    "cache": Kind(True, False, True),
    "after": Kind(True, True, True),
}
STAGES = ("start", "drawing", "extracting", "metrics", "all")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, metavar="RUN", help="a run, a saved generator or a model that carries one")
    parser.add_argument("-n", type=int, default=10_000, help="images that are drawn")
    parser.add_argument("--data", help="the run's without it")
    parser.add_argument("--extractor")
    parser.add_argument("--metrics", help="A,B")
    parser.add_argument("--reference", default="test", choices=("test", "train", "all"))
    parser.add_argument("--device", default="auto", help="where it draws")
    parser.add_argument("--pairs", type=int, default=4, help="times that each kind scores")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--batches", nargs="+", type=int, default=[], help="time the extractor alone")
    parser.add_argument("--json", type=Path, help="write all that was found")
    args = parser.parse_args()
    is_run = (args.path / layout.CONFIG).is_file()
    name, settings = (args.data, {}) if args.data else read_run_data(args.path)
    request = make_request(
        data=name,
        data_settings=settings,
        reference=args.reference,
        extractor=args.extractor,
        metrics=args.metrics.split(",") if args.metrics else None,
    )
    load, before = os.getloadavg()[0], (time.perf_counter(), read_core_seconds(()))
    if args.batches:
        found: dict[str, Any] = {"batches": time_batches(request, args)}
        print_batches(found["batches"], args)
    else:
        generator = generators.find_generator(args.path) if is_run else find_folder(args.path, "last")
        found = {"kinds": time_kinds(request, generator.absolute(), args)}
        print_kinds(found["kinds"], args)
    found |= {"load_before": load, "load_after": os.getloadavg()[0], "cores": count_available_cores()}
    print(f"load before {found['load_before']:.2f}, after {found['load_after']:.2f}, {found['cores']} cores")
    if args.batches and (busy := explain_others(before)):  # of several processes the kernel tells no one's share
        print(busy, file=sys.stderr)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


# Kinds


def time_kinds(request: ScoreRequest, generator: Path, args: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Seconds of each stage, by kind, a list with one entry a pair; stops where two kinds find other scores."""
    seconds: dict[str, list[dict[str, float]]] = {kind: [] for kind in args.kinds}
    with use_own_cache() as features:
        reference, _ = score(request, generator, KINDS["after"], args)  # what is made once is made here
        for pair in range(args.pairs):
            for kind in args.kinds if pair % 2 == 0 else args.kinds[::-1]:
                with contextlib.nullcontext() if KINDS[kind].cached else keep_out(features):
                    found, taken = score(request, generator, KINDS[kind], args)
                if found.as_json() != reference.as_json():  # where what is no number equals itself
                    raise SystemExit(f"{kind} finds other scores: {found.scores} and {reference.scores}")
                seconds[kind].append(taken)
    return seconds


@contextlib.contextmanager
def use_own_cache() -> Iterator[Path]:
    """A cache with what the user's holds beside features, so that nothing is trained here; yield where features go."""
    former = paths.find_cache_folder()
    with tempfile.TemporaryDirectory(prefix="ganzoo-scoring-") as folder:
        for entry in former.iterdir() if former.is_dir() else ():
            if entry.is_file():
                shutil.copy(entry, folder)
            elif entry.name not in ("features", "fingerprints", "locks"):
                (Path(folder) / entry.name).symlink_to(entry)
        os.environ["GANZOO_CACHE"] = folder
        yield Path(folder) / "features"


@contextlib.contextmanager
def keep_out(features: Path) -> Iterator[None]:
    """Have no features cached: a file is in the folder's place."""
    aside = features.with_name("aside")
    if features.exists():
        features.rename(aside)
    features.touch()
    try:
        yield
    finally:
        features.unlink()
        if aside.exists():
            aside.rename(features)


def score(
    request: ScoreRequest, generator: Path, kind: Kind, args: argparse.Namespace
) -> tuple[Score, dict[str, float]]:
    """Score `args.n` images of the generator, as `evaluate` does; also the seconds of each stage.

    In parts, drawing and extracting are what is waited for each, beside the other.
    """
    began = time.perf_counter()
    asked = {"generator": str(generator), "device": args.device, "settings": {}}
    with contextlib.ExitStack() as stack:

        def start_drawer() -> Child:
            child = stack.enter_context(Child("ganzoo_core.evaluation.drawing_worker", "draws the images"))
            child.send(asked)
            return child

        drawer = start_drawer() if kind.together else None
        scorer = stack.enter_context(Scorer(request))
        drawer = drawer or start_drawer()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        drawer.receive(say_nothing)
        ready = time.perf_counter()
        facts: dict[str, Any] = {}
        whole = {**asked, "n": args.n, "seed": 0, "data": args.data, "data_root": None}
        size = scorer.part_size if kind.in_parts else args.n
        parts = TimedParts(draw_parts(drawer, whole, folder, size, facts, say_nothing))
        scorer.send_parts(parts)
        extracted = time.perf_counter()
        found = scorer.finish(seed=0, seen=facts["images"], ema=None)
        done = time.perf_counter()
    stages = (ready - began, parts.seconds, extracted - ready - parts.seconds, done - extracted, done - began)
    return found, dict(zip(STAGES, stages, strict=True))


class TimedParts:
    """Parts, and the seconds that were waited for them."""

    def __init__(self, parts: Iterator[PartFiles]) -> None:
        self.parts, self.seconds = parts, 0.0

    def __iter__(self) -> Iterator[PartFiles]:
        while True:
            began = time.perf_counter()
            part = next(self.parts, None)
            self.seconds += time.perf_counter() - began
            if part is None:
                return
            yield part


def print_kinds(found: dict[str, list[dict[str, float]]], args: argparse.Namespace) -> None:
    """A row a kind: medians of the seconds, and how often the first kind's time, with the spread over pairs."""
    print(f"{args.path}: {args.n:,} images, median seconds of {args.pairs}\n")
    print(f"| | {' | '.join(STAGES)} | times as fast | spread |\n|---|{'---:|' * (len(STAGES) + 2)}")
    base = [taken["all"] for taken in next(iter(found.values()))]
    for kind, each in found.items():
        cells = [f"{statistics.median(taken[stage] for taken in each):.2f}" for stage in STAGES]
        ratios = [first / taken["all"] for first, taken in zip(base, each, strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"| {kind} | {' | '.join(cells)} | {statistics.median(ratios):.2f} | {spread} |")
    print("\nall scores are equal to the bit")


# Batches


def time_batches(request: ScoreRequest, args: argparse.Namespace) -> dict[str, list[float]]:
    """Images a second of the extractor, by batch, a list with one entry a pair; "own" is its own batch."""
    session = ScoringSession(request, say_nothing)
    extractor: Any = session.choice.extractor
    reference = session.read_split(request.reference).images
    rows = np.arange(args.n) % len(reference)
    images = resize_images(np.concatenate([np.asarray(reference[row : row + 1]) for row in rows]), session.shape)
    batches = {f"own ({extractor.batch})": extractor.batch, **{str(batch): batch for batch in args.batches}}
    rates: dict[str, list[float]] = {name: [] for name in batches}
    for pair in range(-1, args.pairs):
        for name in list(batches) if pair % 2 == 0 else list(batches)[::-1]:
            set_batch(extractor, batches[name])
            began = time.perf_counter()
            extractor.extract(images)
            if pair >= 0:  # the first time warms up
                rates[name].append(len(images) / (time.perf_counter() - began))
    return rates


def set_batch(extractor: Any, batch: int) -> None:
    """Of one that looks at single channels, the inner one's too."""
    for one in (extractor, getattr(extractor, "single", None)):
        if one is not None:
            one.batch = batch


def print_batches(rates: dict[str, list[float]], args: argparse.Namespace) -> None:
    print(f"{args.n:,} images, {args.pairs} times each\n")
    print("| batch | img/s | times its own | spread |\n|---|---:|---:|---:|")
    base = next(iter(rates.values()))
    for name, values in rates.items():
        ratios: Sequence[float] = [rate / own for rate, own in zip(values, base, strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"| {name} | {statistics.median(values):,.0f} | {statistics.median(ratios):.2f} | {spread} |")


def explain_others(before: tuple[float, tuple[float, float] | None]) -> str:
    """What other processes did since; "" if nothing that matters."""
    began, busy = before
    after, cores = read_core_seconds(()), count_available_cores()
    if busy is None or after is None:
        return ""
    others = ((after[0] - busy[0]) - (after[1] - busy[1])) / (time.perf_counter() - began)
    if others <= BUSY_SHARE * cores:
        return ""
    return f"others kept {others:.2f} of {cores} cores busy: take none of this for a figure"


if __name__ == "__main__":
    raise SystemExit(main())
