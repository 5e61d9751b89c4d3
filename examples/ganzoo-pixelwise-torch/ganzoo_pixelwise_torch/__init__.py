"""A generator that is asked for each pixel by itself, a ganzoo plugin. torch is imported when a network is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ganzoo_core as gz

if TYPE_CHECKING:
    from torch import nn


@gz.hookimpl
def build_generator(spec: gz.Spec, options: gz.Options) -> nn.Module:
    """z [N, latent_dim] -> images [N,C,H,W] in [-1, 1], of any height and width."""
    from ganzoo_pixelwise_torch.networks import Generator

    return Generator(
        size=(spec.height, spec.width),
        channels=spec.channels,
        latent_dim=spec.latent_dim,
        width=options["width"],
        waves=options["waves"],
    )


@gz.hookimpl
def build_discriminator(spec: gz.Spec, options: gz.Options) -> nn.Module:
    """Images [N,C,H,W] -> raw scores [N]."""
    from ganzoo_pixelwise_torch.networks import Discriminator

    return Discriminator(size=(spec.height, spec.width), channels=spec.channels, width=options["width"])
