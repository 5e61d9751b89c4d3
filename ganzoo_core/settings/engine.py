"""The settings `engine.*`, the only ones that can be set when a saved generator or a run is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value
from ganzoo_core.settings.core import CORE_SETTINGS
from ganzoo_core.settings.resolved import expand_key
from ganzoo_core.settings.values import read_value

ENGINE_KEYS = tuple(key for key in CORE_SETTINGS if key.startswith("engine."))


def read_engine_settings(assigned: Mapping[str, Any] | None) -> dict[str, Any]:
    """All `engine.*` settings: the defaults, overridden by the assigned values.

    Raises:
        UsageError: for a setting outside `engine.*`, and for an invalid value.
    """
    settings = {key: CORE_SETTINGS[key].default for key in ENGINE_KEYS}
    for word, raw in (assigned or {}).items():
        if not word.startswith("engine.") and f"engine.{word}" not in CORE_SETTINGS:
            raise UsageError(
                f"--set {word}: what was trained keeps the settings that it was trained with; only "
                f"{', '.join(ENGINE_KEYS)} can be set here"
            )
        key = expand_key(word, ENGINE_KEYS)
        value, allowed = read_value(key, CORE_SETTINGS[key].kind, raw), CORE_SETTINGS[key].choices
        if allowed and value not in allowed:
            raise UsageError(f"{key} is {format_value(raw)}; expected {' or '.join(allowed)}")
        settings[key] = value
    return settings
