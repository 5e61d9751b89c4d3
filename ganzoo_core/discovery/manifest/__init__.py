"""One `ganzoo.toml` -> cards, validated. Nothing of the plugin is imported."""

from ganzoo_core.discovery.manifest.cards import KINDS, SINGULAR, Part, Problem, Suits
from ganzoo_core.discovery.manifest.reading import read

__all__ = ["KINDS", "SINGULAR", "Part", "Problem", "Suits", "read"]
