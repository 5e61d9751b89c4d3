"""`ganzoo info`: a part's paper, sizes, settings, presets and needs; with --layers, each layer of a model."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import asdict
from typing import Any

from ganzoo_core.cli import completion
from ganzoo_core.cli.options import SETTINGS
from ganzoo_core.cli.parser import Parser
from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.errors import GanzooError
from ganzoo_core.messages import format_setting
from ganzoo_core.terminal.tables import print_table
from ganzoo_core.terminal.text import to_one_line, write_json, write_line, write_paragraph

SCHEMA = 1
_PRINTED_ELSEWHERE = ("name", "title", "presets", "suits", "bfloat16", "warnings")


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", completer=completion.suggest_any_part, help="a part of any kind")
    parser.add_argument(
        "--data",
        metavar="NAME",
        completer=completion.suggest_data,
        help="with --layers: the dataset that the networks are built for",
    )
    parser.add_argument(
        "--preset", metavar="P", completer=completion.suggest_presets, help="with --layers: a preset of the model"
    )
    parser.add_argument("--set", **SETTINGS, help="with --layers: a setting")
    parser.add_argument("--layers", action="store_true", help="each layer's output shape and parameters")
    parser.add_argument("--json", action="store_true", help="for programs")


def execute(args: argparse.Namespace) -> int:
    """Print the manifest's facts about a part, or build its networks and print their layers."""
    installed = catalog.scan()
    part = installed.find_any(args.name)
    if args.layers:
        return _print_layers(args, part)
    settings, facts = _list_settings(installed, part), _collect_facts(installed, part)
    if args.json:
        write_json({"schema": SCHEMA, "part": facts | {"settings": settings}}, indent=1)
        return 0
    _print_paragraph(f"{to_one_line(part.title)} ({installed.find_short_name(part)})")
    for label, value in facts.items():
        if label not in _PRINTED_ELSEWHERE and value not in ("", [], {}, None):
            _print_paragraph(f"  {label.replace('_', ' ')}: {to_one_line(_format_fact(value))}")
    for warning in facts["warnings"]:
        _print_paragraph(f"  warning: {warning}")
    write_line()
    write_line("settings, each with --set KEY=VALUE" if settings else "no settings")
    rows = [
        (row["setting"], format_setting(row["default"]), row["origin"], row["help"] + _format_choices(row["choices"]))
        for row in settings
    ]
    print_table(("setting", "default", "from", "what it is"), rows)
    for name, preset in part.presets.items():
        write_line()
        remarks = [str(part.suits[name])] if name in part.suits else []
        if name in part.bfloat16:
            remarks.append(f"{part.bfloat16[name]:.3g} times as fast in bfloat16")
        heading = f"preset {name} ({', '.join(remarks)})" if remarks else f"preset {name}"
        _print_paragraph(f"{heading}: {', '.join(f'{key}={format_setting(value)}' for key, value in preset.items())}")
    return 0


def _print_paragraph(text: str) -> None:
    write_paragraph(text, indent="    ")


def _collect_facts(installed: catalog.Catalog, part: Part) -> dict[str, Any]:
    """The manifest's facts that apply to the part's kind."""
    facts: dict[str, Any] = {
        "kind": part.kind,
        "name": installed.find_short_name(part),
        "title": part.title,
        "distribution": part.distribution,
        "version": part.version,
        "framework": ", ".join(part.frameworks) or "any",
        "paper": part.paper,
        "aliases": list(part.aliases),
    }
    if part.kind == "models":
        facts |= {
            "conditional": part.conditional if isinstance(part.conditional, bool) else dict(part.conditional),
            "image_sizes": list(part.image_sizes) or "any",
            "latent": part.latent,
            "output": part.output,
            "takes": list(part.takes),
            "conditions": list(part.conditions),
            "discriminator_takes": list(part.discriminator_takes),
            "drawn_alone": part.drawn_alone or None,
            "trained_generators": list(part.generators),
            "has": dict(part.has),
            "bfloat16": dict(part.bfloat16),
            "presets": {name: dict(preset) for name, preset in part.presets.items()},
            "suits": {name: asdict(suits) for name, suits in part.suits.items()},
        }
    elif part.kind == "datasets":
        facts |= {"image": dict(part.image) if part.image else None, "argument": part.argument, "license": part.license}
    elif part.kind in ("losses", "modifiers"):
        facts |= {"needs": list(part.needs), "has": dict(part.has), "doubles": list(part.doubles)}
        facts |= {"takes": list(part.takes)}
    elif part.kind == "schedules":
        facts |= {"gives": dict(part.gives)}
    elif part.kind in ("extractors", "metrics"):
        facts |= {"needs": list(part.needs), "has": dict(part.has)}
        facts |= {"better_when_lower": list(part.lower), "better_when_higher": list(part.higher)}
    if part.kind == "metrics":
        facts |= {"main": part.main, "min_images": part.min_images or None}
        facts |= {"max_training_images": part.max_training_images or None}
    if part.kind == "losses":
        facts |= {"decision": part.decision, "clip_discriminator": part.clip_discriminator}
    if part.default:
        facts["default"] = True
    warnings = [*part.warnings, *installed.find_warnings(part.distribution)]
    return facts | {"requires": _list_requirements(part.distribution), "warnings": warnings}


