"""DiffAugment in TensorFlow: a model that wraps the discriminator.

Each transform takes images [N,H,W,C] in [-1, 1] and, for each image, random numbers from [0, 1). It is twice
differentiable with respect to the images, and its result may leave [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

import ganzoo_core as gz

RANDOM_COLUMNS = 7  # numbers per image: one each for brightness, saturation, contrast; two each for shift and cutout
POLICIES = ("color", "translation", "cutout")


def augment_inputs(network: keras.Model, *, policy: Sequence[str], chance: float) -> keras.Model:
    """Wrap the network in a model that augments the images in training, and only then.

    Args:
        network: a native discriminator, called with the images first.
        policy: the transforms to apply, of `POLICIES`, in this order.
        chance: of each of them for an image, 0 to 1; a schedule's value, passed as `augment`, overrides it.
    """
    return Augmented(network, policy=policy, chance=chance)


class Augmented(keras.Model):
    """A network with augmented images in training; `grow` is passed on to it.

    It has no weights of its own. Its random numbers come from its own seed generator, new ones in each call.
    """

    def __init__(self, network: keras.Model, *, policy: Sequence[str], chance: float) -> None:
        super().__init__(name=network.name)
        self.network, self.policy, self.chance = network, tuple(policy), chance
        self.seeds = keras.random.SeedGenerator(0)  # the run sets its state in each phase
        if hasattr(network, "grow"):
            self.grow = network.grow
        self.built = True  # else Keras would forbid the layers that a growing network adds later

    def call(
        self,
        images: tf.Tensor,
        labels: tf.Tensor | None = None,
        training: bool = False,
        resolution: int | None = None,
        **values: tf.Tensor,
    ) -> Any:
        now = values.pop("augment", None)
        if training:
            count = tf.shape(images)[0]
            draws = keras.random.uniform((count, RANDOM_COLUMNS), seed=self.seeds)
            applied = None
            if now is not None or self.chance < 1.0:
                applied = keras.random.uniform((count, len(POLICIES)), seed=self.seeds) < (
                    self.chance if now is None else now
                )
            images = augment(images, draws, policy=self.policy, applied=applied)
        # Keras does not allow numbers and tensors mixed in **kwargs, so `resolution` is a parameter.
        given = {"labels": labels, "resolution": resolution, **values}
        arguments = {name: value for name, value in given.items() if value is not None}
        return gz.call_keras_network(self.network, images, arguments, training=training)


def augment(
    images: tf.Tensor, draws: tf.Tensor, *, policy: Sequence[str], applied: tf.Tensor | None = None
) -> tf.Tensor:
    """Images [N,H,W,C] and numbers [N,7] from [0, 1) -> images of the same shape.

    Each transform has its own columns, so that its random numbers do not depend on the rest of the policy.

    Args:
        images, draws: as above.
        policy: the transforms to apply, in this order.
        applied: booleans [N,3], whether each of `POLICIES` is applied to an image; None for all.
    """
    brightness_by, saturation_by, contrast_by, *places = tf.unstack(draws, num=RANDOM_COLUMNS, axis=1)
    for name in policy:
        if name == "color":
            changed = change_contrast(
                change_saturation(change_brightness(images, brightness_by), saturation_by), contrast_by
            )
        elif name == "translation":
            changed = translate(images, places[0], places[1])
        else:
            changed = cut_out(images, places[2], places[3])
        if applied is not None:
            changed = tf.where(applied[:, POLICIES.index(name), None, None, None], changed, images)
        images = changed
    return images


def change_brightness(images: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
    """x + b, b from [-0.5, 0.5)."""
    return images + (u[:, None, None, None] - 0.5)


def change_saturation(images: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
    """m + s (x - m), m a pixel's mean over its channels and s from [0, 2); no change for one channel."""
    if images.shape[3] == 1:
        return images
    mean = tf.reduce_mean(images, axis=3, keepdims=True)
    return mean + 2 * u[:, None, None, None] * (images - mean)


def change_contrast(images: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
    """m + c (x - m), m an image's mean over pixels and channels and c from [0.5, 1.5)."""
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    return mean + (u[:, None, None, None] + 0.5) * (images - mean)


def translate(images: tf.Tensor, down: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Shift by whole pixels, up to 1/8 of the side in each direction; new pixels are 0, a mid grey."""
    height, width = images.shape[1:3]
    rows, rows_inside = _find_sources(down, height)
    columns, columns_inside = _find_sources(right, width)
    moved = tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
    inside = rows_inside[:, :, None, None] & columns_inside[:, None, :, None]
    return moved * tf.cast(inside, images.dtype)


def _find_sources(u: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """u [N] -> for each position on an axis, its source position [N,size], and whether that is inside the image."""
    most = size // 8
    shift = tf.cast(tf.floor(u * (2 * most + 1)), tf.int32) - most
    source = tf.range(size) - shift[:, None]
    return tf.clip_by_value(source, 0, size - 1), (source >= 0) & (source < size)


def cut_out(images: tf.Tensor, row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """Set a square of half the side to 0, a mid grey. Its centre is anywhere, so it may extend past the border."""
    height, width = images.shape[1:3]
    inside = _find_covered(row, height)[:, :, None, None] & _find_covered(column, width)[:, None, :, None]
    return images * tf.cast(~inside, images.dtype)


def _find_covered(u: tf.Tensor, size: int) -> tf.Tensor:
    """u [N] -> whether the square covers each position on an axis, [N,size]."""
    side = size // 2
    # The centre is one of the `size` pixels, or for an even side one of the `size + 1` edges between them.
    first = tf.cast(tf.floor(u * (size + 1 - side % 2)), tf.int32) - side // 2
    offset = tf.range(size) - first[:, None]
    return (offset >= 0) & (offset < side)
