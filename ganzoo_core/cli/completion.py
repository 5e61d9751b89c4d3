"""What the Tab key offers: names from the catalog, read from manifests, so that no plugin is imported.

argcomplete asks, in a process of its own and only where a shell has set `_ARGCOMPLETE`; no other command imports it.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ganzoo_core.cli.parser import Parser
from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.manifest import KINDS, Part
from ganzoo_core.errors import GanzooError
from ganzoo_core.terminal.text import one_line

Offered = Mapping[str, str]  # a word -> a few words about it, which zsh shows
Completer = Callable[[str, argparse.Namespace], Offered]


def answer(whole: Parser, commands: Mapping[str, Parser]) -> None:
    """Give the shell its words and leave; return where argcomplete is not installed."""
    try:
        import argcomplete
    except ImportError:
        return
    for name, parser in commands.items():
        for action in parser._actions:
            completer = _OF_COMMAND.get((name, action.dest)) or _ALWAYS.get(action.dest)
            if completer is not None:
                action.completer = _guarded(completer)  # type: ignore[attr-defined]
    argcomplete.autocomplete(whole, always_complete_options=False, validator=_is_offered)


def _guarded(completer: Completer) -> Callable[..., dict[str, str]]:
    """Whatever goes wrong while the user is still typing: nothing is offered."""

    def offer(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> dict[str, str]:
        try:
            catalog.leave_out(getattr(parsed_args, "no_plugin", None) or [])
            found = completer(prefix, parsed_args)
            return {word: one_line(text) for word, text in found.items() if word.isprintable()}
        except (GanzooError, OSError, ValueError, TypeError, KeyError):
            return {}

    return offer


def _is_offered(word: str, prefix: str) -> bool:
    """Words that go on with what was typed; of a file's name, too, none that a terminal would obey."""
    return word.startswith(prefix) and word.isprintable()


def _parts(kinds: Iterable[str], prefix: str, args: argparse.Namespace) -> dict[str, str]:
    """The names of parts; those of another framework than the model's are left out."""
    found = catalog.scan()
    framework = _framework(found, args)
    offered: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for kind in kinds:
        for part in found.of_kind(kind):
            if framework and part.frameworks and framework not in part.frameworks:
                continue
            offered[part.qualified if "/" in prefix else found.spelled(part)] = part.title
            aliases |= dict.fromkeys(part.aliases, f"{part.name}: {part.title}")
    return offered if any(name.startswith(prefix) for name in offered) else aliases


def _framework(found: catalog.Catalog, args: argparse.Namespace) -> str:
    """What the model that stands on the line already is written in; "" without one."""
    for word in ("model", "generator", "discriminator"):
        name = getattr(args, word, None)
        if isinstance(name, str):
            with contextlib.suppress(GanzooError):
                return found.find("models", name).frameworks[0]
    return ""


def _of(kind: str) -> Completer:
    return lambda prefix, args: _parts([kind], prefix, args)


def _models(prefix: str, args: argparse.Namespace) -> Offered:
    # The model itself decides the framework, unless a network of another is on the line.
    others = argparse.Namespace(generator=getattr(args, "generator", None))
    return _parts(["models"], prefix, others)


def _listed(kind: str) -> Completer:
    """Names behind commas: the last of them is offered."""

    def offer(prefix: str, args: argparse.Namespace) -> Offered:
        before, comma, last = prefix.rpartition(",")
        said = set(before.split(","))
        offered = _parts([kind], last, args)
        return {before + comma + name: title for name, title in offered.items() if name not in said}

    return offer


def _data(prefix: str, args: argparse.Namespace) -> Offered:
    name, colon, path = prefix.partition(":")
    if colon:
        from argcomplete.completers import FilesCompleter

        return {f"{name}:{file}": "" for file in FilesCompleter()(path)}
    arguments = {part.name: part.argument for part in catalog.scan().of_kind("datasets")}
    return {
        name + (":" if arguments.get(name) in ("required", "path") else ""): title
        for name, title in _parts(["datasets"], prefix, args).items()
    }


def _any_part(prefix: str, args: argparse.Namespace) -> Offered:
    return _parts(KINDS, prefix, argparse.Namespace())


def _examined(prefix: str, args: argparse.Namespace) -> Offered:
    return {**_plugins(prefix, args), **_any_part(prefix, args)}


