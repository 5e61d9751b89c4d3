"""Goodfellow et al. 2014 (arXiv:1406.2661), section 3: binary cross-entropy, with the non-saturating loss of G."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ganzoo_core as gz


class NonSaturating:
    """D minimises E sp(-D(x)) + E sp(D(g)), G minimises E sp(-D(g)); sp is softplus, D gives logits."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D(step.real), step.D(step.fake)
        return {"adversarial": ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        return {"adversarial": ops.mean(ops.softplus(-step.D(step.fake)))}


@gz.hookimpl
def loss() -> gz.Loss:
    return NonSaturating()
