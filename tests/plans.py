"""Plans for tests of the engines, written without their groups."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from ganzoo_core.engines import LossFacts, Plan
from ganzoo_core.settings import EmaSettings, OptimizerSettings

GROUPS = {"ema": EmaSettings, "loss": LossFacts}
NETWORKS = ("g", "d")


def make_plan(**values: Any) -> Plan:
    """A plan of unconditional networks that train with Adam at 2e-4 and no average, except for these values."""
    plan = Plan(
        latent="normal",
        conditional=False,
        takes_g=(),
        takes_d=(),
        optimizer_g=OptimizerSettings(),
        optimizer_d=OptimizerSettings(),
        ema=None,
        loss=LossFacts(),
    )
    return change(plan, **values)


def change(plan: Plan, **values: Any) -> Plan:
    """Change fields of a plan or of its groups: `lr_g=0.1` is of G's optimizer, `halflife=40` makes an average.

    As in settings, `optimizer="sgd"` is the name of both networks' optimizer, and `optimizer_d="sgd"` that of D's.
    """
    for network in NETWORKS:
        own = {each.name: "optimizer" if each.name == "name" else each.name for each in fields(OptimizerSettings)}
        new = {name: values[key] for name, key in own.items() if key in values}
        new |= {name: values[f"{key}_{network}"] for name, key in own.items() if f"{key}_{network}" in values}
        plan = replace(plan, **{f"optimizer_{network}": replace(getattr(plan, f"optimizer_{network}"), **new)})
    written = {each.metadata["key"].rpartition(".")[2] for each in fields(OptimizerSettings)}
    written |= {f"{key}_{network}" for key in written for network in NETWORKS}
    values = {name: value for name, value in values.items() if name not in written}
    for label, group in GROUPS.items():
        own = {each.name: values.pop(each.name) for each in fields(group) if each.name in values}
        if own:
            values[label] = replace(getattr(plan, label) or group(), **own)
    return replace(plan, **values)
