"""Hooks that build `r3gan-torch`. torch is imported only when a network is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ganzoo_core as gz

if TYPE_CHECKING:
    from torch import nn


@gz.hookimpl
def build_generator(spec: gz.Spec, options: gz.Options) -> nn.Module:
    """z [N, latent_dim] (and labels [N]) -> images [N,C,H,W], unbounded unless `model.tanh` is set.

    Raises UsageError for settings that do not fit.
    """
    from ganzoo_r3gan_torch.networks import Generator

    return Generator(latent_dim=spec.latent_dim, tanh=options["tanh"], **_collect_shape(spec, options))


@gz.hookimpl
def build_discriminator(spec: gz.Spec, options: gz.Options) -> nn.Module:
    """Images [N,C,H,W] (and labels [N]) -> raw scores [N]; raises UsageError for settings that do not fit."""
    from ganzoo_r3gan_torch.networks import Discriminator

    return Discriminator(**_collect_shape(spec, options))


def _collect_shape(spec: gz.Spec, options: gz.Options) -> dict[str, Any]:
    """What both networks are built from."""
    if spec.height != spec.width:
        raise gz.UsageError(
            f"R3GAN was asked for images of {spec.height}x{spec.width} pixels, but draws squares; "
            "set data.size to 16, 32, 64, 128 or 256"
        )
    shape = {name: options[name] for name in ("width", "taper", "blocks", "block", "group_size")}
    return {"size": spec.height, "channels": spec.channels, "classes": spec.classes, **shape}
