"""How well a run translates pictures, beside the same networks trained by L1 alone and what needs no network at all.

    python benchmarks/translation.py runs/colour --l1 runs/colour-l1                   # a table
    python benchmarks/translation.py runs/colour --l1 runs/colour-l1 --picture rows.png

Each picture of the run's test part is drawn from its condition. PSNR, SSIM and the distance in the extractor's features
compare an output with its target; FID and KID compare all outputs with all real images. Least distortion and images
that look real exclude each other (Blau, Michaeli 2018, arXiv:1711.06077), so that L1 should win the first two, and a
GAN the others. A run by L1 alone is one with `--set loss.gan_weight=0`. What needs no network depends on the condition:

    grey            the grey itself, copied to each channel
    downscale:N     the condition itself, enlarged bicubically
    mask:SHARE      the hidden part filled with the mean colour of what is seen of that picture
    edges           nothing

`--picture` draws a row for each of some test pictures: condition, that, L1 alone, the run, target.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ganzoo_core.building import find_run_data_root
from ganzoo_core.data.side_by_side import list_columns, make_sheet
from ganzoo_core.evaluation import Scorer, make_request
from ganzoo_core.evaluation.request import read_run_data
from ganzoo_core.generation.data_rows import DataRows, load_for_generator
from ganzoo_core.generation.given import Given
from ganzoo_core.generation.saved import SavedGenerator
from ganzoo_core.runs.generators import list_generators
from ganzoo_core.runs.scores import Score

METRICS = ("pairs", "fid", "kid")
COLUMNS = {"psnr": "PSNR, dB", "ssim": "SSIM", "feature-distance": "feature distance", "fid": "FID", "kid": "KID"}
MOST, SHOWN = 10_000, 24  # test pictures that are scored, and that are shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run that draws from a condition `source`")
    parser.add_argument("--l1", type=Path, help="that of the same run with loss.gan_weight=0")
    parser.add_argument("--data-root", default=None, help="where data sets lie")
    parser.add_argument("--extractor", default="bundled", help="what looks at the images")
    parser.add_argument("-n", type=int, default=MOST, help="test pictures at most")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw some of them side by side")
    parser.add_argument("--json", action="store_true", help="the scores as JSON")
    args = parser.parse_args()
    rows, drawn = draw_all(args.run, args.l1, args.n, args.data_root)
    scores = score_all(args.run, rows.images, drawn, args.extractor, args.data_root)
    if args.json:
        print(json.dumps({name: dict(score.scores) for name, score in scores.items()}))
    else:
        print(make_table(scores, len(rows)))
    if args.picture:
        shown = {name: images[:SHOWN] for name, images in drawn.items()}
        source = {"source": rows.conditions["source"][:SHOWN]}
        make_sheet(list_columns(source, **shown, target=rows.images[:SHOWN]), groups=3).save(args.picture)


def draw_all(run: Path, l1: Path | None, count: int, data_root: str | None) -> tuple[DataRows, dict[str, np.ndarray]]:
    """Rows of the run's test part, and name -> images uint8 [N,H,W,C] drawn from them."""
    folders = {"GAN": run} if l1 is None else {"L1 alone": l1, "GAN": run}
    one = {"engine.threads": 1}  # a picture at a time gains nothing from more
    generators = {
        name: SavedGenerator(list_generators(folder, "last")[0], settings=one) for name, folder in folders.items()
    }
    last = generators["GAN"]
    rows = load_for_generator(last.folder, last.card, count=count, data_root=data_root)  # of any class
    name, simple = translate_simply(rows.conditions["source"], rows.images.shape[3], last.card.derive)
    drawn = {} if simple is None else {name: simple}
    for name, generator in generators.items():
        drawn[name] = generator.generate(len(rows), on=Given(rows.conditions))
    return rows, drawn


def translate_simply(source: np.ndarray, channels: int, derive: str) -> tuple[str, np.ndarray | None]:
    """What is drawn from conditions uint8 [N,H,W,S] without a network, and its name; None where there is no such thing.

    Args:
        source: the conditions.
        channels: of the images.
        derive: `data.derive`.
    """
    method = derive.partition(":")[0]
    if method == "grey":
        return "grey copied", np.repeat(source, channels, axis=3)
    if method == "downscale":
        return "bicubic", source
    if method == "mask":
        seen = source[..., -1:] == 0
        pixels = source[..., :-1]
        means = (pixels * seen).sum((1, 2), keepdims=True) / seen.sum((1, 2), keepdims=True)
        return "mean fill", np.where(seen, pixels, np.rint(means)).astype(np.uint8)
    return "", None


def score_all(
    run: Path, targets: np.ndarray, drawn: Mapping[str, np.ndarray], extractor: str, data_root: str | None
) -> dict[str, Score]:
    """Name -> the scores of these images."""
    data, settings = read_run_data(run)
    request = make_request(
        data=data,
        data_settings=settings,
        data_root=find_run_data_root(run, data_root),
        extractor=extractor,
        metrics=METRICS,
        settings={"metric.fid.allow_few": True},
    )
    with Scorer(request) as scorer:
        return {name: scorer.score(images, targets=targets) for name, images in drawn.items()}


def make_table(scores: Mapping[str, Score], count: int) -> str:
    """A table in Markdown; the best of each column is bold."""
    lines = [f"| {count:,} test pictures | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, score in scores.items():
        cells = []
        for column in COLUMNS:
            values = [other.scores[column] for other in scores.values()]
            best = (max if score.better[column] == "higher" else min)(values)
            text = f"{score.scores[column]:.4g}"
            cells.append(f"**{text}**" if score.scores[column] == best else text)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    floor = next(iter(scores.values())).real
    lines.append(f"| real halves | {' | '.join(f'{floor[c]:.4g}' if c in floor else '' for c in COLUMNS)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
