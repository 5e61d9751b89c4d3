"""Read entry points and manifests, once per process. A broken distribution does not affect the others."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from ganzoo_core.discovery import manifest
from ganzoo_core.discovery.catalog.distributions import Distribution, find_entry_points
from ganzoo_core.discovery.catalog.lookup import Catalog
from ganzoo_core.discovery.catalog.names import find_nearest, normalise_distribution, normalise_part
from ganzoo_core.discovery.manifest import Manifest, Part, Problem
from ganzoo_core.errors import UsageError

ENTRY_POINT_GROUP = "ganzoo.plugins"
MANIFEST_FILE = "ganzoo.toml"
MAX_WORD_LENGTH = 100  # characters of a name, a version
_METADATA_FIELD = re.compile(r"^(Name|Version):[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)


class _Entry(NamedTuple):
    """One entry point of a distribution, or the reason why its entry points cannot be read."""

    name: str
    package: str
    distribution: str
    version: str
    fault: str = ""

    @property
    def keys(self) -> set[str]:
        """The normalised names by which a filter may select it."""
        return {normalise_distribution(word) for word in (self.distribution, self.name) if word}

    def make_problem(self, state: str, reason: str) -> Problem:
        return Problem(state, reason, self.distribution, self.version)


_left_out: list[str] = []


def leave_out(names: Iterable[str]) -> None:
    """Exclude plugins, by distribution or entry point, from all scans of this process (`--no-plugin`)."""
    _left_out[:] = names


def scan(*, with_left_out: bool = False) -> Catalog:
    """Read every installed manifest, once per process for each filter.

    The environment variable `GANZOO_PLUGINS=a,b` leaves out all plugins but those; if it is empty, all plugins.

    Args:
        with_left_out: also those that `leave_out` excludes.

    Raises:
        UsageError: if a plugin to leave out is not installed.
    """
    only = os.environ.get("GANZOO_PLUGINS")
    included = None if only is None else tuple(name.strip() for name in only.split(",") if name.strip())
    return _scan(included, () if with_left_out else tuple(_left_out))


def clear_cache() -> None:
    """Make the next scan read everything again."""
    _scan.cache_clear()


@functools.cache
def _scan(only: tuple[str, ...] | None, without: tuple[str, ...]) -> Catalog:
    entries = list(dict.fromkeys(_find_entries()))
    known = {key: entry.distribution for entry in entries for key in entry.keys}
    problems = [_make_missing_problem(name, known) for name in only or () if normalise_distribution(name) not in known]
    for name in without:
        if normalise_distribution(name) not in known:
            raise UsageError(f"--no-plugin {name}: no such plugin is installed; {_advise(name, known)}")
    chosen = set(known) if only is None else set(map(normalise_distribution, only))
    left_out = set(map(normalise_distribution, without))
    entries = [entry for entry in entries if entry.keys & chosen and not entry.keys & left_out]

    parts: dict[tuple[str, str, str], Part] = {}
    warnings: list[Problem] = []
    rivals = _find_rivals(entries)
    for entry in entries:
        found = _read_entry(entry, rivals.get(entry, ""))
        problems += found.problems
        warnings += found.warnings
        for part in found.parts:
            first = parts.setdefault(
                (part.kind, normalise_distribution(part.distribution), normalise_part(part.name)), part
            )
            if first is not part:
                reason = f"its packages {first.package} and {part.package} both hold this name"
                problems.append(Problem("name-taken", reason, part.distribution, part.version, part.kind, part.name))
    return Catalog(tuple(parts.values()), tuple(problems), tuple(warnings))


def _make_missing_problem(name: str, known: dict[str, str]) -> Problem:
    reason = f"GANZOO_PLUGINS names {name}, which is not installed; {_advise(name, known)}"
    return Problem("not-installed", reason, name, "?")


def _advise(name: str, known: dict[str, str]) -> str:
    alike = [known[key] for key in find_nearest(normalise_distribution(name), known)]
    if alike:
        return f"did you mean {' or '.join(dict.fromkeys(alike))}?"
    return f"installed are {', '.join(sorted(set(known.values()))) or 'none'}"


def _find_entries() -> Iterator[_Entry]:
    try:
        points = find_entry_points(ENTRY_POINT_GROUP)
    except Exception:  # broken metadata of a single distribution makes this call fail
        yield from _find_entries_one_by_one()
        return
    for point in points:
        origin = _read_origin(point.dist) if point.dist else (_make_printable(point.name), "?")
        yield _Entry(_make_printable(point.name), point.value, *origin)


def _find_entries_one_by_one() -> Iterator[_Entry]:
    """Read each distribution separately, which is slower. The first of a name on the path counts, as for imports."""
    import importlib.metadata

    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        name, version = _read_origin(distribution)
        if normalise_distribution(name) in seen:
            continue
        seen.add(normalise_distribution(name))
        try:
            points = list(distribution.entry_points.select(group=ENTRY_POINT_GROUP))
        except Exception as error:
            if _is_plugin(distribution):
                yield _Entry("", "", name, version, f"{type(error).__name__}: {error}")
            continue
        for point in points:
            yield _Entry(_make_printable(point.name), point.value, name, version)


def find_broken_metadata() -> list[tuple[str, str]]:
    """The distributions on the path that Python's own metadata reader fails on, each with the reason."""
    import importlib.metadata

    broken: dict[str, str] = {}
    versions: dict[tuple[str, Path], str] = {}
    for distribution in importlib.metadata.distributions():
        name, version = _read_origin(distribution)
        try:
            list(distribution.entry_points)
        except Exception as error:
            reason = f"its entry points cannot be read ({type(error).__name__}: {error})"
            broken.setdefault(name, f"{reason}, which stops whatever reads all of them; reinstall {name}")
        place = normalise_distribution(name), Path(str(distribution.locate_file("")))
        if versions.setdefault(place, version) != version:
            broken.setdefault(name, f"it is recorded twice, as {versions[place]} and {version}; reinstall {name}")
    return sorted(broken.items())


