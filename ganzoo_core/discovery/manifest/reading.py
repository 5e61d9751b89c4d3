"""Read and check a whole manifest: its valid parts, and the problems of the others."""

from __future__ import annotations

import difflib
import importlib.machinery
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganzoo_core import messages, settings
from ganzoo_core.discovery.manifest.cards import BOUNDS, KINDS, Manifest, Part, Problem
from ganzoo_core.discovery.manifest.fields import (
    FIELDS,
    IMAGE_FIELDS,
    NAME_PATTERN,
    NAME_RULE,
    SUITS_FIELDS,
    read_suits,
)
from ganzoo_core.discovery.manifest.versions import (
    UnknownField,
    advise_upgrade,
    describe_unknown,
    drop_unknown,
    find_core_version,
    find_mismatch,
)
from ganzoo_core.errors import UsageError
from ganzoo_core.storage import files
from ganzoo_core.terminal.text import to_one_line

MAX_BYTES = 200_000
MAX_REASON = 2_000  # characters of a problem's reason
MAX_DOTS = 2_000  # in a line: a key of 20,000 segments takes tomllib seconds and gigabytes
_QUOTED = re.compile(r"""\"(?:\\.|[^"\\])*\"|'[^']*'""")
MAX_PARTS = 500
TOP_FIELDS = ("api", "requires_core")  # beside a table for each kind
_MAY_SET: Mapping[str, tuple[str, ...]] = {
    "models": ("model", "generator", "discriminator", "use", "loss", "schedule", "with", "data", "train", "engine"),
    "losses": ("loss", "train"),
    "schedules": ("schedule", "train"),
    "datasets": ("data",),
    "modifiers": ("with",),
    "trackers": ("track",),
    "extractors": ("extractor",),
    "metrics": ("metric",),
}
_MAY_PICK = ("use.loss", "use.schedule", "use.with")


class _InvalidPart(Exception):
    """A fault in one part's table."""

    def __init__(self, reason: str, state: str = "bad-manifest") -> None:
        super().__init__(reason)
        self.state = state


def read(path: Path, *, distribution: str, version: str, package: str) -> Manifest:
    """Read the cards, the problems and the warnings of a manifest.

    A fault in one part's table leaves the distribution's other parts usable. Unknown fields are ignored with a warning.

    Args:
        path: the `ganzoo.toml`.
        distribution, version: the plugin's name and version, from its metadata.
        package: the top-level package that holds the manifest.
    """

    def problem(state: str, reason: str, kind: str = "", name: str = "") -> Problem:
        return Problem(state, to_one_line(f"ganzoo.toml {reason}")[:MAX_REASON], distribution, version, kind, name)

    try:
        # An installer may have put a link to its cache instead of the file.
        text = files.read_bytes(path, MAX_BYTES, named_by_user=True).decode("utf-8-sig")
        if any(_has_many_dots(line) for line in text.splitlines()):
            raise ValueError(f"a line has more than {MAX_DOTS} dots outside of quotes")
        content = tomllib.loads(text)
    except (UsageError, ValueError, RecursionError) as error:
        return Manifest([], [problem("bad-manifest", f"cannot be read: {error}; its author must mend it")], [])

    mismatch = find_mismatch(content, distribution)
    if mismatch:
        unusable = _list_names(content) or [("", "")]
        return Manifest([], [problem(*mismatch, kind, name) for kind, name in unusable], [])

    parts: list[Part] = []
    problems: list[Problem] = []
    ignored = describe_unknown(drop_unknown(content, (*TOP_FIELDS, *KINDS)))
    for kind in [kind for kind in content if kind in KINDS]:
        tables = content[kind]
        if not isinstance(tables, dict):
            problems.append(problem("bad-manifest", f"has {messages.format_value(kind)}, which is no table of parts"))
            continue
        kind_parts: list[Part] = []
        if len(tables) > MAX_PARTS:
            reason = f"has {len(tables):,} {kind}; expected at most {MAX_PARTS}, and the others are left out"
            problems.append(problem("bad-manifest", reason))
        for name, table in list(tables.items())[:MAX_PARTS]:
            unknown = describe_unknown(_drop_unknown_fields(kind, table)) if isinstance(table, dict) else ()
            try:
                part = _read_part(kind, name, table, distribution, version, package, path.parent)
                kind_parts.append(replace(part, warnings=unknown) if unknown else part)
            except _InvalidPart as error:
                reason = "; ".join((f"[{kind}.{name}] {error}", *unknown))
                problems.append(problem(error.state, reason, kind, name))
            except RecursionError:
                problems.append(problem("bad-manifest", f"[{kind}.{name}] is nested too deeply", kind, name))
        clashes = _find_clashes(kind_parts)
        problems += [problem("bad-manifest", f"[{kind}.{name}] {why}", kind, name) for name, why in clashes.items()]
        parts += [part for part in kind_parts if part.name not in clashes]
    if not parts and not problems:
        problems.append(problem("bad-manifest", "; ".join(("names no part", *ignored))))
        ignored = ()
    return Manifest(parts, problems, [Problem("warning", reason, distribution, version) for reason in ignored])


