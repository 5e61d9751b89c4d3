"""Tab completion. Names come from manifests, so that no plugin is imported.

Each command attaches a completer to an argument where it adds it. The completers import argcomplete and the catalog
themselves, so that only a process that a shell starts with `_ARGCOMPLETE` set imports them for this.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo_core.errors import GanzooError
from ganzoo_core.terminal.text import to_one_line

if TYPE_CHECKING:
    from ganzoo_core.discovery.catalog import Catalog
    from ganzoo_core.discovery.manifest import Part

Suggestions = Mapping[str, str]  # word -> description, which zsh shows
Completer = Callable[[str, argparse.Namespace], Suggestions]


def complete(root_parser: argparse.ArgumentParser) -> None:
    """Print the suggestions and exit; return if argcomplete is not installed."""
    with contextlib.suppress(ImportError):
        import argcomplete

        argcomplete.autocomplete(root_parser, always_complete_options=False, validator=_is_suggestion)


def guard(completer: Completer) -> Callable[..., dict[str, str]]:
    """Wrap a completer so that on an error, which half-typed input can cause, it suggests nothing."""

    def offer(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> dict[str, str]:
        from ganzoo_core.discovery import catalog

        try:
            catalog.leave_out(getattr(parsed_args, "no_plugin", None) or [])
            suggestions = completer(prefix, parsed_args)
            return {word: to_one_line(text) for word, text in suggestions.items() if word.isprintable()}
        except (GanzooError, OSError, ValueError, TypeError, KeyError):
            return {}

    return offer


def _is_suggestion(word: str, prefix: str) -> bool:
    """Whether the word continues the prefix and has no control characters, which a file's name may have."""
    return word.startswith(prefix) and word.isprintable()


def _scan() -> Catalog:
    from ganzoo_core.discovery import catalog

    return catalog.scan()


def _suggest_parts(kinds: Iterable[str], prefix: str, args: argparse.Namespace) -> dict[str, str]:
    """Suggest parts, except those of another framework than the model's."""
    installed = _scan()
    framework = _find_framework(installed, args)
    offered: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for kind in kinds:
        for part in installed.list_kind(kind):
            if framework and part.frameworks and framework not in part.frameworks:
                continue
            offered[part.qualified_name if "/" in prefix else installed.find_short_name(part)] = part.title
            aliases |= dict.fromkeys(part.aliases, f"{part.name}: {part.title}")
    return offered if any(name.startswith(prefix) for name in offered) else aliases


def _find_framework(installed: Catalog, args: argparse.Namespace) -> str:
    """The framework of the model on the command line; "" without a model."""
    for word in ("model", "generator", "discriminator"):
        name = getattr(args, word, None)
        if isinstance(name, str):
            with contextlib.suppress(GanzooError):
                return installed.find("models", name).frameworks[0]
    return ""


def make_completer(kind: str) -> Completer:
    return lambda prefix, args: _suggest_parts([kind], prefix, args)


def suggest_models(prefix: str, args: argparse.Namespace) -> Suggestions:
    # The framework is free, unless `--generator` fixes it.
    others = argparse.Namespace(generator=getattr(args, "generator", None))
    return _suggest_parts(["models"], prefix, others)


def make_list_completer(kind: str) -> Completer:
    """Complete the last name of a comma-separated list."""

    def offer(prefix: str, args: argparse.Namespace) -> Suggestions:
        before, comma, last = prefix.rpartition(",")
        chosen = set(before.split(","))
        offered = _suggest_parts([kind], last, args)
        return {before + comma + name: title for name, title in offered.items() if name not in chosen}

    return offer


def suggest_data(prefix: str, args: argparse.Namespace) -> Suggestions:
    name, colon, path = prefix.partition(":")
    if colon:
        from argcomplete.completers import FilesCompleter

        return {f"{name}:{file}": "" for file in FilesCompleter()(path)}
    arguments = {part.name: part.argument for part in _scan().list_kind("datasets")}
    return {
        name + (":" if arguments.get(name) in ("required", "path") else ""): title
        for name, title in _suggest_parts(["datasets"], prefix, args).items()
    }


def suggest_any_part(prefix: str, args: argparse.Namespace) -> Suggestions:
    from ganzoo_core.discovery.manifest import KINDS

    return _suggest_parts(KINDS, prefix, argparse.Namespace())