def _read_origin(distribution: Distribution) -> tuple[str, str]:
    """Name and version; if the metadata is broken, those in the metadata folder's name, or `?`."""
    stem = PurePath(str(getattr(distribution, "_path", "?"))).stem
    name, _, version = stem.partition("-")
    try:
        # Only the header: the rest is a README, which importlib.metadata's mail parser would read as well.
        head = (distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or "").partition("\n\n")[0]
        fields = dict(reversed(_METADATA_FIELD.findall(head)))  # the first of duplicate lines counts
        return _make_printable(fields.get("Name", name)), _make_printable(fields.get("Version", "?"))
    except Exception:
        return _make_printable(name), _make_printable(version) or "?"


def _make_printable(text: str) -> str:
    """Make a distribution's metadata safe to print: replace unprintable characters, and truncate long text."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:MAX_WORD_LENGTH])


def _is_plugin(distribution: Distribution) -> bool:
    """Whether entry points that cannot be parsed mention ganzoo's group."""
    try:
        return ENTRY_POINT_GROUP.encode() in (distribution._path / "entry_points.txt").read_bytes()  # type: ignore[attr-defined]
    except Exception:
        return False


def _find_rivals(entries: Sequence[_Entry]) -> dict[_Entry, str]:
    """Entries whose package is also claimed by another distribution -> the names of those distributions.

    The distribution with the same name as the package keeps it; if there is none, all claimants are in conflict.
    """
    claims: dict[str, list[_Entry]] = defaultdict(list)
    for entry in entries:
        claims[entry.package].append(entry)
    rivals = {}
    for package, claimants in claims.items():
        owners = [
            entry
            for entry in claimants
            if normalise_distribution(entry.distribution) == normalise_distribution(package)
        ]
        for entry in claimants:
            others = sorted({claimant.distribution for claimant in claimants} - {entry.distribution})
            if others and owners != [entry]:
                rivals[entry] = " and ".join(others)
    return rivals


def _read_entry(entry: _Entry, rivals: str) -> Manifest:
    """Read an entry point's manifest, or return the problem that prevents reading it."""

    def only(state: str, reason: str) -> Manifest:
        return Manifest([], [entry.make_problem(state, reason)], [])

    package, distribution = entry.package, entry.distribution
    if entry.fault:
        return only("bad-entry-point", f"its entry points cannot be read ({entry.fault}); reinstall {distribution}")
    if not package.isidentifier():
        return only(
            "bad-entry-point",
            f"its entry point is {package!r}; expected the bare name of its top-level package; its author must mend it",
        )
    if rivals:
        return only("package-taken", f"its package {package} is also that of {rivals}; uninstall what is not needed")
    try:
        spec = importlib.util.find_spec(package)
        folders = (
            None if spec is None or spec.submodule_search_locations is None else [*spec.submodule_search_locations]
        )
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # third-party import finders may raise anything
        return only("missing-package", f"looking for its package {package} raised {type(error).__name__}: {error}")
    if spec is None:
        return only("missing-package", f"its package {package} is not there; reinstall it: pip install {distribution}")
    if folders is None:
        return only(
            "no-manifest", f"its package {package} is a single file; expected a folder with {MANIFEST_FILE} in it"
        )
    try:
        for folder in map(Path, folders):
            if (folder / MANIFEST_FILE).is_file():
                return manifest.read(
                    folder / MANIFEST_FILE, distribution=distribution, version=entry.version, package=package
                )
    except Exception as error:
        return only("bad-manifest", f"reading {MANIFEST_FILE} raised {type(error).__name__}: {error}")
    if folders and not any(Path(folder).is_dir() for folder in folders):
        return only("no-manifest", f"its package {package} lies in an archive, {folders[0]}; install it as a folder")
    hint = "a wheel made by setuptools needs `package-data` to hold it"
    return only("no-manifest", f"its package {package} holds no {MANIFEST_FILE}; {hint}")
