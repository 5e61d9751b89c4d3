"""A model whose D loses second derivatives in silence: TensorFlow has none for bilinear resizing."""

from __future__ import annotations

from typing import Any

import ganzoo_core as gz


@gz.hookimpl
def build_generator(spec: gz.Spec) -> Any:
    import keras

    return keras.Sequential(
        [
            keras.layers.Dense(spec.height * spec.width * spec.channels, activation="tanh"),
            keras.layers.Reshape((spec.height, spec.width, spec.channels)),
        ]
    )


@gz.hookimpl
def build_discriminator(spec: gz.Spec) -> Any:
    import keras

    return keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, padding="same"),
            keras.layers.LeakyReLU(0.2),
            keras.layers.UpSampling2D(interpolation="bilinear"),
            keras.layers.Conv2D(4, 3, strides=2, padding="same"),
            keras.layers.LeakyReLU(0.2),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
