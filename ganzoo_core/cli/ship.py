"""`ganzoo ship`: put a run's generator into its model's plugin, whose wheel then carries it.

`ganzoo generate MODEL` draws from it at once, without training. Its kernels are stored in half precision, if it draws
the same so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ganzoo_core.cli.options import CHECKPOINT
from ganzoo_core.cli.parser import Parser, parse_path
from ganzoo_core.terminal.text import write_exact, write_line


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("path", type=parse_path, metavar="RUN", help="a run, its generator/ or a snapshot")
    parser.add_argument("--name", metavar="NAME", help="what it is called, such as that of its data (the run's data)")
    parser.add_argument("--checkpoint", **CHECKPOINT, help="IMAGES, epoch:N, best or last (last)")


def execute(args: argparse.Namespace) -> int:
    """Write the generator into its plugin, and print what to add to the manifest."""
    from ganzoo_core.discovery import catalog
    from ganzoo_core.discovery.manifest.fields import NAME_PATTERN, NAME_RULE
    from ganzoo_core.errors import UsageError
    from ganzoo_core.generation import bundled, bundling
    from ganzoo_core.runs import generators
    from ganzoo_core.runs.folder import read_card
    from ganzoo_core.storage import files

    generator = generators.find_generator(args.path, args.checkpoint)
    made_by = read_card(generator).part
    if made_by is None:
        raise UsageError(f"{generator} was trained from an object, and no plugin could build it again")
    part = catalog.scan().find("models", f"{made_by.distribution}/{made_by.name}")
    name = args.name or _read_data_name(args.path)
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(f"--name {name!r} should be of {NAME_RULE}")
    folder = bundled.get_bundled_folder(part, name)
    if not args.name and files.describe(folder):
        raise UsageError(f"{folder} is there already; say --name {name} to replace it, or another name")
    try:
        size = bundling.write_bundle(generator, folder)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written ({error.strerror}); install the plugin from its source: pip install -e"
        ) from None
    card = read_card(folder)
    precision = "half precision" if card.kernels == "float16" else "single precision: in half it would draw otherwise"
    write_line(f"{size:,} bytes of weights, kernels in {precision}", sys.stderr)
    if card.license:
        write_line(f"what it draws is under {card.license}; the README and the pyproject should say so", sys.stderr)
    if name not in part.generators:
        names = ", ".join(f'"{each}"' for each in (*part.generators, name))
        write_line(f"say so in its ganzoo.toml, under [models.{part.name}]: generators = [{names}]", sys.stderr)
    write_exact(folder)
    return 0


def _read_data_name(run: Path) -> str:
    """The name of the dataset that a run was trained on."""
    from ganzoo_core.errors import UsageError
    from ganzoo_core.runs import layout
    from ganzoo_core.settings import read_config

    try:
        data = str(read_config(run / layout.CONFIG)["use.data"])
    except (UsageError, KeyError):
        raise UsageError(f"{run} does not say what data it was trained on; say --name") from None
    return data.partition(":")[0]
