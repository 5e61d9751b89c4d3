"""What the user asked for, before anything is looked up."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ganzoo_core.errors import UsageError
from ganzoo_core.mix.layers import Layer
from ganzoo_core.settings import CORE, read


@dataclass(frozen=True)
class Request:
    """What the user asked for, before anything is looked up.

    Attributes:
        picks: slot or `model` -> a name, or an object in Python (a network, a loss, an array).
        modifiers: names, the first innermost; None for the model's own.
        trackers: names; None for those that the config file names.
        preset: a preset's name; `none` for none; None for the one that the data names.
        config: settings of a file, flat, as text; `config_name` says which file.
        assigned: `--set`, and `settings=` in Python.
        flags: settings by flags of their own, with the flag as the user knows it.
    """

    picks: Mapping[str, Any] = field(default_factory=dict)
    modifiers: Sequence[str] | None = None
    trackers: Sequence[str] | None = None
    preset: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    config_name: str = "config"
    assigned: Mapping[str, Any] = field(default_factory=dict)
    flags: Mapping[str, tuple[Any, str]] = field(default_factory=dict)


class Words:
    """The picks as the user made them: flags over `--set use.*` over the config file."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.picked: dict[str, tuple[Any, str]] = {}
        for values, origin in ((request.config, request.config_name), (request.assigned, "--set")):
            self._pick({_pick_of(key): read(key, _kind(key), values[key]) for key in values if _pick_of(key)}, origin)
        flags = {slot: value for slot, value in request.picks.items() if value is not None}
        self._pick(flags, "")
        if request.modifiers is not None:
            self.picked["with"] = (list(request.modifiers), "--with")
        if request.trackers is not None:
            self.picked["track"] = (list(request.trackers), "--track")

    def _pick(self, slots: Mapping[str, Any], origin: str) -> None:
        """Lay picks over those before. A model that is named takes the place of both networks named before."""
        named = slots.get("model")
        if named is not None and not (isinstance(named, str) and not named.strip()):
            for slot in ("generator", "discriminator"):
                self.picked.pop(slot, None)
        for slot, value in slots.items():
            self.picked[slot] = (value, origin or ("MODEL" if slot == "model" else f"--{slot}"))

    def pick(self, slot: str) -> Any:
        value = self.picked.get(slot, (None, ""))[0]
        return None if isinstance(value, str) and not value.strip() else value

    def modifiers(self, own: Mapping[str, Any]) -> list[str]:
        raw = self.picked["with"][0] if "with" in self.picked else own.get("use.with", [])
        return read("use.with", "words", raw)

    def trackers(self) -> list[str]:
        return read("use.track", "words", self.picked["track"][0]) if "track" in self.picked else []

    def _is_left(self, key: str) -> bool:
        """Whether a file's setting is about a part in whose place another was picked this time."""
        namespace, _, rest = key.partition(".")
        if namespace == "track":
            return not any(rest.startswith(f"{name}.") for name in self.trackers())
        if namespace == "with" and self.picked.get("with", ("", ""))[1] != self.request.config_name:
            return "with" in self.picked and not any(rest.startswith(f"{name}.") for name in self.modifiers({}))
        if namespace in ("loss", "schedule"):
            filed = self.request.config.get(f"use.{namespace}")
            return filed is not None and self.pick(namespace) != filed
        return False

    def layers(self) -> list[Layer]:
        request = self.request
        config = {key: value for key, value in request.config.items() if not (_pick_of(key) or self._is_left(key))}
        assigned = {key: value for key, value in request.assigned.items() if not _pick_of(key)}
        flags = [Layer({key: value}, flag, True) for key, (value, flag) in request.flags.items()]
        return [Layer(config, request.config_name, True), Layer(assigned, "--set", True), *flags]


def _pick_of(key: str) -> str:
    """The slot that a key picks: `loss` of `use.loss` and of `loss`; "" for a setting of another kind."""
    slot = key.removeprefix("use.")
    if f"use.{slot}" in CORE:
        return slot
    if key.startswith("use."):
        raise UsageError(_settings_hint(key))
    return ""


def _kind(key: str) -> str:
    return CORE[f"use.{_pick_of(key)}"].kind


def _settings_hint(key: str) -> str:
    nearest = difflib.get_close_matches(key, [name for name in CORE if name.startswith("use.")], n=2)
    return f"there is no setting {key!r}; " + (
        f"did you mean {' or '.join(nearest)}?" if nearest else "picks are use.*"
    )
