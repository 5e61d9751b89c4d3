"""The user's request, before names are looked up."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ganzoo_core.errors import UsageError
from ganzoo_core.mix.layers import SettingsLayer
from ganzoo_core.settings import CORE_SETTINGS, read_value


@dataclass(frozen=True)
class Request:
    """The user's picks and settings, before names are looked up.

    Attributes:
        picks: slot or `model` -> a name, or a Python object (a network, a loss, an array).
        modifiers: names, the first innermost; None for the model's default ones.
        trackers: names; None for those in the config file.
        preset: a preset's name; `none` for no preset; None to choose by the data.
        config: flat settings from a file, as text; `config_name` names the file.
        assigned: `--set`, and `settings=` in Python.
        flags: key -> (value, flag), for settings with a flag of their own, such as `--lr`.
    """

    picks: Mapping[str, Any] = field(default_factory=dict)
    modifiers: Sequence[str] | None = None
    trackers: Sequence[str] | None = None
    preset: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    config_name: str = "config"
    assigned: Mapping[str, Any] = field(default_factory=dict)
    flags: Mapping[str, tuple[Any, str]] = field(default_factory=dict)


class UserPicks:
    """The user's picks; flags win over `--set use.*`, which wins over the config file."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.by_slot: dict[str, tuple[Any, str]] = {}
        for values, origin in ((request.config, request.config_name), (request.assigned, "--set")):
            self._add_picks(
                {
                    _find_picked_slot(key): read_value(key, _find_pick_kind(key), values[key])
                    for key in values
                    if _find_picked_slot(key)
                },
                origin,
            )
        flags = {slot: value for slot, value in request.picks.items() if value is not None}
        self._add_picks(flags, "")
        if request.modifiers is not None:
            self.by_slot["with"] = (list(request.modifiers), "--with")
        if request.trackers is not None:
            self.by_slot["track"] = (list(request.trackers), "--track")

    def _add_picks(self, slots: Mapping[str, Any], origin: str) -> None:
        """Add picks; they override earlier ones. A model overrides both networks picked before."""
        named = slots.get("model")
        if named is not None and not (isinstance(named, str) and not named.strip()):
            for slot in ("generator", "discriminator"):
                self.by_slot.pop(slot, None)
        for slot, value in slots.items():
            self.by_slot[slot] = (value, origin or ("MODEL" if slot == "model" else f"--{slot}"))

    def get_pick(self, slot: str) -> Any:
        value = self.by_slot.get(slot, (None, ""))[0]
        return None if isinstance(value, str) and not value.strip() else value

    def list_modifiers(self, model_settings: Mapping[str, Any]) -> list[str]:
        raw = self.by_slot["with"][0] if "with" in self.by_slot else model_settings.get("use.with", [])
        return read_value("use.with", "words", raw)

    def list_trackers(self) -> list[str]:
        return read_value("use.track", "words", self.by_slot["track"][0]) if "track" in self.by_slot else []

    def _is_for_replaced_part(self, key: str) -> bool:
        """Whether a setting in the config file is for a part that the user replaced by another."""
        namespace, _, rest = key.partition(".")
        if namespace == "track":
            return not any(rest.startswith(f"{name}.") for name in self.list_trackers())
        if namespace == "with" and self.by_slot.get("with", ("", ""))[1] != self.request.config_name:
            return "with" in self.by_slot and not any(rest.startswith(f"{name}.") for name in self.list_modifiers({}))
        if namespace in ("loss", "schedule"):
            filed = self.request.config.get(f"use.{namespace}")
            return filed is not None and self.get_pick(namespace) != filed
        return False

    def make_layers(self) -> list[SettingsLayer]:
        request = self.request
        config = {
            key: value
            for key, value in request.config.items()
            if not (_find_picked_slot(key) or self._is_for_replaced_part(key))
        }
        assigned = {key: value for key, value in request.assigned.items() if not _find_picked_slot(key)}
        flags = [SettingsLayer({key: value}, flag, True) for key, (value, flag) in request.flags.items()]
        return [SettingsLayer(config, request.config_name, True), SettingsLayer(assigned, "--set", True), *flags]


def _find_picked_slot(key: str) -> str:
    """The slot that a key picks: `loss` for `use.loss` or `loss`; "" for any other setting."""
    slot = key.removeprefix("use.")
    if f"use.{slot}" in CORE_SETTINGS:
        return slot
    if key.startswith("use."):
        raise UsageError(_describe_unknown_pick(key))
    return ""


def _find_pick_kind(key: str) -> str:
    return CORE_SETTINGS[f"use.{_find_picked_slot(key)}"].kind


def _describe_unknown_pick(key: str) -> str:
    nearest = difflib.get_close_matches(key, [name for name in CORE_SETTINGS if name.startswith("use.")], n=2)
    return f"there is no setting {key!r}; " + (
        f"did you mean {' or '.join(nearest)}?" if nearest else "picks are use.*"
    )
