"""Hooks that build `cgan-torch`. torch is imported only when a network is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ganzoo_core as gz

if TYPE_CHECKING:
    from torch import nn


@gz.hookimpl
def build_generator(spec: gz.Spec, options: gz.Options) -> nn.Module:
    """z [N, latent_dim], labels [N] -> images [N,C,H,W] in [-1, 1]; raises UsageError for an unsupported size."""
    from ganzoo_cgan_torch.networks import Generator

    return Generator(
        size=_square_side(spec),
        channels=spec.channels,
        classes=spec.classes,
        latent_dim=spec.latent_dim,
        width=options["width"],
        embedding=options["embedding"],
    )


@gz.hookimpl
def build_discriminator(spec: gz.Spec, options: gz.Options) -> nn.Module:
    """Images [N,C,H,W], labels [N] -> raw scores [N]; raises UsageError for an unsupported size."""
    from ganzoo_cgan_torch.networks import Discriminator

    return Discriminator(
        size=_square_side(spec),
        channels=spec.channels,
        classes=spec.classes,
        width=options["width"],
        norm=options["norm"],
        dropout=options["dropout"],
    )


def _square_side(spec: gz.Spec) -> int:
    if spec.height != spec.width:
        raise gz.UsageError(
            f"cgan-torch was asked for images of {spec.height}x{spec.width} pixels, but draws squares; "
            "set data.size to 28 or 32, say"
        )
    return spec.height
