"""ProGAN's two growing networks (Karras et al. 2017, arXiv:1710.10196), for sizes 4, 8, 16, … 1024.

Both start at 4x4 pixels. `grow` adds a block for each doubling, and a 1x1 convolution from features to image or
back. Shapes beside the layers are those of the paper's table 2: 1024 pixels, z of 512, `width`
512. N is the batch, C the image's channels, 1 or 3; images are [N,H,W,C].
"""

from __future__ import annotations

import abc
import math

import keras
import tensorflow as tf

import ganzoo_core as gz

START_RESOLUTION = 4  # pixels of the first stage
SQRT2 = math.sqrt(2)  # He's gain for a layer followed by a rectifier
EPSILON = 1e-8


def count_channels(resolution: int, width: int) -> int:
    """Channels at a resolution: min(8192 / 2^s, 512) with s = log2(resolution) - 1, but at most `width`.

    512 up to 32 pixels, then 256, 128, 64, 32, and 16 at 1024.
    """
    return min(8192 // (resolution // 2), 512, width)


def check_sizes(size: int, width: int) -> None:
    """Raise UsageError unless the networks support this size in pixels and this width in channels."""
    if size not in [START_RESOLUTION << level for level in range(9)]:
        raise gz.UsageError(
            f"ProGAN was asked for images of {size} pixels; set data.size to 4, 8, 16, 32, 64, 128, 256, 512 or 1024"
        )
    if width < 1:
        raise gz.UsageError(f"model.width is {width}; it counts channels, so set it to 1 or more")


def activate(x: tf.Tensor) -> tf.Tensor:
    """LeakyReLU 0.2."""
    return tf.nn.leaky_relu(x, 0.2)


def pixel_norm(x: tf.Tensor) -> tf.Tensor:
    """x / sqrt(mean over channels of x^2 + 1e-8), for each pixel (section 4.2)."""
    return x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=-1, keepdims=True) + EPSILON)


def upsample(x: tf.Tensor) -> tf.Tensor:
    """[N,H,W,C] -> [N,2H,2W,C], nearest neighbour. Made by `concat`, since TensorFlow's own resizing has no
    second derivative."""
    _, height, width, channels = x.shape
    x = tf.reshape(x, [-1, height, width * channels])
    x = tf.concat([x, x], axis=2)  # each row twice
    x = tf.reshape(x, [-1, 2 * height, width, channels])
    x = tf.concat([x, x], axis=3)  # and each pixel twice in its row
    return tf.reshape(x, [-1, 2 * height, 2 * width, channels])


def downsample(x: tf.Tensor) -> tf.Tensor:
    """[N,2H,2W,C] -> [N,H,W,C], by the mean of 2x2 pixels."""
    return tf.nn.avg_pool2d(x, 2, 2, "VALID")


def add_minibatch_stddev(x: tf.Tensor) -> tf.Tensor:
    """[N,H,W,C] -> [N,H,W,C+1]: the standard deviation within a group of images as one more channel (section 3).

    Groups are four successive images; three, two or the whole batch if four does not divide it. The channel is filled
    with the mean, over features and pixels, of the group's standard deviation.
    """
    count, height, width, channels = x.shape
    group = next((size for size in (4, 3, 2) if count % size == 0), count)
    grouped = tf.reshape(x, [-1, group, height, width, channels])
    variance = tf.math.reduce_variance(grouped, axis=1)
    mean = tf.reduce_mean(tf.sqrt(variance + EPSILON), axis=[1, 2, 3])  # [N / group]
    channel = tf.broadcast_to(tf.repeat(mean, group)[:, None, None, None], [count, height, width, 1])
    return tf.concat([x, channel], axis=3)


class Convolution(keras.layers.Layer):
    """A convolution with equalised learning rate (section 4.1): [N,H,W,inputs] -> [N,H,W,outputs].

    The weights are initialised as N(0, 1) and scaled by gain / sqrt(fan-in) in each forward. So Adam, whose steps do
    not depend on the gradient's scale, trains all layers at the same speed.

    Args:
        inputs, outputs: channels.
        side: of the kernel, in pixels.
        gain: sqrt 2 before a rectifier, else 1.
        padding: `SAME`, or `VALID`, which shrinks the image by `side` - 1.
    """

    def __init__(self, inputs: int, outputs: int, side: int, *, gain: float = SQRT2, padding: str = "SAME") -> None:
        super().__init__()
        self.scale, self.padding = gain / math.sqrt(inputs * side * side), padding
        # A new initialiser for each weight: one object would draw the same numbers each time.
        normal = keras.initializers.RandomNormal(0.0, 1.0)
        self.weight = self.add_weight(shape=(side, side, inputs, outputs), initializer=normal, name="weight")
        self.bias = self.add_weight(shape=(outputs,), initializer="zeros", name="bias")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(x, self.weight * self.scale, 1, self.padding) + self.bias


