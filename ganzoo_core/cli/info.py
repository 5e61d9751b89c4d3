"""`ganzoo info`: a part's paper, sizes, settings, presets and needs; with --layers, each layer of a model."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
from dataclasses import asdict
from typing import Any

from ganzoo_core.cli.parser import Parser
from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.errors import GanzooError
from ganzoo_core.terminal.tables import table
from ganzoo_core.terminal.text import one_line, write_json, write_line, write_paragraph

SCHEMA = 1


def add(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
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
    found = catalog.scan()
    part = found.find_any(args.name)
    if args.layers:
        return _layers(args, part)
    settings = _settings(found, part)
    if args.json:
        write_json({"schema": SCHEMA, "part": _facts(found, part) | {"settings": settings}}, indent=1)
        return 0
    _say(f"{one_line(part.title)} ({found.spelled(part)})")
    for label, value in _facts(found, part).items():
        if label not in ("name", "title", "presets", "suits") and value not in ("", [], {}, None):
            _say(f"  {label.replace('_', ' ')}: {one_line(_plain(value))}")
    write_line()
    write_line("settings, each with --set KEY=VALUE" if settings else "no settings")
    rows = [
        (row["setting"], _default(row["default"]), row["origin"], row["help"] + _choices(row["choices"]))
        for row in settings
    ]
    table(("setting", "default", "from", "what it is"), rows)
    for name, preset in part.presets.items():
        write_line()
        when = f" ({part.suits[name]})" if name in part.suits else ""
        _say(f"preset {name}{when}: {', '.join(f'{key}={_default(value)}' for key, value in preset.items())}")
    return 0


def _say(text: str) -> None:
    write_paragraph(text, indent="    ")


def _facts(found: catalog.Catalog, part: Part) -> dict[str, Any]:
    """What the card says, without what means nothing for its kind."""
    facts: dict[str, Any] = {
        "kind": part.kind,
        "name": found.spelled(part),
        "title": part.title,
        "distribution": part.distribution,
        "version": part.version,
        "framework": ", ".join(part.frameworks) or "any",
        "paper": part.paper,
        "aliases": list(part.aliases),
    }
    if part.kind == "models":
        facts |= {
            "conditional": part.conditional,
            "image_sizes": list(part.image_sizes) or "any",
            "latent": part.latent,
            "output": part.output,
            "takes": list(part.takes),
            "trained_generators": list(part.generators),
            "has": dict(part.has),
            "presets": {name: dict(preset) for name, preset in part.presets.items()},
            "suits": {name: asdict(suits) for name, suits in part.suits.items()},
        }
    elif part.kind == "datasets":
        facts |= {"image": dict(part.image) if part.image else None, "argument": part.argument, "license": part.license}
    elif part.kind in ("losses", "modifiers"):
        facts |= {"needs": list(part.needs), "has": dict(part.has), "doubles": list(part.doubles)}
    elif part.kind in ("extractors", "metrics"):
        facts |= {"needs": list(part.needs), "has": dict(part.has)}
        facts |= {"better_when_lower": list(part.lower), "better_when_higher": list(part.higher)}
    if part.kind == "losses":
        facts |= {"decision": part.decision, "clip_discriminator": part.clip_discriminator}
    if part.default:
        facts["default"] = True
    return facts | {"requires": _requires(part.distribution)}


def _requires(distribution: str) -> list[str]:
    """What pip installs beside the part."""
    try:
        lines = importlib.metadata.requires(distribution) or []
    except Exception:  # other people's metadata
        return []
    return [line for line in lines if "extra ==" not in line]


def _settings(found: catalog.Catalog, part: Part) -> list[dict[str, Any]]:
    """Every setting that applies to a part, with its default: its own and, of a model and of data, the core's."""
    from ganzoo_core.settings import CORE

    owners = [part]
    namespaces: tuple[str, ...] = ()
    if part.kind == "models":
        namespaces = ("use", "model", "data", "train", "engine")
        owners = [*_own_choices(found, part), part]
    elif part.kind == "datasets":
        namespaces = ("data",)
    rows: dict[str, dict[str, Any]] = {}
    for key, setting in CORE.items():
        if key.split(".")[0] in namespaces and key not in ("use.model", "use.generator", "use.discriminator"):
            rows[key] = {"setting": key, "default": setting.default, "origin": "core", "help": setting.help}
            rows[key]["choices"] = list(setting.choices)
    for owner in owners:
        for key, value in owner.defaults.items():
            known = rows.get(key, {"help": CORE[key].help if key in CORE else "", "choices": []})
            rows[key] = {**known, "setting": key, "default": value, "origin": owner.name}
        for key, text in owner.help.items():
            rows.get(key, {})["help"] = text
        for key, allowed in owner.choices.items():
            rows.get(key, {})["choices"] = list(allowed)
    order = ("setting", "default", "origin", "help", "choices")
    return [{field: rows[key][field] for field in order} for key in sorted(rows, key=_place)]


