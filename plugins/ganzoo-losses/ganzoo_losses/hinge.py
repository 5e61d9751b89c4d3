"""Geometric GAN: Lim, Ye 2017 (arXiv:1705.02894); also used by SNGAN (arXiv:1802.05957)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ganzoo_core as gz


class Hinge:
    """D minimises E relu(1-D(x)) + E relu(1+D(g)), G minimises -E D(g)."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D(step.real), step.D(step.fake)
        return {"adversarial": ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + fake))}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": -step.ops.mean(step.D(step.fake))}


@gz.hookimpl
def loss() -> gz.Loss:
    return Hinge()
