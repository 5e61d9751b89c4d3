"""`ganzoo generate`: draw images from a saved generator, with neither its data nor its settings at hand.

MODEL, or MODEL:NAME, draws from the trained generator that the model's plugin carries. A generator that is trained on
conditions, such as one that colourises, draws from what --on names.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ganzoo_core.cli.options import CHECKPOINT, CLASS, DEVICE, ENGINE_SETTINGS
from ganzoo_core.cli.parser import Parser, parse_path
from ganzoo_core.terminal.text import write_exact, write_json

if TYPE_CHECKING:
    import numpy as np

    from ganzoo_core.generation.given import Given
    from ganzoo_core.generation.saved import SavedGenerator

SCHEMA = 1
STRIP_FRAMES, STRIP_KEYS = 16, 4  # frames and key points of a latent walk drawn as one picture
WALKS_BY_SIZE = ((64, 16), (128, 4))  # (side in pixels, walks): up to that side, so many walks side by side; else one


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
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
    on = parser.add_argument_group("from conditions")
    on.add_argument(
        "--on",
        nargs="+",
        metavar="PICTURE",
        help="pictures or folders of them, each drawn once, or one -n times; FILE.npz, an array for each condition; or "
        "test, the test part of the run's data",
    )
    on.add_argument("--as-is", action="store_true", help="the pictures are conditions, not images to derive them from")
    on.add_argument("--fit", choices=("crop", "pad", "stretch"), help="bring pictures of another size to the right one")
    on.add_argument("--data-root", type=parse_path, metavar="DIR", help="where data sets lie, for --on test")
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

    if not args.on and (args.as_is or args.fit or args.data_root):
        raise UsageError("--as-is, --fit and --data-root are about --on; say it too, or neither")
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
    given = _read_given(args, generator)
    if args.walk:
        return _draw_walk(args, generator, out, given)
    rows: list[str] = []
    n = len(given) if given is not None else 16 if args.n is None else args.n
    if generator.means_all(args.label):
        drawn, rows = generator.generate_all(n, seed=args.seed, on=given), generator.classes.trained_names
        labels: np.ndarray | None = np.repeat(generator.classes.trained, n)
        given = given and given.take(np.tile(np.arange(n), len(rows)))
    else:
        labels = given.labels if given and args.label is None else None
        labels = generator.labels(n, args.label) if labels is None else labels
        drawn = generator.generate(n, seed=args.seed, labels=labels, on=given)
    if given is None:
        picture_files.save_images(drawn, out, labels, rows=rows)
    else:
        _save_beside(drawn, out, labels, given, generator)
    kind = {".png": "grid", ".npz": "arrays"}.get(out.suffix.lower(), "folder")
    return _tell(args, out, kind, images=len(drawn))


def _read_given(args: argparse.Namespace, generator: SavedGenerator) -> Given | None:
    """What --on names; None for a generator without conditions."""
    if not args.on and not generator.spec.conditions:
        return None
    return generator.read_given(
        args.on, args.n, seed=args.seed, as_is=args.as_is, fit=args.fit, data_root=args.data_root
    )


def _save_beside(
    drawn: np.ndarray, out: Path, labels: np.ndarray | None, given: Given, generator: SavedGenerator
) -> None:
    """Write images drawn from conditions: a PNG shows them side by side, an npz holds both, a folder the images."""
    from ganzoo_core.data import picture_files, side_by_side
    from ganzoo_core.generation.given import crop_pictures

    card = generator.card
    targets = {} if given.targets is None else crop_pictures({"targets": given.targets}, card)
    conditions = crop_pictures(given.conditions, card)
    if out.suffix.lower() == ".png":
        columns = side_by_side.list_columns(conditions, output=drawn, target=targets.get("targets"))
        picture_files.save_picture(side_by_side.make_sheet(columns), out)
    elif out.suffix.lower() == ".npz":
        picture_files.save_arrays({**targets, **conditions, "images": drawn}, out, labels)
    else:
        picture_files.save_images(drawn, out, names=given.names)


def _draw_walk(args: argparse.Namespace, generator: SavedGenerator, out: Path, given: Given | None) -> int:
    from ganzoo_core.data import picture_files
    from ganzoo_core.generation import latent_walk

    is_strip = out.suffix.lower() == ".png"
    frames, keys = (STRIP_FRAMES, STRIP_KEYS) if is_strip else (latent_walk.DEFAULT_FRAMES, latent_walk.DEFAULT_KEYS)
    n = args.n
    if n is None and given is None:
        side = max(generator.spec.height, generator.spec.width)
        beside = next((count for most, count in WALKS_BY_SIZE if side <= most), 1)
        n = 1 if is_strip or generator.means_all(args.label) else beside
    drawn = generator.walk(
        n,
        frames=frames if args.frames is None else args.frames,
        keys=keys if args.keys is None else args.keys,
        seed=args.seed,
        labels=args.label,
        on=given,
    )
    rows = generator.classes.trained_names if generator.means_all(args.label) else ()
    picture_files.save_walk(drawn, out, rows=rows)
    return _tell(args, out, "strip" if is_strip else "walk", walks=drawn.shape[1], frames=len(drawn))


def _tell(args: argparse.Namespace, out: Path, kind: str, **counts: int) -> int:
    """Print what was written where; return the exit code."""
    if args.json:
        on = {"on": args.on} if args.on else {}
        write_json({"schema": SCHEMA, "path": str(out), "kind": kind, **counts, "seed": args.seed, **on})
    else:
        write_exact(out)
    return 0
