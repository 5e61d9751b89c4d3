"""Look up installed parts by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ganzoo_core.discovery.catalog.names import find_nearest, normalise_distribution, normalise_part
from ganzoo_core.discovery.manifest import KINDS, SINGULAR, Part, Problem
from ganzoo_core.errors import PluginError, UsageError


@dataclass(frozen=True)
class Catalog:
    """All usable parts, the problems of those that cannot be used, and warnings about whole plugins."""

    parts: tuple[Part, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()

    def list_kind(self, kind: str) -> list[Part]:
        """The usable parts of a kind, sorted by name."""
        return sorted((part for part in self.parts if part.kind == kind), key=lambda part: part.name)

    def find_matches(self, kind: str, name: str) -> list[Part]:
        """All parts of a kind with this name, alias or `distribution/name`."""
        distribution, _, bare = name.rpartition("/")
        return [
            part
            for part in self.parts
            if part.kind == kind
            and normalise_part(bare) in _make_keys(part)
            and (not distribution or normalise_distribution(distribution) == normalise_distribution(part.distribution))
        ]

    def find(self, kind: str, name: str) -> Part:
        """Find the only part with this name, alias or `distribution/name`.

        Raises:
            UsageError: for an unknown name (with the nearest ones) and for one that several distributions have.
            PluginError: for a part whose plugin has a problem.
        """
        matches = self.find_matches(kind, name)
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = " or ".join(sorted(part.qualified_name for part in matches))
            raise UsageError(f"several plugins have the {SINGULAR[kind]} {name!r}; say {names}")
        problem = self._find_problem(kind, name)
        if problem:
            raise PluginError(f"{name} of {problem.distribution} {problem.version} cannot be used: {problem.reason}")
        raise UsageError(self._explain_unknown(kind, name))

    def find_warnings(self, distribution: str) -> list[str]:
        """Warnings about a whole plugin."""
        key = normalise_distribution(distribution)
        return [each.reason for each in self.warnings if normalise_distribution(each.distribution) == key]

    def find_any(self, name: str) -> Part:
        """Find a part of any kind; if several kinds have the name, `KIND/NAME` selects one. Raises as `find`."""
        kind, _, rest = name.partition("/")
        if kind in KINDS and rest:
            return self.find(kind, rest)
        kinds = [kind for kind in KINDS if self.find_matches(kind, name)]
        if not kinds:
            kinds = [kind for kind in KINDS if self._find_problem(kind, name)][:1]
        if len(kinds) == 1:
            return self.find(kinds[0], name)
        if kinds:
            raise UsageError(f"{name} is the name of several parts; say {' or '.join(f'{k}/{name}' for k in kinds)}")
        known = {word: SINGULAR[kind] for kind in KINDS for word in self._list_names(kind)}
        alike = [f"{word} (a {known[word]})" for word in find_nearest(name.rpartition("/")[2], known)]
        raise UsageError(f"no part is called {name!r}; {self._advise(alike, 'ganzoo list')}")

    def find_default(self, kind: str) -> Part | None:
        """The part used when none is named: the one whose card says `default = true`; None if there is none.

        Raises:
            UsageError: if several say so.
        """
        defaults = [part for part in self.list_kind(kind) if part.default]
        _check_single_default(kind, defaults)
        return defaults[0] if defaults else None

    def list_default_extractors(self) -> list[Part]:
        """The default extractors, most demanding first: the first whose `needs` the data meet is used.

        Raises:
            UsageError: if several with the same needs say they are the default.
        """
        defaults = [part for part in self.list_kind("extractors") if part.default]
        for part in defaults:
            _check_single_default("extractors", [other for other in defaults if set(other.needs) == set(part.needs)])
        return sorted(defaults, key=lambda part: -len(part.needs))

    def check_defaults(self, kind: str) -> None:
        """Raise UsageError if several parts claim to be the default of a kind that has one."""
        if kind == "extractors":
            self.list_default_extractors()
        elif kind != "metrics":  # every default metric is computed
            self.find_default(kind)

    def find_short_name(self, part: Part) -> str:
        """The shortest unambiguous name of a part: its own, or with the distribution if another part shares it."""
        return part.qualified_name if self._name_counts[part.kind, normalise_part(part.name)] > 1 else part.name

    def list_rows(self, kind: str | None = None) -> list[dict[str, Any]]:
        """One row for each part and each problem, as `ganzoo list --json` prints them."""
        rows = []
        for part in self.parts:
            row = _make_row(part.kind, self.find_short_name(part), part.distribution, part.version)
            row |= {"framework": ", ".join(part.frameworks) or "any", "title": part.title}
            if row["name"] != part.name:
                others = [
                    rival.qualified_name for rival in self.find_matches(part.kind, part.name) if rival is not part
                ]
                reason = f"{' and '.join(others)} goes by this name too; say it with the distribution"
                row |= {"state": "name-taken", "reason": reason}
            rows.append(row)
        for problem in self.problems:
            row = _make_row(problem.kind, problem.name, problem.distribution, problem.version)
            rows.append(row | {"state": problem.state, "reason": problem.reason})
        order = {name: index for index, name in enumerate(KINDS)}
        rows.sort(key=lambda row: (order.get(row["kind"], len(order)), row["name"], row["distribution"]))
        # A problem with a whole distribution may concern any kind, so it is listed for each.
        return [row for row in rows if kind is None or row["kind"] == kind or row["kind"] not in KINDS]

    @cached_property
    def _name_counts(self) -> Counter[tuple[str, str]]:
        """The number of parts of each kind with each name or alias."""
        return Counter((part.kind, word) for part in self.parts for word in _make_keys(part))

    def _find_problem(self, kind: str, name: str) -> Problem | None:
        """The problem of a named part or, if the name includes the distribution, of the whole distribution."""
        distribution, _, bare = name.rpartition("/")
        for problem in self.problems:
            same = normalise_distribution(distribution) == normalise_distribution(problem.distribution)
            own = (
                problem.kind == kind
                and normalise_part(problem.name) == normalise_part(bare)
                and (same or not distribution)
            )
            if own or (same and distribution and not problem.kind):
                return problem
        return None

    def _list_names(self, kind: str) -> list[str]:
        """All names and aliases of parts of this kind, with those of unusable parts."""
        words = [word for part in self.list_kind(kind) for word in (part.name, *part.aliases)]
        return words + [problem.name for problem in self.problems if problem.kind == kind]

    def _explain_unknown(self, kind: str, name: str) -> str:
        bare = name.rpartition("/")[2]
        alike = find_nearest(bare, self._list_names(kind))
        elsewhere = [another for another in KINDS if another != kind and self.find_matches(another, name)]
        if elsewhere and not alike:
            return f"no {SINGULAR[kind]} is called {name!r}; {name} is a {SINGULAR[elsewhere[0]]}"
        return f"no {SINGULAR[kind]} is called {name!r}; {self._advise(alike, f'ganzoo list {kind}')}"

    def _advise(self, alike: list[str], command: str) -> str:
        if alike:
            return f"did you mean {' or '.join(alike)}?"
        broken = len({problem.distribution for problem in self.problems if not problem.kind})
        also = f", and `ganzoo doctor` what is wrong with {broken} of the plugins" if broken else ""
        return f"`{command}` shows what is installed{also}"


def _check_single_default(kind: str, defaults: list[Part]) -> None:
    if len(defaults) > 1:
        names = " and ".join(part.qualified_name for part in defaults)
        raise UsageError(f"{names} all say they are the default {SINGULAR[kind]}; name the one to use")


def _make_keys(part: Part) -> set[str]:
    return {normalise_part(word) for word in (part.name, *part.aliases)}


def _make_row(kind: str, name: str, distribution: str, version: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "framework": "",
        "title": "",
        "distribution": distribution,
        "version": version,
        "state": "ok",
        "reason": "",
    }
