"""What the user asked for, before anything is looked up."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ganzoo_core.api import UsageError
from ganzoo_core.mix.layers import Layer
from ganzoo_core.settings import CORE, read


@dataclass(frozen=True)
class Request:
    """What the user asked for, before anything is looked up.

    Attributes:
        picks: slot or `model` -> a name, or an object in Python (a network, a loss, an array).
        modifiers: names, the first innermost; None for the model's own.
        preset: a preset's name; `none` for none; None for the one that the data names.
        config: settings of a file, flat, as text; `config_name` says which file.
        assigned: `--set`, and `settings=` in Python.
        flags: settings by flags of their own, with the flag as the user knows it.
    """

    picks: Mapping[str, Any] = field(default_factory=dict)
    modifiers: Sequence[str] | None = None
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
            for key, value in values.items():
                if key.startswith("use."):
                    if key not in CORE:
                        raise UsageError(_settings_hint(key))
                    self.picked[key[4:]] = (value, origin)
        for slot, value in request.picks.items():
            if value is not None:
                self.picked[slot] = (value, "MODEL" if slot == "model" else f"--{slot}")
        if request.modifiers is not None:
            self.picked["with"] = (list(request.modifiers), "--with")

    def pick(self, slot: str) -> Any:
        value = self.picked.get(slot, (None, ""))[0]
        return None if isinstance(value, str) and not value.strip() else value

    def modifiers(self, own: Mapping[str, Any]) -> list[str]:
        raw = self.picked["with"][0] if "with" in self.picked else own.get("use.with", [])
        return read("use.with", "words", raw)

    def layers(self) -> list[Layer]:
        request = self.request
        config = {key: value for key, value in request.config.items() if not key.startswith("use.")}
        assigned = {key: value for key, value in request.assigned.items() if not key.startswith("use.")}
        flags = [Layer({key: value}, flag, True) for key, (value, flag) in request.flags.items()]
        return [Layer(config, request.config_name, True), Layer(assigned, "--set", True), *flags]


def _settings_hint(key: str) -> str:
    nearest = difflib.get_close_matches(key, [name for name in CORE if name.startswith("use.")], n=2)
    return f"there is no setting {key!r}; " + (
        f"did you mean {' or '.join(nearest)}?" if nearest else "picks are use.*"
    )
