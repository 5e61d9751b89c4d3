"""Options of several commands; each command adds its own help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganzoo_core.cli import completion
from ganzoo_core.settings import CORE_SETTINGS

CHECKPOINT: Mapping[str, Any] = {"default": "last", "metavar": "C", "completer": completion.suggest_checkpoints}
CLASS: Mapping[str, Any] = {"dest": "label", "metavar": "C", "completer": completion.suggest_classes}
DEVICE: Mapping[str, Any] = {"choices": CORE_SETTINGS["engine.device"].choices}
SETTINGS: Mapping[str, Any] = {
    "action": "append",
    "default": [],
    "metavar": "KEY=VALUE",
    "completer": completion.suggest_settings,
}
# `--set` of a command that takes no settings but the engine's.
ENGINE_SETTINGS: Mapping[str, Any] = {
    **SETTINGS,
    "help": "of engine.* alone, such as engine.max_parameters=5e9 for a network that is refused as too large",
}