def suggest_parts_and_plugins(prefix: str, args: argparse.Namespace) -> Suggestions:
    return {**suggest_plugins(prefix, args), **suggest_any_part(prefix, args)}


def suggest_plugins(prefix: str, args: argparse.Namespace) -> Suggestions:
    installed = _scan()
    names = {part.distribution for part in installed.parts} | {problem.distribution for problem in installed.problems}
    return dict.fromkeys(sorted(names), "a plugin")


def _find_picked_parts(args: argparse.Namespace) -> list[Part]:
    """The parts on the command line, and the model's own loss and schedule."""
    installed = _scan()
    slots = {"models": ("model", "generator", "discriminator", "name"), "losses": ("loss",)}
    slots |= {"schedules": ("schedule",), "datasets": ("data",)}
    picked = []
    for kind, words in slots.items():
        for word in words:
            name = getattr(args, word, None)
            if isinstance(name, str):
                with contextlib.suppress(GanzooError):
                    picked.append(installed.find(kind, name.partition(":")[0]))
    for part in [part for part in picked if part.kind == "models"]:
        for slot, kind in (("loss", "losses"), ("schedule", "schedules")):
            with contextlib.suppress(GanzooError):
                picked.append(installed.find(kind, part.defaults.get(f"use.{slot}", "")))
    with contextlib.suppress(GanzooError):
        picked += [installed.find("modifiers", name) for name in (getattr(args, "modifiers", None) or "").split(",")]
    return picked


def suggest_settings(prefix: str, args: argparse.Namespace) -> Suggestions:
    """Suggest `KEY=` for each setting, and after it the setting's choices."""
    from ganzoo_core.settings import CORE_SETTINGS

    helps = {key: setting.help for key, setting in CORE_SETTINGS.items()}
    choices: dict[str, Iterable[Any]] = {key: setting.choices for key, setting in CORE_SETTINGS.items()}
    for part in _find_picked_parts(args):
        helps |= {key: part.help.get(key, part.title) for key in part.defaults if key not in CORE_SETTINGS}
        choices |= part.choices
    key, equals, _ = prefix.partition("=")
    if equals:
        return {f"{key}={value}": "" for value in choices.get(key, ())}
    return {f"{key}=": text for key, text in helps.items() if not key.startswith("use.")}


def suggest_axes(prefix: str, args: argparse.Namespace) -> Suggestions:
    """Suggest keys that can be swept: settings and picks."""
    picks = {"data": "datasets", "loss": "losses", "schedule": "schedules", "with": "modifiers"}
    key, equals, values = prefix.partition("=")
    if not equals:
        return {**dict.fromkeys((f"{pick}=" for pick in picks), "a pick"), **suggest_settings(prefix, args)}
    if key in picks:
        offered = make_list_completer(picks[key])(values, args)
    else:
        before, comma, last = values.rpartition(",")
        words = [word.partition("=")[2] for word in suggest_settings(f"{key}={last}", args)]
        offered = {before + comma + word: "" for word in words if word not in before.split(",")}
    return {f"{key}={word}": title for word, title in offered.items()}


def suggest_presets(prefix: str, args: argparse.Namespace) -> Suggestions:
    names = [name for part in _find_picked_parts(args) for name in part.presets]
    return {**dict.fromkeys(names, "a preset of the model"), "none": "no preset"}


def suggest_checkpoints(prefix: str, args: argparse.Namespace) -> Suggestions:
    from ganzoo_core.runs import layout
    from ganzoo_core.storage import files

    return dict.fromkeys(["last", "best", *map(str, files.list_numbered(args.path / layout.SNAPSHOTS))], "")


def suggest_classes(prefix: str, args: argparse.Namespace) -> Suggestions:
    from ganzoo_core.data.classes import Classes
    from ganzoo_core.runs import folder, layout
    from ganzoo_core.storage import files

    path: Path = args.path
    card = folder.read_card(path / layout.GENERATOR if files.is_folder(path / layout.GENERATOR) else path)
    offered = dict.fromkeys(Classes(card.class_names, card.untrained_classes).trained_names, "a class")
    offered.setdefault("all", "a row of each")
    return offered
