"""When two names are the same, and which one was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def normalise_distribution(name: str) -> str:
    """A distribution's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def normalise_part(name: str) -> str:
    """A part's name or alias as it is compared: hyphens and underscores are one."""
    return name.strip().lower().replace("_", "-")


def find_nearest(word: str, known: Iterable[str]) -> list[str]:
    """Up to three known names that look like the word, the most alike first."""
    # One letter of two is half of the word.
    return difflib.get_close_matches(word.lower(), sorted(set(known)), n=3, cutoff=0.6 if len(word) > 3 else 0.5)