def _has_many_dots(line: str) -> bool:
    """Whether a line has more than `MAX_DOTS` dots that are neither in quotes nor in a comment."""
    return line.count(".") > MAX_DOTS and _QUOTED.sub("", line).partition("#")[0].count(".") > MAX_DOTS


def _list_names(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Kind and name of each part in a manifest that is not read further."""
    tables = [(kind, content[kind]) for kind in KINDS if isinstance(content.get(kind), dict)]
    return [(kind, name) for kind, table in tables for name in list(table)[:MAX_PARTS]]


def _drop_unknown_fields(kind: str, table: dict[str, Any]) -> list[UnknownField]:
    """Remove unknown fields from a part's table, and return them."""
    unknown = drop_unknown(table, FIELDS[kind])
    if isinstance(table.get("image"), dict):
        unknown += drop_unknown(table["image"], IMAGE_FIELDS, "image.")
    presets = table.get("presets")
    for name, preset in presets.items() if isinstance(presets, dict) else ():
        if isinstance(preset, dict) and isinstance(preset.get("suits"), dict):
            conditions = drop_unknown(preset["suits"], SUITS_FIELDS, f"presets.{name}.suits.")
            if conditions:
                del preset["suits"]  # a condition that cannot be checked is not met
            unknown += conditions
    return unknown


def _find_clashes(parts: Sequence[Part]) -> dict[str, str]:
    """Parts of one kind whose name or alias is taken by another -> the reason; names take precedence over aliases."""
    owners: dict[str, str] = {}
    wrong: dict[str, str] = {}
    named = [(part.name, part.name) for part in parts]
    for name, word in named + [(part.name, alias) for part in parts for alias in part.aliases]:
        owner = owners.setdefault(word.replace("_", "-"), name)
        if owner != name:
            wrong[name] = f"goes by {word!r}, as {owner} does"
    return wrong


def _read_part(kind: str, name: str, table: Any, distribution: str, version: str, package: str, folder: Path) -> Part:
    if not NAME_PATTERN.fullmatch(name):
        raise _InvalidPart(f"has a name that is not {NAME_RULE}")
    if not isinstance(table, dict):
        raise _InvalidPart(f"is {messages.format_value(table)}; expected a table")
    checks = FIELDS[kind]
    fields: dict[str, Any] = {}
    for key, value in table.items():
        try:
            fields[key] = checks[key](value)
            if key == "presets":
                fields["suits"] = read_suits(value)
        except ValueError as error:
            raise _InvalidPart(f"{key} is {messages.format_value(value)}: {error}") from None
    if "framework" in fields:
        if "frameworks" in fields:
            raise _InvalidPart("has both framework and frameworks; one is enough")
        fields["frameworks"] = fields.pop("framework")
    for required in ("title", "hooks", *(("frameworks",) if kind == "models" else ())):
        if required not in fields:
            raise _InvalidPart(f"has no {required.removesuffix('s') if required == 'frameworks' else required}")
    if kind == "models" and len(fields["frameworks"]) != 1:
        raise _InvalidPart("must name one framework: a model is written in one")
    _check_settings(kind, name, fields)
    _check_module(fields["hooks"], package, folder)
    return Part(
        kind=kind,
        name=name,
        distribution=distribution,
        version=version,
        package=package,
        location=str(folder),
        **fields,
    )


def _check_settings(kind: str, name: str, fields: Mapping[str, Any]) -> None:
    """Check that the table mentions only settings that exist, with valid values; raise _InvalidPart otherwise."""
    declared = fields.get("defaults", {})
    for key, value in declared.items():
        _check_key(kind, name, "defaults", key)
        _check_value(f"defaults {key}", key, value, value)
    for preset, table in fields.get("presets", {}).items():
        for key, value in table.items():
            _check_key(kind, name, f"presets.{preset}", key)
            first, _, rest = key.partition(".")
            own = first in ("model", "generator", "discriminator") and key not in settings.CORE_SETTINGS
            if own and key not in declared and f"model.{rest}" not in declared:
                raise _InvalidPart(
                    f"presets.{preset} sets {key}, which [defaults] does not declare{_suggest(key, declared)}"
                )
            _check_value(f"presets.{preset} {key}", key, value, declared.get(key, declared.get(f"model.{rest}", value)))
            if first == "engine" and preset in fields["suits"] and fields["suits"][preset].max_images is not None:
                raise _InvalidPart(
                    f"presets.{preset} sets {key}, too late: by its suits.max_images it is picked from the data"
                )
    presets = fields.get("presets", {})
    for preset in fields.get("bfloat16", {}):
        if preset not in presets:
            raise _InvalidPart(f"bfloat16 is about {preset}, which is no preset{_suggest(preset, presets)}")
    for label in ("choices", *BOUNDS, "help"):
        for key in fields.get(label, {}):
            if key not in declared and key not in settings.CORE_SETTINGS:
                raise _InvalidPart(
                    f"{label} is about {key}, which [defaults] does not declare{_suggest(key, declared)}"
                )
    for key, allowed in fields.get("choices", {}).items():
        for value in allowed:
            _check_value(f"choices {key}", key, value, declared.get(key, value))
        if key in declared and not settings.is_choice(declared[key], allowed):
            raise _InvalidPart(
                f"defaults {key} is {messages.format_value(declared[key])}, which is not among its choices"
            )
    numeric = ("int", "float", "integers", "numbers")
    for label in BOUNDS:
        for key, bound in fields.get(label, {}).items():
            if settings.find_kind(key, declared.get(key)) not in numeric:
                raise _InvalidPart(f"{label} compares {key}, which is no number")
            problem = settings.Setting(None, "", **{label: bound}).describe_problem(declared.get(key, []))
            if problem:
                raise _InvalidPart(f"defaults {key} is {messages.format_value(declared[key])}; {problem}")
    clip = fields.get("clip_discriminator")
    deciding = [("clip_discriminator", clip, True)] if isinstance(clip, str) else []
    for feature, claim in fields.get("has", {}).items():
        for each in claim if isinstance(claim, list) else [claim]:
            if isinstance(each, dict):
                deciding.append((f"has.{feature}", each["setting"], "above" in each))
    if isinstance(claim := fields.get("conditional"), dict):
        deciding.append(("conditional", claim["setting"], False))
    for given, claim in fields.get("gives", {}).items():
        if isinstance(claim, dict):
            deciding.append((f"gives.{given}", claim["setting"], True))
    for label, key, as_number in deciding:
        if key not in declared and key not in settings.CORE_SETTINGS:
            raise _InvalidPart(f"{label} asks for {key}, which [defaults] does not declare{_suggest(key, declared)}")
        kinds = numeric[:2] if label == "clip_discriminator" else numeric
        if as_number and settings.find_kind(key, declared.get(key)) not in kinds:
            raise _InvalidPart(f"{label} compares {key}, which is no number")


def _check_key(kind: str, name: str, label: str, key: str) -> None:
    namespace, allowed = key.split(".")[0], _MAY_SET[kind]
    if namespace not in allowed:
        raise _InvalidPart(
            f"{label} sets {key}; a part of this kind may set {', '.join(f'{word}.*' for word in allowed)}"
        )
    if kind in ("modifiers", "trackers", "extractors", "metrics") and not key.startswith(f"{namespace}.{name}."):
        raise _InvalidPart(f"{label} sets {key}; its own settings are {namespace}.{name}.*")
    if namespace == "use" and key not in _MAY_PICK:
        raise _InvalidPart(f"{label} sets {key}; a model may pick {', '.join(_MAY_PICK)}")
    if namespace in ("train", "engine") and key not in settings.CORE_SETTINGS:
        advice = advise_upgrade(key, settings.CORE_SETTINGS)
        raise _InvalidPart(f"{label} sets {key}, which ganzoo-core {find_core_version()} does not have; {advice}")


def _check_value(label: str, key: str, value: Any, default: Any) -> None:
    if not isinstance(value, bool | int | float | str | list):
        raise _InvalidPart(
            f"{label} is {messages.format_value(value)}; a setting is a number, a text, true, false or a list"
        )
    if isinstance(value, list) and not value and key not in settings.CORE_SETTINGS and not default:
        raise _InvalidPart(f"{label} is an empty list, so the kind of its items is unknown")
    try:
        settings.read_value(key, settings.find_kind(key, default), value)
    except UsageError as error:
        raise _InvalidPart(f"{label.removesuffix(key).strip()}: {error}") from None


def _suggest(key: str, known: Mapping[str, Any]) -> str:
    nearest = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _check_module(module: str, package: str, folder: Path) -> None:
    """Check that the hooks module is a file in the plugin's own package, without importing it."""
    first, *rest = module.split(".")
    if first != package:
        raise _InvalidPart(f"hooks is {module}, outside of the package {package}")
    path = folder.joinpath(*rest)
    stems = [path, path / "__init__"] if rest else []
    suffixes = importlib.machinery.all_suffixes()  # .py comes first, and is nearly always the one
    if stems and not any(_is_file(stem.with_name(stem.name + suffix)) for suffix in suffixes for stem in stems):
        raise _InvalidPart(f"hooks is {module}, which the package does not hold", "missing-module")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long
        return False
