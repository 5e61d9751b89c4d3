"""How near the pictures of a run come to real ones, with no labels and no large network: what chose the presets.

    python benchmarks/first_look.py runs/dcgan-torch-digits-1              # a line for each run
    python benchmarks/first_look.py --json runs/*                          # for a program
    python benchmarks/first_look.py --nearest nearest.png runs/dcgan-torch-folder-1
    python benchmarks/first_look.py --train "dcgan-torch --data emoji" --seeds 0,1,2 --out runs/look

The distance is Fréchet's between 2,000 drawn images and the real ones, on their pixels at 8×8, reduced to the 30
directions in which the real ones vary most; ganzoo-scores computes it. Beside it stand two distances of real ones.
That of those which are framed as the networks see them, enlarged or padded, and made as small again: the best of
generators has that one. And that between two halves, below which nothing can be told. Where the data is digits, three
classifiers of scikit-learn that were trained on real ones say of how many images all three name the same digit.
Whether training images are copied is what `ganzoo evaluate` says by the metric `memorisation`: `authpct` or `c_t`.
`--nearest` shows them: a picture of drawn images over the training images nearest to them, and how far those
are, beside how far real ones are apart.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core import building, mix
from ganzoo_core.api import ImageSource
from ganzoo_core.data import framing, pixels
from ganzoo_core.data.framing import Framing
from ganzoo_core.discovery.catalog import scan
from ganzoo_core.evaluation import evaluate
from ganzoo_core.mix import Request
from ganzoo_core.report.nearest_and_walk import find_neighbours, load_training_images
from ganzoo_core.settings import read_facts, read_run_config
from ganzoo_scores.fid import compute_frechet_distance

SIDE, DIRECTIONS, COUNT, SHOWN_COUNT = 8, 30, 2000, 12
CLASSIFIED = "digits"  # the one data set whose classes three quick classifiers know
COLUMNS = (
    "run",
    "images",
    "distance",
    "real ones, framed",
    "halves of the real ones",
    "classifiers agree",
    "copies",
    "seconds",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs")
    parser.add_argument("--train", action="append", default=[], metavar="WORDS", help="what `ganzoo run` is given")
    parser.add_argument("--seeds", default="0", help="of the runs to train")
    parser.add_argument("--out", type=Path, default=Path("runs/first-look"), help="where those go")
    parser.add_argument("--data-root", default=None, help="where data sets lie")
    parser.add_argument("--nearest", type=Path, metavar="PNG", help="draw the last run's images over the nearest real")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each run")
    args = parser.parse_args()
    runs = list(args.runs)
    for words in args.train:
        name = re.sub(r"[^A-Za-z0-9=.]+", "-", words)
        runs += [train(words, int(seed), args.out / f"{name}-{seed}") for seed in args.seeds.split(",")]
    if not args.json:
        print(f"| {' | '.join(COLUMNS)} |")
        print(f"| --- {'| ---: ' * (len(COLUMNS) - 1)}|")
    for run in runs:
        found = measure_run(run, args.data_root)
        print(json.dumps(found) if args.json else format_row(found), flush=True)
    if args.nearest is not None:
        print(draw_nearest(runs[-1], args.data_root, args.nearest))


def train(words: str, seed: int, out: Path) -> Path:
    """`ganzoo run` with these words; a run that is there already stays."""
    if not (out / "generator").is_dir():
        command = [sys.executable, "-m", "ganzoo_core", "run", *shlex.split(words), "--seed", str(seed), "--quiet"]
        subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    return out


def measure_run(run: Path, data_root: str | None = None) -> dict[str, Any]:
    """All figures of one run."""
    source, name, seen = read_real_images(run, data_root)
    real = np.asarray(source.images)
    drawn = draw_images(run, COUNT)
    last = json.loads((run / "stats.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return {
        "run": str(run),
        "images": last["images"],
        "distance": compute_distance(drawn, real),
        "framed": compute_distance(seen, real),
        "halves": compare_halves(real),
        "agree": compute_agreement(drawn, real, source.labels) if name == CLASSIFIED else None,
        "copies": measure_copies(run, drawn, data_root),
        "seconds": last["seconds"],
    }


def measure_copies(run: Path, drawn: np.ndarray, data_root: str | None) -> dict[str, float]:
    """`authpct` where nothing was held out of the run's data, else `c_t`; nothing is written into the run."""
    asked: dict[str, Any] = {"images": drawn, "metrics": ["memorisation"], "score_real_images": False}
    return dict(evaluate(run, **asked, extractor="bundled", data_root=data_root)[0].scores)


