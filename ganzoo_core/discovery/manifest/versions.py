"""Compare a manifest with this core: the versions that it requires, and the names that only another version knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ganzoo_core.api_version import API
from ganzoo_core.messages import format_value

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

MAX_CHARACTERS = 100  # of a version range
MAX_API = 1_000_000
MAX_UNKNOWN = 20  # unknown fields that are described one by one
_UPGRADE = "upgrade ganzoo-core: pip install -U ganzoo-core"

UnknownField = tuple[str, Iterable[str]]
"""A field's name, and the names that could stand in its place."""


def find_core_version() -> str:
    """The installed version of ganzoo-core."""
    import importlib.metadata  # takes as long as the rest of `ganzoo list`'s imports, and that needs no version

    return importlib.metadata.version("ganzoo-core")


def advise_upgrade(name: str, known: Iterable[str]) -> str:
    """What to do about a name that this core does not know: use the nearest one, or upgrade."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f"did you mean {nearest[0]}? If not, {_UPGRADE}" if nearest else _UPGRADE


def find_mismatch(content: Mapping[str, Any], distribution: str) -> tuple[str, str] | None:
    """The state and the reason if a plugin cannot work with this core, according to `api` and `requires_core`."""
    api, required = content.get("api"), content.get("requires_core")
    if type(api) is not int or api != API:  # the usual value needs no parser of version ranges
        stated = "says no api" if api is None else f"says api = {format_value(api)}"
        words = f"{stated}, this ganzoo-core speaks {API}"
        accepted = _read_range(f"=={api}" if type(api) is int and abs(api) < MAX_API else api)
        if accepted is None:
            return "api-mismatch", f"{words}; its author must write `api = {API}`, or a range such as `api = '>=1,<3'`"
        if not accepted.contains(str(API)):
            advice = _UPGRADE if _is_core_older(accepted, str(API)) else _advise_plugin_upgrade(distribution)
            return "api-mismatch", f"{words}; {advice}"
    if required is not None:
        accepted, version = _read_range(required), find_core_version()
        if accepted is None:
            wrong = f"requires_core is {format_value(required)}; expected a range of versions, such as '>=0.2'"
            return "bad-manifest", f"{wrong}; its author must mend it"
        if not accepted.contains(version, prereleases=True):
            older = _is_core_older(accepted, version)
            advice = f'upgrade ganzoo-core: pip install -U "ganzoo-core{accepted}"'
            advice = advice if older else _advise_plugin_upgrade(distribution)
            return "core-mismatch", f"requires ganzoo-core {accepted}, and {version} is installed; {advice}"
    return None


def _advise_plugin_upgrade(distribution: str) -> str:
    return f"upgrade {distribution}: pip install -U {distribution}"


def _read_range(value: Any) -> SpecifierSet | None:
    """A range of versions such as `>=0.2,<2`; None if it is none."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if not isinstance(value, str) or not 0 < len(value) <= MAX_CHARACTERS:
        return None
    try:
        accepted = SpecifierSet(value)
    except InvalidSpecifier:
        return None
    # `===` compares any text, which need not be a version.
    return accepted if len(accepted) and all(each.operator != "===" for each in accepted) else None


def _is_core_older(accepted: SpecifierSet, version: str) -> bool:
    """Whether a later version than this one, which is not accepted, could be."""
    from packaging.version import Version

    failed = [each for each in accepted if not each.contains(version, prereleases=True)]
    return any(
        each.operator in (">", "!=") or Version(each.version.removesuffix(".*")) > Version(version) for each in failed
    )


def drop_unknown(table: dict[str, Any], known: Iterable[str], prefix: str = "") -> list[UnknownField]:
    """Remove what is not known from a table, and return it with the names that are."""
    unknown = [name for name in table if name not in known]
    for name in unknown:
        del table[name]
    full_names = [prefix + name for name in known]
    return [(prefix + name, full_names) for name in unknown]


def describe_unknown(unknown: Sequence[UnknownField]) -> tuple[str, ...]:
    """A sentence about each unknown field of a manifest; the first are described, the others counted."""
    if not unknown:
        return ()
    ignored = f"which ganzoo-core {find_core_version()} does not expect there and ignores"
    sentences = [
        f"its manifest has {format_value(name)}, {ignored}; {advise_upgrade(name, known)}"
        for name, known in unknown[:MAX_UNKNOWN]
    ]
    rest = len(unknown) - MAX_UNKNOWN
    return (*sentences, f"its manifest has {rest:,} more, {ignored}") if rest > 0 else tuple(sentences)
