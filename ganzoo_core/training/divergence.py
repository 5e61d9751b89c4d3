"""Detect divergence, report it, and lower the learning rates after a rollback."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ganzoo_core.distributed.ranks import ProcessGroup, mark_shared
from ganzoo_core.engines import Plan
from ganzoo_core.errors import Diverged
from ganzoo_core.runs.health import advise_modifiers
from ganzoo_core.storage.tensors import is_finite

ROLLBACKS = 5  # rollbacks before a diverging run fails


def make_diverged_error(what: str, network: str, *, step: int, folder: Path) -> Diverged:
    """The error that all ranks raise together.

    Args:
        what: the problem, such as `generator/adversarial is no longer finite`.
        network: `generator` or `discriminator`.
        step: the step at which it was detected.
        folder: of the run.
    """
    error: Diverged = mark_shared(
        Diverged(
            f"the run diverged: {what} at step {step}, so the {network} can learn no more; usual remedies are a lower "
            f"learning rate (--set lr=…), another loss{advise_modifiers(', ')}, or --set on_divergence=rollback; what "
            f"was saved before is in {folder}"
        )
    )
    return error


def check_terms(terms: Mapping[str, float], *, step: int, folder: Path) -> None:
    """Raise Diverged if the mean of a loss term, such as `generator/adversarial`, is not finite.

    Args:
        terms: means by name.
        step, folder: see `make_diverged_error`.
    """
    bad = [name for name, value in terms.items() if not math.isfinite(value)]
    if bad:
        raise make_diverged_error(f"{bad[0]} is no longer finite", bad[0].split("/")[0], step=step, folder=folder)


def lower_rates(values: Mapping[str, float], plan: Plan, rollbacks: int) -> Mapping[str, float]:
    """The schedule's values with both learning rates halved once per rollback."""
    if not rollbacks:
        return values
    rates = {"lr_g": plan.optimizer_g.lr, "lr_d": plan.optimizer_d.lr}
    return {**values, **{name: values.get(name, rate) / 2**rollbacks for name, rate in rates.items()}}


def check_finite(tensors: Mapping[str, np.ndarray], *, together: ProcessGroup, step: int, folder: Path) -> None:
    """Raise Diverged on all ranks if one of rank 0's tensors has a value that is not finite.

    Args:
        tensors: by name, such as `G/…` and `optimizer of D/…`.
        together: the run's processes.
        step, folder: see `make_diverged_error`.
    """
    names = list(tensors)
    bad = (index for index, name in enumerate(names) if not is_finite(tensors[name]))
    if (first := together.broadcast_int(next(bad, -1))) >= 0:
        owners = {"G": "generator", "EMA": "generator", "D": "discriminator"}
        owner = names[first].removeprefix("optimizer of ").partition("/")[0]
        network = owners.get(owner, owner)
        raise make_diverged_error(f"{names[first]} is no longer finite", network, step=step, folder=folder)