def draw_nearest(run: Path, data_root: str | None, path: Path) -> str:
    """Write the `SHOWN` drawn images that are likest to a real one, each over that one; says how far both are apart.

    Distances are root mean square differences of pixel values, 0 to 255.
    """
    real = load_training_images(run, data_root)[0]  # with mirrored ones where the run mirrored
    drawn = draw_images(run, COUNT // 4)
    places, distances = find_neighbours(drawn, real, 1)
    apart = find_neighbours(real, real, 1, own_places=np.arange(len(real)))[1][:, 0]
    likest = np.argsort(distances[:, 0])[:SHOWN_COUNT]
    rows = [np.concatenate(list(row), axis=1) for row in (drawn[likest], real[places[likest, 0]])]
    pixels.to_pillow(np.concatenate(rows)).save(path)
    (middle, least), (between, twins) = ((np.median(found), found.min()) for found in (distances, apart))
    return (
        f"{run}: the nearest real image lies at {middle:.1f} from one of {len(drawn)} drawn ones (median; least "
        f"{least:.1f}) and at {between:.1f} from another real one (least {twins:.1f}); {path}"
    )


def draw_images(run: Path, count: int) -> np.ndarray:
    """Draw uint8 [N,H,W,C] in a process of its own: PyTorch computes the distance and cannot follow TensorFlow."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawn.npz"
        words = ["generate", str(run), "-n", str(count), "--seed", "1", "--out", str(path)]
        subprocess.run([sys.executable, "-m", "ganzoo_core", *words], check=True, stdout=subprocess.DEVNULL)
        with np.load(path) as arrays:
            images: np.ndarray = arrays["images"]
            return images


def read_real_images(run: Path, data_root: str | None) -> tuple[ImageSource, str, np.ndarray]:
    """All of the run's real images as they are; the dataset's name; and those images `framed`, uint8 [N,H,W,C]."""
    config = read_run_config(run / "config.yaml")
    request = Request(preset=read_facts(run / "config.yaml").preset or "none", config=config, config_name=str(run))
    resolved = mix.resolve(scan(), request)
    source = building.load_data(resolved, building.find_run_data_root(run, data_root))
    fitted = building.fit_to_data(resolved, source)
    return source, resolved.parts["data"].name, frame_images(source, fitted.framing, fitted.spec.channels)


def frame_images(source: ImageSource, how: Framing, channels: int) -> np.ndarray:
    """The images as the networks see them, without the padding: as a generator that drew nothing else would draw."""
    prepared = framing.prepare(source, how, channels)
    return framing.crop_padding(np.asarray(prepared.images), how.crop, how.target_size)


def format_row(found: dict[str, Any]) -> str:
    agree = "" if found["agree"] is None else f"{found['agree']:.3f}"
    copies = ", ".join(f"{name} {value:.1f}" for name, value in found["copies"].items())
    distances = [f"{found[name]:.3f}" for name in ("distance", "framed", "halves")]
    figures = " | ".join([*distances, agree, copies, f"{found['seconds']:.0f}"])
    return f"| {found['run']} | {found['images']:,} | {figures} |"


def shrink(images: np.ndarray) -> np.ndarray:
    """uint8 [N,H,W,C] -> the means of equal squares, float64 [N,8·8·C] from 0 to 1."""
    count, height, width, channels = images.shape
    if height % SIDE or width % SIDE:
        rows, columns = (np.arange(SIDE * 4) * length // (SIDE * 4) for length in (height, width))
        images = images[:, rows][:, :, columns]
        height = width = SIDE * 4
    squares = images.reshape(count, SIDE, height // SIDE, SIDE, width // SIDE, channels)
    means: np.ndarray = squares.mean((2, 4), dtype=np.float64).reshape(count, -1) / 255
    return means


def compute_distance(drawn: np.ndarray, real: np.ndarray) -> float:
    """Fréchet's distance of two sets of images, uint8 [N,H,W,C] each, on `DIRECTIONS` of the second one's pixels."""
    a, b = shrink(drawn), shrink(real)
    mean = b.mean(0)
    directions = np.linalg.svd(b - mean, full_matrices=False)[2][:DIRECTIONS].T
    return compute_frechet_distance((b - mean) @ directions, (a - mean) @ directions)


def compare_halves(real: np.ndarray) -> float:
    """The distance between two halves of the real images, drawn at random."""
    order = np.random.Generator(np.random.Philox(0)).permutation(len(real))
    return compute_distance(real[order[::2]], real[order[1::2]])


def compute_agreement(drawn: np.ndarray, real: np.ndarray, labels: np.ndarray | None) -> float:
    """The share of images of which three classifiers that learnt from the real ones name the same class."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    assert labels is not None
    kinds = (SVC(random_state=0), KNeighborsClassifier(5), RandomForestClassifier(300, random_state=0))
    named = np.array([kind.fit(shrink(real), labels).predict(shrink(drawn)) for kind in kinds])
    return float((named == named[0]).all(0).mean())


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
