"""`ganzoo generate`: draw images from a saved generator, with neither its data nor its settings at hand."""

from __future__ import annotations

import argparse
from pathlib import Path

from ganzoo_core.cli.parser import Parser


def add(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Declare the command."""
    parser = subparsers.add_parser("generate", help="draw images", description=__doc__)
    parser.add_argument("path", type=Path, metavar="PATH", help="a run, its generator/ or a snapshot")
    parser.add_argument(
        "-n", type=int, default=16, metavar="N", help="how many images (16); with --class all, of each class"
    )
    parser.add_argument(
        "--class", dest="label", metavar="C", help="the class to draw, by name or number; all for a row of each"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed draws the same images (0)")
    parser.add_argument("--checkpoint", default="last", metavar="C", help="IMAGES, epoch:N, best or last (last)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where it runs")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PLACE",
        help="FILE.png for a grid, FILE.npz for arrays, a folder for one PNG each (samples-SEED.png in PATH)",
    )
    return parser


def execute(args: argparse.Namespace) -> int:
    """Draw and write."""
    import numpy as np

    from ganzoo_core import images, session
    from ganzoo_core.api import UsageError

    out = args.out or args.path / f"samples-{args.seed}.png"
    if out.suffix and out.suffix.lower() not in images.SUFFIXES:
        raise UsageError(f"--out {out} ends in {out.suffix}; write to FILE.png (a grid), FILE.npz or a folder")
    generator = session.load(args.path, checkpoint=args.checkpoint, device=args.device)
    rows: list[str] = []
    if args.label == "all":
        drawn, rows = generator.generate_all(args.n, seed=args.seed), generator.class_names
        labels: np.ndarray | None = np.repeat(np.arange(len(rows)), args.n)
    else:
        labels = generator.labels(args.n, args.label)
        drawn = generator.generate(args.n, seed=args.seed, labels=labels)
    images.save(drawn, out, labels, rows=rows)
    print(out)
    return 0
