"""Hooks that build `pix2pix-torch`. torch is imported only when a network is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ganzoo_core as gz

if TYPE_CHECKING:
    from torch import nn


@gz.hookimpl
def build_generator(spec: gz.Spec, options: gz.Options) -> nn.Module:
    """z [N,0], source [N,S,H,W] -> images [N,C,H,W] in [-1, 1]; raises UsageError for an unsupported size."""
    from ganzoo_pix2pix_torch.networks import Generator

    return Generator(
        size=_square_side(spec),
        source_channels=_count_source_channels(spec),
        channels=spec.channels,
        width=options["width"],
        norm=options["norm"],
        dropout=options["dropout"],
    )


@gz.hookimpl
def build_discriminator(spec: gz.Spec, options: gz.Options) -> nn.Module:
    """Images [N,C,H,W], source [N,S,H,W] -> raw scores of patches; raises UsageError for an unsupported size."""
    from ganzoo_pix2pix_torch.networks import Discriminator

    return Discriminator(
        size=_square_side(spec),
        source_channels=_count_source_channels(spec),
        channels=spec.channels,
        width=options["width"],
        norm=options["norm"],
        patch=options["patch"],
    )


def _square_side(spec: gz.Spec) -> int:
    if spec.height != spec.width:
        raise gz.UsageError(
            f"pix2pix-torch was asked for images of {spec.height}x{spec.width} pixels, but draws squares; "
            "set data.size to 32, 64, 128 or 256"
        )
    return spec.height


def _count_source_channels(spec: gz.Spec) -> int:
    shape = spec.conditions["source"]
    if len(shape) != 3 or shape[:2] != (spec.height, spec.width):
        found = f"{shape[1]}x{shape[0]} pixels" if len(shape) == 3 else "no picture"
        raise gz.UsageError(
            f"the condition `source` is {found}; pix2pix-torch translates pictures of the images' size, "
            f"{spec.width}x{spec.height} pixels"
        )
    return shape[2]
