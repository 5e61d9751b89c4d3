"""The decay of the generator's moving average, in images."""

from __future__ import annotations

from collections.abc import Mapping

from ganzoo_core.engines.plan import Plan

EMA_RAMPUP = 0.05  # the moving average forgets at least as fast as over this share of the images seen


def compute_ema_decay(plan: Plan, images: int, values: Mapping[str, float]) -> float:
    """What is kept of the moving average in one step, 0 to 1.

    Args:
        plan: its `ema_halflife` counts where the schedule gives none.
        images: seen so far, this step's among them.
        values: the schedule's.
    """
    halflife = min(values.get("ema_halflife", plan.ema_halflife or 0), EMA_RAMPUP * images)
    return 0.5 ** (plan.images_per_step / halflife) if halflife > 0 else 0.0