def _list_requirements(distribution: str) -> list[str]:
    """The distribution's requirements, without those of extras."""
    try:
        lines = catalog.list_requirements(distribution)
    except Exception:  # invalid metadata of third parties may raise anything
        return []
    return [line for line in lines if "extra ==" not in line]


def _list_settings(installed: catalog.Catalog, part: Part) -> list[dict[str, Any]]:
    """Every setting that applies to a part, with its default: its own and, for models and datasets, the core's."""
    from ganzoo_core.settings import CORE_SETTINGS

    owners = [part]
    namespaces: tuple[str, ...] = ()
    if part.kind == "models":
        namespaces = ("use", "model", "data", "train", "engine")
        owners = [*_find_own_parts(installed, part), part]
    elif part.kind == "datasets":
        namespaces = ("data",)
    rows: dict[str, dict[str, Any]] = {}
    for key, setting in CORE_SETTINGS.items():
        if key.split(".")[0] in namespaces and key not in ("use.model", "use.generator", "use.discriminator"):
            rows[key] = {"setting": key, "default": setting.default, "origin": "core", "help": setting.help}
            rows[key]["choices"] = list(setting.choices)
    for owner in owners:
        for key, value in owner.defaults.items():
            known = rows.get(key, {"help": CORE_SETTINGS[key].help if key in CORE_SETTINGS else "", "choices": []})
            rows[key] = {**known, "setting": key, "default": value, "origin": owner.name}
        for key, text in owner.help.items():
            rows.get(key, {})["help"] = text
        for key, allowed in owner.choices.items():
            rows.get(key, {})["choices"] = list(allowed)
    order = ("setting", "default", "origin", "help", "choices")
    return [{field: rows[key][field] for field in order} for key in sorted(rows, key=_make_sort_key)]


def _make_sort_key(key: str) -> tuple[int, str]:
    """Sort a model's own settings first, the picks (`use.*`) last."""
    namespace = key.split(".")[0]
    order = ("model", "generator", "discriminator", "loss", "schedule", "with", "track", "data", "train", "engine")
    return order.index(namespace) if namespace in order else len(order), key


def _find_own_parts(installed: catalog.Catalog, model: Part) -> list[Part]:
    """The model's default loss, schedule and modifiers."""
    chosen: list[Part] = []
    for slot, kind in (("loss", "losses"), ("schedule", "schedules"), ("with", "modifiers")):
        named = model.defaults.get(f"use.{slot}", [])
        for name in [named] if isinstance(named, str) else named:
            with contextlib.suppress(GanzooError):  # missing ones do not prevent showing the model
                chosen.append(installed.find(kind, name))
        if not named and slot != "with":
            with contextlib.suppress(GanzooError):
                default = installed.find_default(kind)
                chosen += [default] if default else []
    return chosen


def _format_choices(allowed: list[Any]) -> str:
    return f" ({'|'.join(map(str, allowed))})" if allowed else ""


def _format_fact(value: Any) -> str:
    """Format a fact as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict) and set(value) == {"setting", "is"}:
        return _format_claim(value)
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_format_claim(item)}" for key, item in value.items())
    return str(value)


def _format_claim(value: Any) -> str:
    if isinstance(value, dict):
        test = f"is {format_setting(value['is'])}" if "is" in value else f"is above {value['above']}"
        return f"where {value['setting']} {test}"
    return _format_fact(value)


def _print_layers(args: argparse.Namespace, part: Part) -> int:
    from ganzoo_core import building, engines, mix
    from ganzoo_core.errors import UsageError
    from ganzoo_core.mix.flags import collect_flags
    from ganzoo_core.settings import parse_assignments

    if part.kind != "models":
        raise UsageError(f"{part.name} is no model, so it has no layers")
    request = mix.Request(
        picks={"model": part.qualified_name, "data": args.data},
        preset=args.preset,
        assigned=parse_assignments(args.set),
        flags=collect_flags(device="cpu"),
    )
    resolved = mix.resolve(catalog.scan(), request)
    fitted = building.fit_from_card(resolved) or building.fit_to_data(resolved, building.load_data(resolved))
    engine = engines.create_engine(resolved.framework, resolved.settings)
    values = building.make_full_resolution_values(fitted)
    built = building.build_networks(engine, resolved, fitted, values)
    networks: dict[str, dict[str, Any]] = {
        name: {
            "parameters": engine.count_parameters(network),
            "layers": engine.list_layers(
                network,
                mix.make_network_spec(resolved, fitted.spec, name),
                is_generator=name == "generator",
                values=building.network_kwargs(resolved, name, values),
            ),
        }
        for name, network in zip(("generator", "discriminator"), built, strict=True)
    }
    if args.json:
        write_json({"schema": SCHEMA, "part": part.name, "networks": networks}, indent=1)
        return 0
    for name, facts in networks.items():
        write_line(f"{name}: {facts['parameters']:,} learnable parameters")
        print_table(
            ("layer", "type", "output", "parameters"),
            [
                (row["layer"], row["type"], "×".join(map(str, row["output"])), f"{row['parameters']:,}")
                for row in facts["layers"]
            ],
        )
    return 0
