"""DCGAN's two networks for small images, in Keras 3; any height and width that are multiples of 4.

After Radford, Metz, Chintala 2015 (arXiv:1511.06434), with 5×5 kernels and fewer levels. Shapes beside the
layers are for 28 pixels and `features` 64. N is the batch, C the image's channels, 1 or 3.
"""

from __future__ import annotations

import keras
from keras import layers

import ganzoo_core as gz

SLOPE = 0.3  # of LeakyReLU for negative inputs


def create_generator(*, height: int, width: int, channels: int, latent_dim: int, features: int) -> keras.Model:
    """z [N, latent_dim] -> images [N,H,W,C] in [-1, 1].

    Args:
        height, width: of the images in pixels, multiples of 4.
        channels: C.
        latent_dim: the length of z.
        features: channels of the level nearest to the image; the two deeper levels have 2 and 4 times as many.

    Raises:
        UsageError: for another size, or no features.
    """
    _check_sizes(height, width, features)
    small = (height // 4, width // 4, 4 * features)
    return keras.Sequential(
        [
            keras.Input((latent_dim,)),
            layers.Dense(small[0] * small[1] * small[2], use_bias=False),  # [N,12544]
            _make_batch_norm(),
            layers.LeakyReLU(SLOPE),
            layers.Reshape(small),  # [N,7,7,256]
            layers.Conv2DTranspose(2 * features, 5, strides=1, padding="same", use_bias=False),  # [N,7,7,128]
            _make_batch_norm(),
            layers.LeakyReLU(SLOPE),
            layers.Conv2DTranspose(features, 5, strides=2, padding="same", use_bias=False),  # [N,14,14,64]
            _make_batch_norm(),
            layers.LeakyReLU(SLOPE),
            layers.Conv2DTranspose(channels, 5, strides=2, padding="same", use_bias=False, activation="tanh"),
        ],  # [N,28,28,C]
        name="generator",
    )


def create_discriminator(*, height: int, width: int, channels: int, features: int, dropout: float) -> keras.Model:
    """Images [N,H,W,C] in [-1, 1] -> raw scores [N,1]; the sigmoid of a score is the probability of "real".

    Args:
        height, width: of the images in pixels, multiples of 4.
        channels: C.
        features: channels of the level nearest to the image; the deeper one has twice as many.
        dropout: fraction of the activations that is set to zero in training, 0 for none.

    Raises:
        UsageError: for another size, no features, or a dropout outside [0, 1).
    """
    _check_sizes(height, width, features)
    if not 0 <= dropout < 1:
        raise gz.UsageError(f"model.dropout is {dropout:g}; expected a share of at least 0 and below 1, such as 0.3")
    return keras.Sequential(
        [
            keras.Input((height, width, channels)),
            layers.Conv2D(features, 5, strides=2, padding="same"),  # [N,14,14,64]
            layers.LeakyReLU(SLOPE),
            layers.Dropout(dropout),
            layers.Conv2D(2 * features, 5, strides=2, padding="same"),  # [N,7,7,128]
            layers.LeakyReLU(SLOPE),
            layers.Dropout(dropout),
            layers.Flatten(),  # [N,6272]
            layers.Dense(1),  # [N,1]
        ],
        name="discriminator",
    )


def _make_batch_norm() -> layers.Layer:
    return layers.BatchNormalization(momentum=0.99, epsilon=1e-3)


def _check_sizes(height: int, width: int, features: int) -> None:
    if height % 4 or width % 4:
        nearest = 4 * max(1, round(max(height, width) / 4))
        raise gz.UsageError(
            f"this DCGAN was asked for images of {height}×{width} pixels and makes multiples of 4; "
            f"say --set data.size={nearest}"
        )
    if features < 1:
        raise gz.UsageError(f"model.width is {features}; it counts channels, so set it to 1 or more")
