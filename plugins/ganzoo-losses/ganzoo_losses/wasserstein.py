"""WGAN: Arjovsky, Chintala, Bottou 2017 (arXiv:1701.07875), algorithm 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ganzoo_core as gz


class Wasserstein:
    """D minimises E D(g) - E D(x), G minimises -E D(g).

    The engine clips D's weights to ±`loss.clip` after each of D's steps, as declared in the manifest.
    """

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        real, fake = step.D(step.real), step.D(step.fake)
        return {"adversarial": step.ops.mean(fake) - step.ops.mean(real)}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": -step.ops.mean(step.D(step.fake))}


@gz.hookimpl
def loss(options: gz.Options) -> gz.Loss:
    clip = options["clip"]
    if clip <= 0:
        raise gz.UsageError(
            f"loss.clip is {clip:g}; expected a number above 0, such as the paper's 0.01, to which D's weights are held"
        )
    return Wasserstein()
