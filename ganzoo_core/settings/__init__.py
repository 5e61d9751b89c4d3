"""Say which settings the core has, how a value is read, which value wins, and where it came from."""

from ganzoo_core.messages import shown
from ganzoo_core.settings.core import CORE, OPTIMIZERS, Setting
from ganzoo_core.settings.engine import read_engine_settings
from ganzoo_core.settings.reading import MAX_INTEGER, kind_of, read
from ganzoo_core.settings.resolved import Settings, Value, expand
from ganzoo_core.settings.sources import flatten, parse_assignments, read_config, read_facts, read_run_config

__all__ = [
    "CORE",
    "MAX_INTEGER",
    "OPTIMIZERS",
    "Setting",
    "Settings",
    "Value",
    "expand",
    "flatten",
    "kind_of",
    "parse_assignments",
    "read",
    "read_config",
    "read_engine_settings",
    "read_facts",
    "read_run_config",
    "shown",
]
