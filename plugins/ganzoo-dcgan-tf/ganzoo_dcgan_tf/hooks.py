"""Hooks that build `dcgan-tf`. Keras is imported only when a network is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ganzoo_core as gz

if TYPE_CHECKING:
    import keras


@gz.hookimpl
def build_generator(spec: gz.Spec, options: gz.Options) -> keras.Model:
    """z [N, latent_dim] -> images [N,H,W,C] in [-1, 1]; raises UsageError for an unsupported size."""
    from ganzoo_dcgan_tf.networks import create_generator

    return create_generator(
        height=spec.height,
        width=spec.width,
        channels=spec.channels,
        latent_dim=spec.latent_dim,
        features=options["width"],
    )


@gz.hookimpl
def build_discriminator(spec: gz.Spec, options: gz.Options) -> keras.Model:
    """Images [N,H,W,C] -> raw scores [N,1]; raises UsageError for an unsupported size."""
    from ganzoo_dcgan_tf.networks import create_discriminator

    return create_discriminator(
        height=spec.height,
        width=spec.width,
        channels=spec.channels,
        features=options["width"],
        dropout=options["dropout"],
    )
