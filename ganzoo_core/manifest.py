"""One `ganzoo.toml` -> cards, validated. Nothing of the plugin is imported."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganzoo_core import settings
from ganzoo_core.api import API, UsageError

KINDS = ("models", "losses", "schedules", "datasets", "modifiers", "trackers")
FRAMEWORKS = ("torch", "tensorflow")
MAX_BYTES = 1_000_000
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_MAY_SET = {
    "models": None,
    "losses": ("loss", "train"),
    "schedules": ("schedule", "train"),
    "datasets": ("data",),
    "modifiers": ("with",),
    "trackers": ("track",),
}


@dataclass(frozen=True)
class Part:
    """A card: all that is known of a part without importing it.

    `defaults`, `choices`, `help` and each preset are flat, keyed by the setting's full name. `frameworks` empty
    means all. `decision` is where D calls an image real: a number, `"pair"`, or None; `probability` says what
    makes a probability of its score.
    """

    kind: str
    name: str
    title: str
    hooks: str
    distribution: str
    version: str
    package: str
    location: str = ""
    frameworks: tuple[str, ...] = ()
    paper: str = ""
    aliases: tuple[str, ...] = ()
    default: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    help: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    has: Mapping[str, Any] = field(default_factory=dict)
    doubles: tuple[str, ...] = ()
    conditional: bool = False
    output: str = "tanh"
    latent: str = "normal"
    image_sizes: tuple[int, ...] = ()
    takes: tuple[str, ...] = ()
    decision: float | str | None = None
    probability: str | None = None
    clip_discriminator: float | str | None = None
    image: Mapping[str, int] | None = None
    argument: str = "none"

    @property
    def qualified(self) -> str:
        """The name that always works: `distribution/name`."""
        return f"{self.distribution}/{self.name}"

    @property
    def by(self) -> str:
        """The part and where it comes from, for a message."""
        return f"{self.name} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class Problem:
    """Something installed that cannot be used: `state` names the problem, `reason` says it and what to do."""

    state: str
    reason: str
    distribution: str
    version: str
    kind: str = ""
    name: str = ""


class BadManifest(Exception):
    """What is wrong with a manifest, and where."""

    def __init__(self, state: str, reason: str, kind: str = "", name: str = "") -> None:
        super().__init__(reason)
        self.state, self.reason, self.kind, self.name = state, reason, kind, name


def _one_of(*words: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value not in words:
            raise ValueError(f"expected {' or '.join(words)}")
        return value

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("expected a list of names")
    return tuple(value)


def _sizes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(type(item) is int and item > 0 for item in value):
        raise ValueError("expected a list of pixels, such as [32, 64]")
    return tuple(sorted(value))


def _module(value: Any) -> str:
    if not isinstance(value, str) or not _MODULE.fullmatch(value):
        raise ValueError("expected a module, such as my_gan.hooks")
    return value


def _frameworks(value: Any) -> tuple[str, ...]:
    names = _texts([value] if isinstance(value, str) else value)
    for name in names:
        _one_of(*FRAMEWORKS)(name)
    return names


def _number_or(*words: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if (isinstance(value, int | float) and not isinstance(value, bool)) or value in words:
            return value
        raise ValueError("expected a number" + "".join(f" or {word!r}" for word in words))

    return check


def _clip(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("loss."):
        return value
    return _number_or()(value)


def _image(value: Any) -> Mapping[str, int]:
    if not isinstance(value, dict) or set(value) != {"height", "width", "channels", "classes"}:
        raise ValueError("expected { height, width, channels, classes }")
    if not all(type(number) is int and number >= 0 for number in value.values()) or value["channels"] not in (1, 3):
        raise ValueError("expected whole numbers, and 1 or 3 channels")
    return value


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("expected a table of settings")
    return settings.flatten(value)


def _has(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("expected features, such as has.attention = true")
    for feature, claim in value.items():
        by_setting = isinstance(claim, dict) and set(claim) in ({"setting", "is"}, {"setting", "above"})
        if not (isinstance(claim, bool) or by_setting):
            raise ValueError(f"{feature}: expected true, false, {{ setting, is }} or {{ setting, above }}")
    return value


def _presets(value: Any) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(value, dict):
        raise ValueError("expected a table for each preset")
    return {name: _table(preset) for name, preset in value.items()}


def _choices(value: Any) -> Mapping[str, tuple[Any, ...]]:
    table = _table(value)
    if not all(isinstance(items, list) and items for items in table.values()):
        raise ValueError("expected a list of values for each setting")
    return {key: tuple(items) for key, items in table.items()}


_COMMON = {
    "title": _text, "hooks": _module, "framework": _frameworks, "frameworks": _frameworks, "paper": _text,
    "aliases": _texts, "default": _flag, "defaults": _table, "choices": _choices, "help": _table,
}  # fmt: skip
_FIELDS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "models": {
        "presets": _presets, "has": _has, "conditional": _flag, "output": _one_of("tanh", "linear"),
        "latent": _one_of("normal", "uniform", "sphere"), "image_sizes": _sizes, "takes": _texts,
    },
    "losses": {
        "needs": _texts, "has": _has, "decision": _number_or("pair"), "clip_discriminator": _clip,
        "probability": _one_of("sigmoid"),
    },
    "schedules": {},
    "datasets": {"image": _image, "argument": _one_of("none", "optional", "required")},
    "modifiers": {"needs": _texts, "doubles": _texts, "has": _has},
    "trackers": {},
}  # fmt: skip


def read(path: Path, *, distribution: str, version: str, package: str) -> tuple[list[Part], list[Problem]]:
    """The cards of one manifest, and what is wrong with it.

    A fault in one part's table leaves the distribution's other parts usable.

    Args:
        path: the `ganzoo.toml`.
        distribution, version: of the plugin, from its metadata.
        package: the top-level package that holds the manifest.
    """

    def problem(state: str, reason: str, kind: str = "", name: str = "") -> Problem:
        return Problem(state, reason, distribution, version, kind, name)

    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return [], [problem("bad-manifest", f"ganzoo.toml cannot be read: {error}; its author must mend it")]

    api = content.pop("api", None)
    if type(api) is not int or api != API:
        older = type(api) is int and api < API
        upgrade = f"upgrade {distribution}" if older else "upgrade ganzoo"
        advice = upgrade if type(api) is int else f"its author must write `api = {API}`"
        return [], [problem("api-mismatch", f"ganzoo.toml says api = {api!r}, this ganzoo speaks {API}; {advice}")]

    parts: list[Part] = []
    problems: list[Problem] = []
    for kind, tables in content.items():
        if kind not in KINDS or not isinstance(tables, dict):
            problems.append(problem("bad-manifest", f"ganzoo.toml has {kind!r}; the kinds are {', '.join(KINDS)}"))
            continue
        for name, table in tables.items():
            try:
                parts.append(_part(kind, name, table, distribution, version, package, path.parent))
            except BadManifest as error:
                problems.append(problem(error.state, error.reason, kind, name))
    if not parts and not problems:
        problems.append(problem("bad-manifest", "ganzoo.toml names no part"))
    return parts, problems


def _part(kind: str, name: str, table: Any, distribution: str, version: str, package: str, folder: Path) -> Part:
    where = f"[{kind}.{name}]"

    def bad(reason: str) -> BadManifest:
        return BadManifest("bad-manifest", f"ganzoo.toml {where} {reason}")

    if not _NAME.fullmatch(name):
        raise bad("has a name that is not lower case letters, digits, dots and hyphens")
    if not isinstance(table, dict):
        raise bad("is not a table")
    checks = {**_COMMON, **_FIELDS[kind]}
    fields: dict[str, Any] = {}
    for key, value in table.items():
        if key not in checks:
            raise bad(f"has {key!r}; it may have {', '.join(sorted(checks))}")
        try:
            fields["frameworks" if key == "framework" else key] = checks[key](value)
        except ValueError as error:
            raise bad(f"{key} is {value!r}: {error}") from None
    for required in ("title", "hooks", *(("frameworks",) if kind == "models" else ())):
        if required not in fields:
            raise bad(f"has no {required}")
    if kind == "models" and len(fields["frameworks"]) != 1:
        raise bad("must name one framework")
    _check_settings(kind, name, fields, bad)
    _check_module(fields["hooks"], package, folder, where)
    return Part(
        kind=kind,
        name=name,
        distribution=distribution,
        version=version,
        package=package,
        location=str(folder),
        **fields,
    )


def _check_settings(kind: str, name: str, fields: dict[str, Any], bad: Callable[[str], BadManifest]) -> None:
    """Every default and preset sets something that exists, with a value that can be read."""
    allowed = _MAY_SET[kind]
    declared = fields.get("defaults", {})
    for label, table in [("defaults", declared), *((f"presets.{p}", t) for p, t in fields.get("presets", {}).items())]:
        for key, value in table.items():
            namespace = key.split(".")[0]
            if allowed and namespace not in allowed:
                raise bad(f"{label} sets {key}; a part of this kind may set {' and '.join(f'{a}.*' for a in allowed)}")
            if namespace in ("with", "track") and not key.startswith(f"{namespace}.{name}."):
                raise bad(f"{label} sets {key}; its own settings are {namespace}.{name}.*")
            if namespace in ("use", "train", "engine") and key not in settings.CORE:
                raise bad(f"{label} sets {key}, which the core does not have")
            if isinstance(value, list) and not value and key not in settings.CORE:
                raise bad(f"{label} {key} is an empty list, so the kind of its items is unknown")
            if not isinstance(value, bool | int | float | str | list):
                raise bad(f"{label} {key} is {value!r}; a setting is a number, a text, true, false or a list")
            try:
                kind_of = settings.kind_of(key, declared.get(key, value))
                settings.read(key, kind_of, value)
            except UsageError as error:
                raise bad(f"{label}: {error}") from None


def _check_module(module: str, package: str, folder: Path, where: str) -> None:
    """The hooks module lies in the plugin's own package; seen from its file, without importing anything."""
    first, *rest = module.split(".")
    if first != package:
        raise BadManifest("bad-manifest", f"ganzoo.toml {where} hooks is {module}, outside of the package {package}")
    path = folder.joinpath(*rest)
    # A compiled module has another ending: whatever has the name is taken.
    if rest and not (path / "__init__.py").is_file() and not any(path.parent.glob(f"{path.name}.*")):
        raise BadManifest("missing-module", f"ganzoo.toml {where} hooks is {module}, which the package does not hold")
