"""What is installed: entry points and manifests -> cards and problems. No plugin is imported."""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import importlib.util
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganzoo_core import manifest
from ganzoo_core.api import PluginError, UsageError
from ganzoo_core.manifest import KINDS, Part, Problem

GROUP = "ganzoo.plugins"
_SINGULAR = dict(zip(KINDS, ("model", "loss", "schedule", "dataset", "modifier", "tracker"), strict=True))


@dataclass(frozen=True)
class Catalog:
    """All parts that can be picked, and all that cannot with the reason."""

    parts: tuple[Part, ...]
    problems: tuple[Problem, ...]

    def of_kind(self, kind: str) -> list[Part]:
        """The usable parts of a kind, by name."""
        return sorted((part for part in self.parts if part.kind == kind), key=lambda part: part.name)

    def find(self, kind: str, name: str) -> Part:
        """The one part that a name, an alias or `distribution/name` means.

        Raises:
            UsageError: for an unknown name (with the nearest) and for one that several distributions have.
            PluginError: for a part whose plugin has a problem.
        """
        distribution, _, bare = name.rpartition("/")
        word = bare.lower().replace("_", "-")
        found = [
            part
            for part in self.parts
            if part.kind == kind
            and word in {known.replace("_", "-") for known in (part.name, *part.aliases)}
            and (not distribution or _normal(distribution) == _normal(part.distribution))
        ]
        if len(found) == 1:
            return found[0]
        if found:
            names = " or ".join(sorted(part.qualified for part in found))
            raise UsageError(f"several plugins have the {_SINGULAR[kind]} {name!r}; say {names}")
        for problem in self.problems:
            if problem.kind == kind and problem.name == bare and distribution in ("", problem.distribution):
                raise PluginError(
                    f"{name} of {problem.distribution} {problem.version} cannot be used: {problem.reason}"
                )
        raise UsageError(self._unknown(kind, name))

    def find_any(self, name: str) -> Part:
        """A part of whatever kind; raises as `find`."""
        hits = []
        for kind in KINDS:
            try:
                hits.append(self.find(kind, name))
            except UsageError as error:
                if "several plugins" in str(error):
                    raise
        if hits:
            return hits[0]
        every = [part.name for part in self.parts]
        nearest = difflib.get_close_matches(name, every, n=3)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else "`ganzoo list` shows what is installed"
        raise UsageError(f"no part is called {name!r}; {hint}")

    def default(self, kind: str) -> Part | None:
        """The part that is used when none is named: the one whose card says `default = true`; None without any.

        Raises:
            UsageError: when several say so.
        """
        found = [part for part in self.of_kind(kind) if part.default]
        if len(found) > 1:
            names = " and ".join(part.qualified for part in found)
            raise UsageError(f"{names} both say they are the default {_SINGULAR[kind]}; name the one to use")
        return found[0] if found else None

    def rows(self, kind: str | None = None) -> list[dict[str, Any]]:
        """One row a part and a problem, as `ganzoo list --json` prints them."""
        taken = {key for key, count in Counter((part.kind, part.name) for part in self.parts).items() if count > 1}
        rows = []
        for part in self.parts:
            shared = (part.kind, part.name) in taken
            rows.append(
                {
                    "kind": part.kind,
                    "name": part.qualified if shared else part.name,
                    "framework": ", ".join(part.frameworks) or "any",
                    "title": part.title,
                    "distribution": part.distribution,
                    "version": part.version,
                    "state": "name-taken" if shared else "ok",
                    "reason": "another distribution has this name; say it with the distribution" if shared else "",
                }
            )
        rows += [
            {
                "kind": problem.kind,
                "name": problem.name,
                "framework": "",
                "title": "",
                "distribution": problem.distribution,
                "version": problem.version,
                "state": problem.state,
                "reason": problem.reason,
            }
            for problem in self.problems
        ]
        order = {name: place for place, name in enumerate(KINDS)}
        rows.sort(key=lambda row: (order.get(row["kind"], len(order)), row["name"], row["distribution"]))
        return [row for row in rows if kind is None or row["kind"] in (kind, "")]

    def _unknown(self, kind: str, name: str) -> str:
        known = [word for part in self.of_kind(kind) for word in (part.name, *part.aliases)]
        nearest = difflib.get_close_matches(name.lower(), known, n=3)
        elsewhere = [part for part in self.parts if part.kind != kind and name in (part.name, *part.aliases)]
        if nearest:
            hint = f"did you mean {' or '.join(nearest)}?"
        elif elsewhere:
            hint = f"{name} is a {_SINGULAR[elsewhere[0].kind]}"
        else:
            hint = f"`ganzoo list {kind}` shows what is installed"
        return f"no {_SINGULAR[kind]} is called {name!r}; {hint}"


def scan(without: Iterable[str] = ()) -> Catalog:
    """Read every installed manifest, once a process for each filter.

    Args:
        without: distributions or entry points to leave out (`--no-plugin`). The environment variable
            `GANZOO_PLUGINS=a,b` leaves out all others; empty, it leaves out all.
    """
    only = os.environ.get("GANZOO_PLUGINS")
    wanted = None if only is None else tuple(_normal(name) for name in only.split(",") if name.strip())
    return _scan(wanted, tuple(_normal(name) for name in without))


@functools.cache
def _scan(only: tuple[str, ...] | None, without: tuple[str, ...]) -> Catalog:
    parts: list[Part] = []
    problems: list[Problem] = []
    seen: set[tuple[str, str]] = set()
    for entry in importlib.metadata.entry_points(group=GROUP):
        distribution, version = _origin(entry)
        names = {_normal(distribution), _normal(entry.name)}
        if (distribution, entry.value) in seen or (only is not None and not names & set(only)) or names & set(without):
            continue
        seen.add((distribution, entry.value))
        found, wrong = _read_entry(entry.value, distribution, version)
        parts += found
        problems += wrong
    return Catalog(tuple(parts), tuple(problems))


def _origin(entry: importlib.metadata.EntryPoint) -> tuple[str, str]:
    if entry.dist is None:
        return entry.name, "?"
    # Broken metadata may lack either.
    return entry.dist.metadata["Name"] or entry.name, entry.dist.metadata["Version"] or "?"


def _read_entry(package: str, distribution: str, version: str) -> tuple[Sequence[Part], Sequence[Problem]]:
    def only(state: str, reason: str) -> tuple[Sequence[Part], Sequence[Problem]]:
        return [], [Problem(state, reason, distribution, version)]

    if not package.isidentifier():
        return only(
            "bad-entry-point", f"its entry point is {package!r}; expected the bare name of its top-level package"
        )
    try:
        spec = importlib.util.find_spec(package)
    except BaseException as error:  # finders are other people's code, and may do anything
        if isinstance(error, KeyboardInterrupt):
            raise
        return only("missing-package", f"looking for the package {package} raised {type(error).__name__}: {error}")
    if spec is None or spec.submodule_search_locations is None:
        return only("missing-package", f"its package {package} is not there; reinstall it: pip install {distribution}")
    for folder in map(Path, spec.submodule_search_locations):
        if (folder / "ganzoo.toml").is_file():
            return manifest.read(folder / "ganzoo.toml", distribution=distribution, version=version, package=package)
    hint = "a wheel made by setuptools needs `package-data` to hold it"
    return only("no-manifest", f"its package {package} holds no ganzoo.toml; {hint}")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
