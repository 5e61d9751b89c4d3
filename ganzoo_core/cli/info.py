"""`ganzoo info`: a part's paper, sizes, settings, presets and needs; with --layers, each layer of a model."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from ganzoo_core import catalog
from ganzoo_core.console import table
from ganzoo_core.manifest import Part

SCHEMA = 1


def add(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser("info", help="all about one part", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="a part of any kind")
    parser.add_argument("--data", metavar="NAME", help="with --layers: the dataset that the networks are built for")
    parser.add_argument("--preset", metavar="P", help="with --layers: a preset of the model")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="with --layers: a setting")
    parser.add_argument("--layers", action="store_true", help="each layer's output shape and parameters")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


def execute(args: argparse.Namespace) -> int:
    """Print what the card says, or build the networks and print their layers."""
    part = catalog.scan(args.no_plugin).find_any(args.name)
    if args.layers:
        return _layers(args, part)
    if args.json:
        print(json.dumps({"schema": SCHEMA, "part": _facts(part)}, indent=1))
        return 0
    print(f"{part.name} · {part.title}")
    for label, value in _facts(part).items():
        if label not in ("name", "title", "defaults", "presets", "help", "choices") and value not in ("", [], {}, None):
            print(f"  {label.replace('_', ' ')}: {_plain(value)}")
    if part.defaults:
        print("\nsettings")
        table(
            ("setting", "default", "what it is"),
            [
                (
                    key,
                    _plain(value),
                    part.help.get(key, "") + _choices(part, key),
                )
                for key, value in sorted(part.defaults.items())
            ],
        )
    for name, preset in part.presets.items():
        print(f"\npreset {name}: {', '.join(f'{key}={_plain(value)}' for key, value in preset.items())}")
    return 0


def _facts(part: Part) -> dict[str, Any]:
    from ganzoo_core.settings import CORE

    facts = asdict(part)
    for internal in ("location", "package", "hooks"):
        del facts[internal]
    facts["help"] = {key: part.help.get(key) or (CORE[key].help if key in CORE else "") for key in part.defaults}
    return facts


def _choices(part: Part, key: str) -> str:
    return f" ({'|'.join(map(str, part.choices[key]))})" if key in part.choices else ""


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return str(value)


def _layers(args: argparse.Namespace, part: Part) -> int:
    from ganzoo_core import assembly, engines, mix, session
    from ganzoo_core.api import UsageError
    from ganzoo_core.settings import parse_assignments

    if part.kind != "models":
        raise UsageError(f"{part.name} is no model, so it has no layers")
    request = mix.Request(
        picks={"model": part.qualified, "data": args.data},
        preset=args.preset,
        assigned=parse_assignments(args.set),
        flags=session.flags(device="cpu"),
    )
    resolved = mix.resolve(catalog.scan(args.no_plugin), request)
    fitted = assembly.fit_of(resolved) or assembly.fitted_to(resolved, assembly.load_data(resolved))
    engine = engines.create(resolved.framework, resolved.settings)
    built = assembly.networks(engine, resolved, fitted)
    networks = {
        name: {
            "parameters": engine.count_parameters(network),
            "layers": engine.layers(network, fitted.spec, is_generator=name == "generator"),
        }
        for name, network in zip(("generator", "discriminator"), built, strict=True)
    }
    if args.json:
        print(json.dumps({"schema": SCHEMA, "part": part.name, "networks": networks}, indent=1))
        return 0
    for name, facts in networks.items():
        print(f"{name}: {facts['parameters']:,} learnable parameters")
        table(
            ("layer", "type", "output", "parameters"),
            [
                (row["layer"], row["type"], "×".join(map(str, row["output"])), f"{row['parameters']:,}")
                for row in facts["layers"]
            ],
        )
    return 0
