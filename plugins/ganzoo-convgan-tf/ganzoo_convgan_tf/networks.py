"""The two networks of a convolutional GAN whose discriminator uses max pooling, in Keras 3.

G has the shape of InfoGAN's for MNIST (Chen et al. 2016, arXiv:1606.03657, appendix C.1), D that of a classifier
of handwritten digits. Shapes beside the layers are for 28 pixels, `features` 32 and `hidden` 1024.
N is the batch, C the image's channels, 1 or 3. All convolutions and dense layers have biases.
"""

from __future__ import annotations

import keras
from keras import layers

import ganzoo_core as gz

SLOPE = 0.01  # of LeakyReLU for negative inputs
MIN_SIZE = 16  # pixels; with fewer, D's convolutions without padding leave nothing to pool


def create_generator(
    *, height: int, width: int, channels: int, latent_dim: int, features: int, hidden: int
) -> keras.Model:
    """z [N, latent_dim] -> images [N,H,W,C] in [-1, 1].

    Args:
        height, width: of the images in pixels, multiples of 4, 16 or more.
        channels: C.
        latent_dim: the length of z.
        features: half the channels of the last hidden level, a quarter of those of the level before it.
        hidden: units of the first dense layer.

    Raises:
        UsageError: for another size, or no features or hidden units.
    """
    _check_sizes(height, width, features, hidden)
    small = (height // 4, width // 4, 4 * features)
    return keras.Sequential(
        [
            keras.Input((latent_dim,)),
            layers.Dense(hidden, activation="relu"),  # [N,1024]
            _make_batch_norm(),
            layers.Dense(small[0] * small[1] * small[2], activation="relu"),  # [N,6272]
            _make_batch_norm(),
            layers.Reshape(small),  # [N,7,7,128]
            layers.Conv2DTranspose(2 * features, 4, strides=2, padding="same", activation="relu"),  # [N,14,14,64]
            _make_batch_norm(),
            layers.Conv2DTranspose(channels, 4, strides=2, padding="same", activation="tanh"),  # [N,28,28,C]
        ],
        name="generator",
    )


def create_discriminator(*, height: int, width: int, channels: int, features: int, hidden: int) -> keras.Model:
    """Images [N,H,W,C] in [-1, 1] -> raw scores [N,1].

    Trained with cross-entropy, the sigmoid of a score is the probability of "real"; with least squares the target of
    the score is 1 for real and 0 for generated images.

    Args:
        height, width: of the images in pixels, multiples of 4, 16 or more.
        channels: C.
        features: channels of the first convolution; the second has twice as many.
        hidden: units of the dense layer before the score.

    Raises:
        UsageError: for another size, or no features or hidden units.
    """
    _check_sizes(height, width, features, hidden)
    return keras.Sequential(
        [
            keras.Input((height, width, channels)),
            layers.Conv2D(features, 5),  # [N,24,24,32]
            layers.LeakyReLU(SLOPE),
            layers.MaxPooling2D(2),  # [N,12,12,32]
            layers.Conv2D(2 * features, 5),  # [N,8,8,64]
            layers.LeakyReLU(SLOPE),
            layers.MaxPooling2D(2),  # [N,4,4,64]
            layers.Flatten(),  # [N,1024]
            layers.Dense(hidden),  # [N,1024]
            layers.LeakyReLU(SLOPE),
            layers.Dense(1),  # [N,1]
        ],
        name="discriminator",
    )


def _make_batch_norm() -> layers.Layer:
    return layers.BatchNormalization(momentum=0.99, epsilon=1e-3)


def _check_sizes(height: int, width: int, features: int, hidden: int) -> None:
    for side in (height, width):
        if side % 4 or side < MIN_SIZE:
            nearest = max(MIN_SIZE, 4 * round(max(height, width) / 4))
            raise gz.UsageError(
                f"this GAN was asked for images of {height}×{width} pixels and makes multiples of 4 from {MIN_SIZE} "
                "up; "
                f"set data.size to {nearest}"
            )
    for name, count in (("width", features), ("hidden", hidden)):
        if count < 1:
            raise gz.UsageError(f"model.{name} is {count}; set it to 1 or more")
