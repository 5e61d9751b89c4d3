"""Resolved settings: the final value of each, and where it came from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganzoo_core.errors import UsageError

if TYPE_CHECKING:
    from ganzoo_core.api import Options

REPEATED = ("generator.", "discriminator.")


@dataclass(frozen=True)
class SettingValue:
    """A resolved value and a description of where it came from; `without_user` is the value if the user set none."""

    value: Any
    origin: str
    by_user: bool = False
    without_user: Any = None

    @property
    def is_chosen(self) -> bool:
        """Whether the user set it on the command line or in a call, or to another value in a file.

        The file of a run names all settings, most of them at their defaults.
        """
        return self.by_user and (self.origin.startswith("--") or self.value != self.without_user)


class Settings(Mapping[str, Any]):
    """Resolved settings: `settings["train.lr"]`, with each value and its origin in `settings.entries`."""

    def __init__(self, values: Mapping[str, SettingValue]) -> None:
        self.entries = dict(values)

    def __getitem__(self, key: str) -> Any:
        return self.entries[key].value

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def find_origin(self, key: str) -> str:
        """Where the value came from: `core`, a part, a preset, a file, `--set`."""
        return self.entries[key].origin

    def options(self, prefix: str) -> Options:
        """The settings below `prefix.`, with the prefix removed."""
        start = prefix + "."
        return {key[len(start) :]: entry.value for key, entry in self.entries.items() if key.startswith(start)}

    def replace(self, key: str, value: Any, origin: str) -> Settings:
        """The same settings with one value changed."""
        return Settings({**self.entries, key: SettingValue(value, origin)})


def find_matches(key: str, known: Iterable[str]) -> list[str]:
    """The full keys that a key written by the user may mean; empty if it is unknown.

    generator.* and discriminator.* repeat model.*, so those keys must be written in full.
    """
    known = sorted(known)
    if key in known:
        return [key]
    return [full for full in known if full.endswith("." + key) and not full.startswith(REPEATED)]


def expand_key(key: str, known: Iterable[str]) -> str:
    """Expand a key as the user wrote it to the full key; an unambiguous last segment is enough.

    Raises:
        UsageError: for an unknown key, naming the nearest ones, and for an ambiguous key, naming all candidates.
    """
    known = sorted(known)
    ends = find_matches(key, known)
    short = [full for full in known if not full.startswith(REPEATED)]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise UsageError(f"the setting {key!r} may mean {' or '.join(ends)}; write it whole")
    word = key.lower()
    nearest = difflib.get_close_matches(word, known, n=3)
    if not nearest:
        lasts = difflib.get_close_matches(word.rpartition(".")[2], [full.rpartition(".")[2] for full in known], n=3)
        nearest = [full for last in lasts for full in short or known if full.rpartition(".")[2] == last]
        nearest = nearest or [full for last in lasts for full in known if full.rpartition(".")[2] == last]
    hint = f"did you mean {' or '.join(dict.fromkeys(nearest[:3]))}?" if nearest else "`ganzoo info MODEL` lists them"
    raise UsageError(f"there is no setting {key!r} in this mix; {hint}")
