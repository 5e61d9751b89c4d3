"""Constant learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ganzoo_core as gz


@dataclass(frozen=True, kw_only=True)
class Constant:
    """The base learning rates throughout the run."""

    lr_g: float
    lr_d: float

    def __call__(self, images: int) -> Mapping[str, float]:
        return {"lr_g": self.lr_g, "lr_d": self.lr_d}


@gz.hookimpl
def schedule(options: gz.Options) -> gz.Schedule:
    return Constant(lr_g=options["lr_g"], lr_d=options["lr_d"])
