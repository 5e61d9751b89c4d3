"""Constant, then linear decay: CycleGAN's schedule (Zhu et al. 2017, arXiv:1703.10593)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ganzoo_core as gz


@dataclass(frozen=True, kw_only=True)
class LinearDecay:
    """Both learning rates stay at their base until `start`, then go linearly to `final` times the base at the end.

    Args:
        total_images: the length of the run; beyond it the last value stays.
        lr_g, lr_d: the base learning rates.
        start: a fraction of the run, in [0, 1).
        final: a factor, at least 0.
    """

    total_images: int
    lr_g: float
    lr_d: float
    start: float
    final: float

    def __call__(self, images: int) -> Mapping[str, float]:
        factor = self._compute_factor(images)
        return {"lr_g": self.lr_g * factor, "lr_d": self.lr_d * factor}

    def _compute_factor(self, images: int) -> float:
        if images >= self.total_images:
            return self.final
        fallen = max(0.0, (images / self.total_images - self.start) / (1.0 - self.start))
        factor = 1.0 + (self.final - 1.0) * fallen
        return min(max(factor, min(1.0, self.final)), max(1.0, self.final))  # rounding may exceed the end slightly


@gz.hookimpl
def schedule(total_images: int, options: gz.Options) -> gz.Schedule:
    start, final = options["start"], options["final"]
    if not 0.0 <= start < 1.0:
        raise gz.UsageError(f"schedule.start is {start:g}; expected a fraction of the run, from 0 to below 1")
    if final < 0.0:
        raise gz.UsageError(f"schedule.final is {final:g}; expected a factor of at least 0")
    return LinearDecay(total_images=total_images, lr_g=options["lr_g"], lr_d=options["lr_d"], start=start, final=final)
