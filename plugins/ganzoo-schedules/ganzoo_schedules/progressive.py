"""Progressive growing, with layers that fade in: Karras et al. 2017 (arXiv:1710.10196), section 2, appendix A.1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ganzoo_core as gz


@dataclass(frozen=True, kw_only=True)
class Progressive:
    """Stable at `start`; then, for each doubling up to `final`, a fade from 0 to 1 and a stable phase.

    The last stable phase lasts to the end of the run. Learning rates are constant.

    Args:
        start, final: resolutions in pixels; `final` is `start` doubled some number of times.
        stable_images: length of each stable phase but the last, in images, at least 0.
        fade_images: length of each fade, in images, at least 0.
        lr_g, lr_d: the base learning rates.
    """

    start: int
    final: int
    stable_images: int
    fade_images: int
    lr_g: float
    lr_d: float

    def __call__(self, images: int) -> Mapping[str, float]:
        resolution, fade, next_fade = self.start, 1.0, self.stable_images
        while resolution < self.final and images >= next_fade:
            resolution *= 2
            gone = images - next_fade
            fade = gone / self.fade_images if gone < self.fade_images else 1.0
            next_fade += self.fade_images + self.stable_images
        return {"resolution": resolution, "fade": fade, "lr_g": self.lr_g, "lr_d": self.lr_d}


@gz.hookimpl
def schedule(spec: gz.Spec, total_images: int, options: gz.Options) -> gz.Schedule:
    start, final = options["start_resolution"], max(spec.height, spec.width)
    doublings = _count_doublings(start, final)
    stable, fade = _choose_phases(doublings, total_images, options["stable_images"], options["fade_images"])
    needed = (doublings + 1) * stable + doublings * fade
    if doublings and needed > total_images:
        raise gz.UsageError(
            f"the stages up to {final} pixels take {needed:,} images ({doublings + 1} stable phases of {stable:,} and "
            f"{doublings} fades of {fade:,}), but the run is {total_images:,} images long; lower "
            "schedule.stable_images and schedule.fade_images (0 shares the run evenly), or raise train.length"
        )
    return Progressive(
        start=start,
        final=final,
        stable_images=stable,
        fade_images=fade,
        lr_g=options["lr_g"],
        lr_d=options["lr_d"],
    )


def _count_doublings(start: int, final: int) -> int:
    """How often `start` must be doubled to reach `final`; raises UsageError if it never does."""
    doublings = max(0, (final // max(start, 1)).bit_length() - 1)
    if start < 1 or start << doublings != final:
        raise gz.UsageError(
            f"schedule.start_resolution is {start} and the images are {final} pixels, which is not {start} doubled "
            "some number of times; set data.size to such a size, for example 32, or the start to another"
        )
    return doublings


def _choose_phases(doublings: int, total_images: int, stable: int, fade: int) -> tuple[int, int]:
    """Return the lengths of a stable phase and of a fade; a length of 0 is replaced by an even share of the rest."""
    for name, length in (("stable_images", stable), ("fade_images", fade)):
        if length < 0:
            raise gz.UsageError(f"schedule.{name} is {length}; expected a number of images, or 0 for an even share")
    if stable == 0 and fade == 0:
        stable = fade = total_images // (2 * doublings + 1)
    elif stable == 0:
        stable = max(0, total_images - doublings * fade) // (doublings + 1)
    elif fade == 0 and doublings:
        fade = max(0, total_images - (doublings + 1) * stable) // doublings
    return stable, fade