def _plugins(prefix: str, args: argparse.Namespace) -> Offered:
    found = catalog.scan()
    names = {part.distribution for part in found.parts} | {problem.distribution for problem in found.problems}
    return dict.fromkeys(sorted(names), "a plugin")


def _picked(args: argparse.Namespace) -> list[Part]:
    """The parts that stand on the line, and the loss and schedule that the model brings."""
    found = catalog.scan()
    slots = {"models": ("model", "generator", "discriminator", "name"), "losses": ("loss",)}
    slots |= {"schedules": ("schedule",), "datasets": ("data",)}
    picked = []
    for kind, words in slots.items():
        for word in words:
            name = getattr(args, word, None)
            if isinstance(name, str):
                with contextlib.suppress(GanzooError):
                    picked.append(found.find(kind, name.partition(":")[0]))
    for part in [part for part in picked if part.kind == "models"]:
        for slot, kind in (("loss", "losses"), ("schedule", "schedules")):
            with contextlib.suppress(GanzooError):
                picked.append(found.find(kind, part.defaults.get(f"use.{slot}", "")))
    with contextlib.suppress(GanzooError):
        picked += [found.find("modifiers", name) for name in (getattr(args, "modifiers", None) or "").split(",")]
    return picked


def _settings(prefix: str, args: argparse.Namespace) -> Offered:
    """`KEY=` for each setting, and behind it the values that it may have."""
    from ganzoo_core.settings import CORE

    helps = {key: setting.help for key, setting in CORE.items()}
    choices: dict[str, Iterable[Any]] = {key: setting.choices for key, setting in CORE.items()}
    for part in _picked(args):
        helps |= {key: part.help.get(key, part.title) for key in part.defaults if key not in CORE}
        choices |= part.choices
    key, equals, _ = prefix.partition("=")
    if equals:
        return {f"{key}={value}": "" for value in choices.get(key, ())}
    return {f"{key}=": text for key, text in helps.items() if not key.startswith("use.")}


def _over(prefix: str, args: argparse.Namespace) -> Offered:
    """What may be swept: settings, and picks."""
    picks = {"data": "datasets", "loss": "losses", "schedule": "schedules", "with": "modifiers"}
    key, equals, values = prefix.partition("=")
    if not equals:
        return {**dict.fromkeys((f"{pick}=" for pick in picks), "a pick"), **_settings(prefix, args)}
    if key in picks:
        offered = _listed(picks[key])(values, args)
    else:
        before, comma, last = values.rpartition(",")
        words = [word.partition("=")[2] for word in _settings(f"{key}={last}", args)]
        offered = {before + comma + word: "" for word in words if word not in before.split(",")}
    return {f"{key}={word}": title for word, title in offered.items()}


def _presets(prefix: str, args: argparse.Namespace) -> Offered:
    names = [name for part in _picked(args) for name in part.presets]
    return {**dict.fromkeys(names, "a preset of the model"), "none": "no preset"}


def _checkpoints(prefix: str, args: argparse.Namespace) -> Offered:
    from ganzoo_core.runs import layout
    from ganzoo_core.storage import files

    return dict.fromkeys(["last", "best", *map(str, files.list_numbered(args.path / layout.SNAPSHOTS))], "")


def _classes(prefix: str, args: argparse.Namespace) -> Offered:
    from ganzoo_core.runs import folder, layout
    from ganzoo_core.storage import files

    path: Path = args.path
    card = folder.read_card(path / layout.GENERATOR if files.is_folder(path / layout.GENERATOR) else path)
    return {**dict.fromkeys(card.class_names, "a class"), "all": "a row of each"}


_ALWAYS: Mapping[str, Completer] = {
    "model": _models,
    "generator": _of("models"),
    "discriminator": _of("models"),
    "loss": _of("losses"),
    "schedule": _of("schedules"),
    "data": _data,
    "modifiers": _listed("modifiers"),
    "trackers": _listed("trackers"),
    "metrics": _listed("metrics"),
    "extractor": _of("extractors"),
    "no_plugin": _plugins,
    "set": _settings,
    "over": _over,
    "preset": _presets,
}
_OF_COMMAND: Mapping[tuple[str, str], Completer] = {
    ("info", "name"): _any_part,
    ("doctor", "name"): _examined,
    ("generate", "checkpoint"): _checkpoints,
    ("generate", "label"): _classes,
    ("judge", "label"): _classes,
    ("evaluate", "checkpoint"): _checkpoints,
}
