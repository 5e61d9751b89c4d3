"""The decay of the generator's moving average, from a half-life in images."""

from __future__ import annotations

from collections.abc import Mapping

from ganzoo_core.engines.plan import Plan
from ganzoo_core.settings import EmaSettings


def compute_ema_decay(plan: Plan, images: int, values: Mapping[str, float]) -> float:
    """The weight of the old moving average in one step, 0 to 1.

    Args:
        plan: its `ema.halflife` is used if the schedule gives none, and its `ema.rampup` bounds either.
        images: real images seen so far, including this step's.
        values: the schedule's.
    """
    settings = plan.ema or EmaSettings()
    halflife = values.get("ema_halflife", settings.halflife)
    if settings.rampup:
        halflife = min(halflife, settings.rampup * images)
    return 0.5 ** (plan.images_per_step / halflife) if halflife > 0 else 0.0
