"""Read a `ganzoo.toml` into validated cards, without importing the plugin."""

from ganzoo_core.discovery.manifest.cards import KINDS, SINGULAR, Part, Problem, Suits
from ganzoo_core.discovery.manifest.reading import read

__all__ = ["KINDS", "SINGULAR", "Part", "Problem", "Suits", "read"]
