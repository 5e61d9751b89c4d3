"""Plans for tests of the engines, written without their groups."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from ganzoo_core.engines import LossFacts, Plan
from ganzoo_core.settings import EmaSettings, OptimizerSettings

GROUPS = {"optimizer": OptimizerSettings, "ema": EmaSettings, "loss": LossFacts}


def make_plan(**values: Any) -> Plan:
    """A plan of unconditional networks that train with Adam at 2e-4 and no average, except for these values."""
    plan = Plan(
        latent="normal",
        conditional=False,
        takes_g=(),
        takes_d=(),
        optimizer=OptimizerSettings(lr_g=2e-4, lr_d=2e-4),
        ema=None,
        loss=LossFacts(),
    )
    return change(plan, **values)


def change(plan: Plan, **values: Any) -> Plan:
    """Change fields of a plan or of its groups: `lr_g=0.1` is the optimizer's, `halflife=40` makes an average.

    `optimizer="sgd"` is the optimizer's name.
    """
    if "optimizer" in values:
        values["name"] = values.pop("optimizer")
    for label, group in GROUPS.items():
        own = {each.name: values.pop(each.name) for each in fields(group) if each.name in values}
        if own:
            values[label] = replace(getattr(plan, label) or group(), **own)
    return replace(plan, **values)
