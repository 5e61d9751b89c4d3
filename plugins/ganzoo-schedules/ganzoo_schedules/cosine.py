"""Half a cosine: Loshchilov, Hutter 2016 (arXiv:1608.03983), equation 5, without restarts; as in R3GAN's burn-in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ganzoo_core as gz

EXTRAS = ("gamma", "beta2", "ema_halflife", "augment")
BELOW_ONE, UP_TO_ONE = ("beta2",), ("augment",)


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Each value follows half a cosine from its first to its last, and then stays.

    Args:
        images: when the last is reached.
        ends: name -> (first, last) value.
    """

    images: int
    ends: Mapping[str, tuple[float, float]]

    def __call__(self, images: int) -> Mapping[str, float]:
        if images >= self.images:
            return {name: last for name, (_, last) in self.ends.items()}
        gone = 0.5 * (1.0 - math.cos(math.pi * images / self.images))
        return {name: _interpolate(first, last, gone) for name, (first, last) in self.ends.items()}


def _interpolate(first: float, last: float, progress: float) -> float:
    """Interpolate from `first` at progress 0 to `last` at 1; rounding never exceeds either."""
    value = first + (last - first) * progress
    return min(max(value, min(first, last)), max(first, last))


@gz.hookimpl
def schedule(total_images: int, options: gz.Options) -> gz.Schedule:
    final = options["final"]
    if final < 0.0:
        raise gz.UsageError(f"schedule.final is {final:g}; expected a factor of at least 0")
    ends = {rate: (options[rate], options[rate] * final) for rate in ("lr_g", "lr_d")}
    ends |= {name: _check_ends(name, options[f"{name}_ends"]) for name in EXTRAS if any(options[f"{name}_ends"])}
    return Cosine(images=options["images"] or total_images, ends=ends)


def _check_ends(name: str, numbers: Sequence[float]) -> tuple[float, float]:
    is_high = any(number >= 1.0 for number in numbers) if name in BELOW_ONE else False
    is_high = is_high or (name in UP_TO_ONE and any(number > 1.0 for number in numbers))
    if len(numbers) != 2 or is_high or not all(0.0 <= number < math.inf for number in numbers):
        expected = {"beta2": "from 0 to below 1", "augment": "from 0 to 1"}.get(name, "of at least 0")
        text = ",".join(f"{number:g}" for number in numbers)
        raise gz.UsageError(f"schedule.{name}_ends is {text}; expected two numbers {expected}, the first and the last")
    return numbers[0], numbers[1]
