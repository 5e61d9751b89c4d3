"""Normalise names for comparison, and suggest similar ones."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def normalise_distribution(name: str) -> str:
    """Normalise a distribution's name as pip does."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def normalise_part(name: str) -> str:
    """Normalise a part's name or alias: lower case, with underscores as hyphens."""
    return name.strip().lower().replace("_", "-")


def find_nearest(word: str, known: Iterable[str]) -> list[str]:
    """Up to three known names that are similar to the word, the most similar first."""
    # In a short word a single wrong letter is a large share.
    return difflib.get_close_matches(word.lower(), sorted(set(known)), n=3, cutoff=0.6 if len(word) > 3 else 0.5)
