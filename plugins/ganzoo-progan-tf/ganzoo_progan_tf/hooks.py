"""Hooks that build `progan-tf`. TensorFlow is imported only when a network is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ganzoo_core as gz

if TYPE_CHECKING:
    import keras


@gz.hookimpl
def build_generator(spec: gz.Spec, options: gz.Options) -> keras.Model:
    """z [N, latent_dim] -> images [N,H,W,C], 4x4 pixels until it grows; raises UsageError for an unsupported size."""
    from ganzoo_progan_tf.networks import Generator

    return Generator(
        size=_square_side(spec), channels=spec.channels, latent_dim=spec.latent_dim, width=options["width"]
    )


@gz.hookimpl
def build_discriminator(spec: gz.Spec, options: gz.Options) -> keras.Model:
    """Images [N,H,W,C] -> raw scores [N], 4x4 pixels until it grows; raises UsageError for an unsupported size."""
    from ganzoo_progan_tf.networks import Discriminator

    return Discriminator(size=_square_side(spec), channels=spec.channels, width=options["width"])


def _square_side(spec: gz.Spec) -> int:
    if spec.height != spec.width:
        raise gz.UsageError(
            f"ProGAN was asked for images of {spec.height}x{spec.width} pixels, but draws squares; "
            "set data.size to a power of two from 4 to 1024"
        )
    return spec.height
