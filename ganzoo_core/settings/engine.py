"""The settings of `engine.*` alone: what can be said where a saved generator or a run is opened that has all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import shown
from ganzoo_core.settings.core import CORE
from ganzoo_core.settings.reading import read
from ganzoo_core.settings.resolved import expand

ENGINE = tuple(key for key in CORE if key.startswith("engine."))


def read_engine_settings(assigned: Mapping[str, Any] | None) -> dict[str, Any]:
    """Every setting of `engine.*`, with those laid over the defaults that were given.

    Raises:
        UsageError: for a setting of another kind, and for a value that it does not take.
    """
    settings = {key: CORE[key].default for key in ENGINE}
    for word, raw in (assigned or {}).items():
        if not word.startswith("engine.") and f"engine.{word}" not in CORE:
            raise UsageError(
                f"--set {word}: what was trained keeps the settings that it was trained with; only "
                f"{', '.join(ENGINE)} can be set here"
            )
        key = expand(word, ENGINE)
        value, allowed = read(key, CORE[key].kind, raw), CORE[key].choices
        if allowed and value not in allowed:
            raise UsageError(f"{key} is {shown(raw)}; expected {' or '.join(allowed)}")
        settings[key] = value
    return settings
