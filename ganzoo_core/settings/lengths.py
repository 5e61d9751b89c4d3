"""Lengths of a run: `20000` (images seen), `1epoch`, `250steps`, and lists such as `[1,5,20]epochs`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

_NEVER_WORDS = {"off", "never", "none", "0"}
_LENGTH_PATTERN = re.compile(
    r"(?P<count>[0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)\s*(?P<unit>images?|epochs?|steps?|)"
)
_MINUTES_PATTERN = re.compile(r"(?P<count>[0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)\s*minutes?")
_LIST_PATTERN = re.compile(r"\[(?P<items>[^\]]*)\]\s*(?P<unit>[a-z]*)")
_MAX_ITEMS = 1000  # lengths in a list
MAX_MINUTES = 1_000_000  # two years
MAX_LENGTH_IMAGES = 1e15  # beyond it a float no longer counts single images


@dataclass(frozen=True)
class Interval:
    """A count of images seen, epochs (one pass over the set) or steps (one update of G); a count of 0 means never."""

    count: float
    unit: str

    @classmethod
    def parse(cls, text: Any) -> Interval:
        """Read `20000`, `1epoch`, `250steps` or `off`; raise ValueError for anything else."""
        word = str(text).strip().lower()
        if word in _NEVER_WORDS:
            return cls(0, "image")
        match = _LENGTH_PATTERN.fullmatch(word)
        if match is None:
            raise ValueError("expected a length: images as 20000, or 1epoch, or 250steps, or off")
        count = float(match["count"])
        if count > MAX_LENGTH_IMAGES:
            raise ValueError(f"expected a length of at most {MAX_LENGTH_IMAGES:.0e}")
        return cls(count, (match["unit"] or "image").rstrip("s"))

    def to_images(self, *, epoch_images: int, step_images: int) -> int:
        """The same length in images seen, rounded up; 0 for never.

        Args:
            epoch_images: the number of images in the set.
            step_images: the real images that D sees in one step.
        """
        from fractions import Fraction  # commands that only look at what is installed count no images

        scale = {"image": 1, "epoch": epoch_images, "step": step_images}[self.unit]
        # Exact in the decimals that were written: 0.07 epochs of 100 images are 7; with floats they would be 8.
        return math.ceil(Fraction(str(self.count)) * scale)


def parse_minutes(text: Any) -> float | None:
    """`10minutes` -> 10.0; None for a length of another kind, which `Interval.parse` reads.

    Raises:
        ValueError: for 0 minutes, or more than `MAX_MINUTES`.
    """
    match = _MINUTES_PATTERN.fullmatch(str(text).strip().lower())
    if match is None:
        return None
    count = float(match["count"])
    if not 0 < count <= MAX_MINUTES:
        raise ValueError(f"expected a length above 0, and of at most {MAX_MINUTES:,} minutes")
    return count


def parse_list(text: Any) -> list[str]:
    """Parse `[1,5,20]epochs`, `1epoch,5epochs` or a list of lengths; raises ValueError for a bad one."""
    if isinstance(text, str):
        match = _LIST_PATTERN.fullmatch(text.strip().lower())
        items, unit = (match["items"], match["unit"]) if match else (text, "")
        text = [item.strip().strip("\"'") + unit for item in items.split(",") if item.strip()]
    if not isinstance(text, list | tuple):
        raise ValueError("expected a list of lengths such as [1,5,20]epochs")
    if len(text) > _MAX_ITEMS:
        raise ValueError(f"expected at most {_MAX_ITEMS:,} items")
    for item in text:
        Interval.parse(item)
    return [str(item) for item in text]


def is_due(every: int, before: int, after: int) -> bool:
    """Whether a multiple of `every` images lies in (before, after]; never for 0."""
    return every > 0 and after // every > before // every
