"""Lengths of a run: `20000` (images seen), `1epoch`, `250steps`, and lists such as `[1,5,20]epochs`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NEVER = {"off", "never", "none", "0"}
_FORM = re.compile(r"(?P<count>\d[\d_]*(?:\.\d+)?(?:e\d+)?)\s*(?P<unit>images?|epochs?|steps?|)")
_LIST = re.compile(r"\[(?P<items>[^\]]*)\]\s*(?P<unit>[a-z]*)")


@dataclass(frozen=True)
class Interval:
    """A count of images seen, of epochs (the set once) or of steps (one update of G); a count of 0 is never."""

    count: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Read `20000`, `1epoch`, `250steps` or `off`; raise ValueError for anything else."""
        word = str(text).strip().lower()
        if word in _NEVER:
            return cls(0, "image")
        match = _FORM.fullmatch(word)
        if match is None:
            raise ValueError(f"{text!r} is not a length; write images as 20000, or 1epoch, or 250steps, or off")
        return cls(float(match["count"]), (match["unit"] or "image").rstrip("s"))

    def images(self, *, epoch_images: int, step_images: int) -> int:
        """The same length in images seen, rounded up; 0 for never.

        Args:
            epoch_images: the number of images in the set.
            step_images: the real images that D sees in one step.
        """
        scale = {"image": 1, "epoch": epoch_images, "step": step_images}[self.unit]
        return -int(-self.count * scale // 1)


def parse_list(text: str | list[str]) -> list[str]:
    """`[1,5,20]epochs`, `1epoch,5epochs` or a list of lengths -> the lengths, each checked; raises ValueError."""
    if isinstance(text, str):
        match = _LIST.fullmatch(text.strip().lower())
        items, unit = (match["items"], match["unit"]) if match else (text, "")
        text = [item.strip() + unit for item in items.split(",") if item.strip()]
    for item in text:
        Interval.parse(item)
    return [str(item) for item in text]


def is_due(every: int, before: int, after: int) -> bool:
    """Whether a multiple of `every` images lies in (before, after]; never for 0."""
    return every > 0 and after // every > before // every