class Growing(keras.Model):
    """Base of G and D: a network that starts at 4x4 pixels and can `grow` up to `size`."""

    def __init__(self, *, size: int, width: int) -> None:
        check_sizes(size, width)
        super().__init__()
        self.size, self.width, self.resolution = size, width, START_RESOLUTION
        # Keras forbids new layers in a built model; this one adds layers later, and they build themselves.
        self.built = True

    def grow(self, resolution: int) -> None:
        """Add the layers of every stage up to `resolution`; existing layers stay unchanged.

        Raises:
            UsageError: if there is no such stage, or it is larger than the network's size.
        """
        if resolution not in [START_RESOLUTION << level for level in range(self.size.bit_length() - 2)]:
            raise gz.UsageError(
                f"a {type(self).__name__.lower()} of {self.size} pixels cannot grow to {resolution}; "
                f"expected {START_RESOLUTION} doubled some number of times, {self.size} at most"
            )
        while self.resolution < resolution:
            self.resolution *= 2
            self.add_stage(self.resolution)

    @abc.abstractmethod
    def add_stage(self, resolution: int) -> None:
        """Add the layers of this resolution."""

    def count_doublings(self, resolution: int | None) -> int:
        """How many doublings lead to this resolution.

        None means the full size, to which the network then grows, since no schedule limits it.
        """
        if resolution is None:
            self.grow(self.size)
            resolution = self.size
        if resolution > self.resolution:
            raise ValueError(f"{self.name} has grown to {self.resolution} pixels and is asked for {resolution}")
        return (resolution // START_RESOLUTION).bit_length() - 1


class GeneratorBlock(keras.layers.Layer):
    """[N,H,W,inputs] -> [N,2H,2W,outputs]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = Convolution(inputs, outputs, 3)
        self.second = Convolution(outputs, outputs, 3)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        x = pixel_norm(activate(self.first(upsample(x))))
        return pixel_norm(activate(self.second(x)))


class Generator(Growing):
    """z [N, latent_dim] on the hypersphere -> images [N,H,W,C]; the output is linear, so it may slightly leave [-1, 1].

    Args:
        size: pixels of the last stage: 4, 8, 16, … 1024.
        channels: C.
        latent_dim: the length of z; 512 in the paper.
        width: maximum number of channels of a layer; 512 in the paper.
    """

    def __init__(self, *, size: int, channels: int, latent_dim: int, width: int) -> None:
        super().__init__(size=size, width=width)
        self.channels = channels
        maps = count_channels(START_RESOLUTION, width)
        self.projection = Convolution(latent_dim, maps, 4, padding="VALID")  # [N,7,7,512] -> [N,4,4,512]
        self.convolution = Convolution(maps, maps, 3)  # [N,4,4,512]
        # For each later stage [N,8,8,512], [N,16,16,512], [N,32,32,512], [N,64,64,256], … [N,1024,1024,16].
        self.blocks: list[GeneratorBlock] = []
        self.to_image = [Convolution(maps, channels, 1, gain=1)]  # toRGB, one for each stage

    def add_stage(self, resolution: int) -> None:
        inputs, outputs = count_channels(resolution // 2, self.width), count_channels(resolution, self.width)
        self.blocks.append(GeneratorBlock(inputs, outputs))
        self.to_image.append(Convolution(outputs, self.channels, 1, gain=1))

    def call(self, z: tf.Tensor, resolution: int | None = None, fade: tf.Tensor | float = 1.0) -> tf.Tensor:
        """`fade` 0 gives the previous stage's images, enlarged; 1 the new layers' only; linear between (figure 2)."""
        stage = self.count_doublings(resolution)
        x = tf.pad(z[:, None, None, :], [[0, 0], [3, 3], [3, 3], [0, 0]])  # z as the centre pixel of [N,7,7,512]
        x = pixel_norm(activate(self.projection(x)))
        x = before = pixel_norm(activate(self.convolution(x)))
        for block in self.blocks[:stage]:
            x, before = block(x), x
        images = self.to_image[stage](x)
        if stage == 0:
            return images
        return (1.0 - fade) * upsample(self.to_image[stage - 1](before)) + fade * images


class DiscriminatorBlock(keras.layers.Layer):
    """[N,2H,2W,inputs] -> [N,H,W,outputs]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = Convolution(inputs, inputs, 3)
        self.second = Convolution(inputs, outputs, 3)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return downsample(activate(self.second(activate(self.first(x)))))


class Discriminator(Growing):
    """Images [N,H,W,C] in [-1, 1] -> unbounded scores [N] of a critic.

    Args:
        size: pixels of the last stage: 4, 8, 16, … 1024.
        channels: C.
        width: maximum number of channels of a layer; 512 in the paper.
    """

    def __init__(self, *, size: int, channels: int, width: int) -> None:
        super().__init__(size=size, width=width)
        self.channels = channels
        maps = count_channels(START_RESOLUTION, width)
        self.from_image = [Convolution(channels, maps, 1)]  # fromRGB, one for each stage; [N,1024,1024,16] at the last
        # For each later stage, ending [N,4,4,512], [N,8,8,512], [N,16,16,512], [N,32,32,512], … [N,512,512,32].
        self.blocks: list[DiscriminatorBlock] = []
        self.convolution = Convolution(maps + 1, maps, 3)  # [N,4,4,513] -> [N,4,4,512]
        self.gather = Convolution(maps, maps, 4, padding="VALID")  # [N,1,1,512]
        self.score = Convolution(maps, 1, 1, gain=1)  # [N,1,1,1]

    def add_stage(self, resolution: int) -> None:
        inputs, outputs = count_channels(resolution, self.width), count_channels(resolution // 2, self.width)
        self.blocks.append(DiscriminatorBlock(inputs, outputs))
        self.from_image.append(Convolution(self.channels, inputs, 1))

    def call(self, images: tf.Tensor, resolution: int | None = None, fade: tf.Tensor | float = 1.0) -> tf.Tensor:
        """At `fade` 0 the features are the previous stage's, on halved images; at 1 the new layers' only (figure 2)."""
        stage = self.count_doublings(resolution)
        x = activate(self.from_image[stage](images))
        if stage > 0:
            before = activate(self.from_image[stage - 1](downsample(images)))
            x = (1.0 - fade) * before + fade * self.blocks[stage - 1](x)
        for block in self.blocks[: max(stage - 1, 0)][::-1]:
            x = block(x)
        x = activate(self.convolution(add_minibatch_stddev(x)))
        return self.score(activate(self.gather(x)))[:, 0, 0, 0]
