"""The decay of the generator's moving average, from a half-life in images."""

from __future__ import annotations

from collections.abc import Mapping

from ganzoo_core.engines.plan import Plan

EMA_RAMPUP = 0.05  # the half-life is at most this share of the images seen


def compute_ema_decay(plan: Plan, images: int, values: Mapping[str, float]) -> float:
    """The weight of the old moving average in one step, 0 to 1.

    Args:
        plan: its `ema.halflife` is used if the schedule gives none.
        images: real images seen so far, including this step's.
        values: the schedule's.
    """
    halflife = min(values.get("ema_halflife", plan.ema.halflife if plan.ema else 0), EMA_RAMPUP * images)
    return 0.5 ** (plan.images_per_step / halflife) if halflife > 0 else 0.0
