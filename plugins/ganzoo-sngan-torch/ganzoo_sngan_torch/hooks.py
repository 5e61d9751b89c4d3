"""What ganzoo calls to build `sngan-torch`. torch is imported only when a network is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ganzoo_core as gz

if TYPE_CHECKING:
    from torch import nn


@gz.hookimpl
def build_generator(spec: gz.Spec, options: gz.Options) -> nn.Module:
    """z [N, latent_dim] -> images [N,C,H,W] in [-1, 1]; raises UsageError for a size it cannot draw."""
    from ganzoo_sngan_torch.networks import Generator

    return Generator(size=_side(spec), channels=spec.channels, latent_dim=spec.latent_dim, width=options["width"])


@gz.hookimpl
def build_discriminator(spec: gz.Spec, options: gz.Options) -> nn.Module:
    """Images [N,C,H,W] -> raw scores [N], without spectral norm; raises UsageError for a size it cannot judge."""
    from ganzoo_sngan_torch.networks import Discriminator

    return Discriminator(size=_side(spec), channels=spec.channels, width=options["width"])


def _side(spec: gz.Spec) -> int:
    if spec.height != spec.width:
        raise gz.UsageError(
            f"sngan-torch was asked for images of {spec.height}x{spec.width} pixels, but draws squares; "
            "set data.size to 16, 32, 64 or 128"
        )
    return spec.height