def _place(key: str) -> tuple[int, str]:
    """A model's own settings first, the core's picks last."""
    namespace = key.split(".")[0]
    order = ("model", "generator", "discriminator", "loss", "schedule", "with", "track", "data", "train", "engine")
    return order.index(namespace) if namespace in order else len(order), key


def _own_choices(found: catalog.Catalog, model: Part) -> list[Part]:
    """The loss, the schedule and the modifiers that a model is trained with unless others are picked."""
    chosen: list[Part] = []
    for slot, kind in (("loss", "losses"), ("schedule", "schedules"), ("with", "modifiers")):
        named = model.defaults.get(f"use.{slot}", [])
        for name in [named] if isinstance(named, str) else named:
            with contextlib.suppress(GanzooError):  # the model can be read about without them
                chosen.append(found.find(kind, name))
        if not named and slot != "with":
            with contextlib.suppress(GanzooError):
                default = found.default(kind)
                chosen += [default] if default else []
    return chosen


def _choices(allowed: list[Any]) -> str:
    return f" ({'|'.join(map(str, allowed))})" if allowed else ""


def _default(value: Any) -> str:
    """A default as it would be written behind `--set KEY=`."""
    if value is None or value in ("", []):
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _plain(value: Any) -> str:
    """A fact in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_claim(item)}" for key, item in value.items())
    return str(value)


def _claim(value: Any) -> str:
    if isinstance(value, dict):
        test = f"is {_default(value['is'])}" if "is" in value else f"is above {value['above']}"
        return f"where {value['setting']} {test}"
    return _plain(value)


def _layers(args: argparse.Namespace, part: Part) -> int:
    from ganzoo_core import building, engines, mix, python_api
    from ganzoo_core.errors import UsageError
    from ganzoo_core.settings import parse_assignments

    if part.kind != "models":
        raise UsageError(f"{part.name} is no model, so it has no layers")
    request = mix.Request(
        picks={"model": part.qualified, "data": args.data},
        preset=args.preset,
        assigned=parse_assignments(args.set),
        flags=python_api.flags(device="cpu"),
    )
    resolved = mix.resolve(catalog.scan(), request)
    fitted = building.fit_of(resolved) or building.fitted_to(resolved, building.load_data(resolved))
    engine = engines.create(resolved.framework, resolved.settings)
    values = building.full_grown(fitted)
    built = building.networks(engine, resolved, fitted, values)
    networks = {
        name: {
            "parameters": engine.count_parameters(network),
            "layers": engine.layers(
                network,
                fitted.spec,
                is_generator=name == "generator",
                values=building.taken(resolved, name, values),
            ),
        }
        for name, network in zip(("generator", "discriminator"), built, strict=True)
    }
    if args.json:
        write_json({"schema": SCHEMA, "part": part.name, "networks": networks}, indent=1)
        return 0
    for name, facts in networks.items():
        write_line(f"{name}: {facts['parameters']:,} learnable parameters")
        table(
            ("layer", "type", "output", "parameters"),
            [
                (row["layer"], row["type"], "×".join(map(str, row["output"])), f"{row['parameters']:,}")
                for row in facts["layers"]
            ],
        )
    return 0
