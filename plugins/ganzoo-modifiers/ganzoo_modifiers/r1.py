"""R1: Mescheder, Geiger, Nowozin 2018 (arXiv:1801.04406), equation 9, on top of any loss."""

from __future__ import annotations

from collections.abc import Generator

import ganzoo_core as gz
from ganzoo_modifiers.gradient_penalty import add_penalty


@gz.hookimpl(wrapper=True)
def loss(modifiers: dict[str, gz.Options]) -> Generator[None, gz.Loss, gz.Loss]:
    """The loss, with a penalty on D's gradient with respect to real images."""
    inner = yield
    return add_penalty(inner, "r1", "real", modifiers["r1"]["gamma"])
