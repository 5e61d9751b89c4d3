"""Read a `ganzoo.toml` into validated cards, without importing the plugin."""

from ganzoo_core.discovery.manifest.cards import BOUNDS, DATA_FEATURES, KINDS, SINGULAR, Manifest, Part, Problem, Suits
from ganzoo_core.discovery.manifest.reading import read
from ganzoo_core.discovery.manifest.versions import advise_upgrade, find_core_version

__all__ = [
    "BOUNDS",
    "DATA_FEATURES",
    "KINDS",
    "SINGULAR",
    "Manifest",
    "Part",
    "Problem",
    "Suits",
    "advise_upgrade",
    "find_core_version",
    "read",
]
