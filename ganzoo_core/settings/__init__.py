"""The core's settings: how values are read, which value wins, and where it came from."""

from ganzoo_core.messages import format_value
from ganzoo_core.settings.core import CORE_SETTINGS, EmaSettings, OptimizerSettings, StepSettings
from ganzoo_core.settings.declare import Setting, is_choice, read_group
from ganzoo_core.settings.engine import read_engine_settings
from ganzoo_core.settings.resolved import Settings, SettingValue, expand_key, find_matches
from ganzoo_core.settings.sources import flatten, parse_assignments, read_config, read_facts, read_run_config
from ganzoo_core.settings.values import MAX_INTEGER, find_kind, read_value

__all__ = [
    "CORE_SETTINGS",
    "MAX_INTEGER",
    "EmaSettings",
    "OptimizerSettings",
    "Setting",
    "SettingValue",
    "Settings",
    "StepSettings",
    "expand_key",
    "find_kind",
    "find_matches",
    "flatten",
    "format_value",
    "is_choice",
    "parse_assignments",
    "read_config",
    "read_engine_settings",
    "read_facts",
    "read_group",
    "read_run_config",
    "read_value",
]
