"""`ganzoo generate`: draw images from a saved generator, with neither its data nor its settings at hand.

MODEL, or MODEL:NAME, draws from the trained generator that the model's plugin carries.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ganzoo_core.cli.parser import CHECKPOINT, CLASS, DEVICE, ENGINE_SETTINGS, Parser, parse_path
from ganzoo_core.terminal.text import write_exact, write_json

if TYPE_CHECKING:
    from ganzoo_core.generation.saved import SavedGenerator

SCHEMA = 1
STRIP_FRAMES, STRIP_KEYS = 16, 4  # frames and key points of a latent walk drawn as one picture
WALKS_BY_SIZE = ((64, 16), (128, 4))  # (side in pixels, walks): up to that side, so many walks side by side; else one


def add(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Declare the command."""
    parser = subparsers.add_parser("generate", help="draw images", description=__doc__)
    parser.add_argument("path", type=parse_path, metavar="PATH", help="a run, its generator/ or a snapshot; or a MODEL")
    parser.add_argument(
        "-n", type=int, metavar="N", help="how many images (16), or walks; with --class all, of each class"
    )
    parser.add_argument("--class", **CLASS, help="the class to draw, by name or index; all for a row of each")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed draws the same images (0)")
    parser.add_argument("--checkpoint", **CHECKPOINT, help="IMAGES, epoch:N, best or last (last)")
    parser.add_argument("--device", **DEVICE, default="auto", help="where it runs")
    parser.add_argument("--set", **ENGINE_SETTINGS)
    parser.add_argument(
        "--out",
        type=parse_path,
        metavar="PLACE",
        help="FILE.png for a grid, FILE.npz for arrays, a folder for one PNG each (samples-SEED.png in PATH; of a "
        "model MODEL-samples-SEED.png here)",
    )
    parser.add_argument("--json", action="store_true", help="for programs: stdout is JSON alone, what was written")
    walk = parser.add_argument_group("a walk")
    walk.add_argument(
        "--walk",
        action="store_true",
        help="a closed walk through the latent space: --out FILE.gif or FILE.webp moves, FILE.png is a strip "
        "(walk-SEED.gif in PATH)",
    )
    walk.add_argument("--frames", type=int, metavar="F", help=f"pictures of a walk (64; {STRIP_FRAMES} in a strip)")
    walk.add_argument(
        "--keys",
        type=int,
        metavar="K",
        help=f"it goes through the images of the seeds S to S+K-1 (8; {STRIP_KEYS} in a strip)",
    )
    return parser


def execute(args: argparse.Namespace) -> int:
    """Draw images and write them to a file or folder."""
    import numpy as np

    from ganzoo_core.data import picture_files
    from ganzoo_core.errors import UsageError
    from ganzoo_core.generation import load
    from ganzoo_core.runs import layout
    from ganzoo_core.settings import parse_assignments
    from ganzoo_core.storage import files
    from ganzoo_core.terminal.progress import Reporter

    if not args.walk and (args.frames is not None or args.keys is not None):
        raise UsageError("--frames and --keys are about --walk; say it too, or neither")
    name = layout.walk_of(args.seed) if args.walk else layout.drawing_of(args.seed)
    beside = args.path if args.path.exists() else Path(str(args.path).replace("/", "-").replace(":", "-"))
    out = args.out or (beside / name if beside.is_dir() else Path(f"{beside}-{name}"))
    if args.out is None and beside.is_dir():
        files.check_file(out)  # never write through a link inside a run's folder
    known = (*picture_files.ANIMATION_SUFFIXES, ".png") if args.walk else picture_files.SUFFIXES
    if args.walk and out.suffix.lower() not in known:
        raise UsageError(f"--out {out} ends in {out.suffix or 'nothing'}; write a walk to FILE.gif, .webp or .png")
    if out.suffix and out.suffix.lower() not in known:
        raise UsageError(f"--out {out} ends in {out.suffix}; write to FILE.png (a grid), FILE.npz or a folder")
    if not out.suffix:
        picture_files.check_new_folder(out)  # checked before drawing
    generator = load.find_saved(
        args.path, checkpoint=args.checkpoint, device=args.device, settings=parse_assignments(args.set)
    )
    if generator.license:
        Reporter().say(f"what it draws is under the licence of what it learnt from, {generator.license}")
    if args.walk:
        return _draw_walk(args, generator, out)
    rows: list[str] = []
    n = 16 if args.n is None else args.n
    if generator.means_all(args.label):
        drawn, rows = generator.generate_all(n, seed=args.seed), generator.classes.trained_names
        labels: np.ndarray | None = np.repeat(generator.classes.trained, n)
    else:
        labels = generator.labels(n, args.label)
        drawn = generator.generate(n, seed=args.seed, labels=labels)
    picture_files.save_images(drawn, out, labels, rows=rows)
    kind = {".png": "grid", ".npz": "arrays"}.get(out.suffix.lower(), "folder")
    return _tell(args, out, kind, images=len(drawn))


def _draw_walk(args: argparse.Namespace, generator: SavedGenerator, out: Path) -> int:
    from ganzoo_core.data import picture_files
    from ganzoo_core.generation import latent_walk

    is_strip = out.suffix.lower() == ".png"
    frames, keys = (STRIP_FRAMES, STRIP_KEYS) if is_strip else (latent_walk.DEFAULT_FRAMES, latent_walk.DEFAULT_KEYS)
    n = args.n
    if n is None:
        side = max(generator.spec.height, generator.spec.width)
        beside = next((count for most, count in WALKS_BY_SIZE if side <= most), 1)
        n = 1 if is_strip or generator.means_all(args.label) else beside
    drawn = generator.walk(
        n,
        frames=frames if args.frames is None else args.frames,
        keys=keys if args.keys is None else args.keys,
        seed=args.seed,
        labels=args.label,
    )
    rows = generator.classes.trained_names if generator.means_all(args.label) else ()
    picture_files.save_walk(drawn, out, rows=rows)
    return _tell(args, out, "strip" if is_strip else "walk", walks=drawn.shape[1], frames=len(drawn))


def _tell(args: argparse.Namespace, out: Path, kind: str, **counts: int) -> int:
    """Print what was written where; return the exit code."""
    if args.json:
        write_json({"schema": SCHEMA, "path": str(out), "kind": kind, **counts, "seed": args.seed})
    else:
        write_exact(out)
    return 0
