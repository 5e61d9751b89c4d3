"""ProGAN (arXiv:1710.10196) from top to bottom, without ganzoo: `python plain.py`.

It learns to draw scikit-learn's handwritten digits in a few minutes on two cores, first at 4x4 pixels, then at 8x8
and at 16x16, prints both losses, and leaves 64 digits of each size in `progan-digits-SIZE.png`. N is the batch.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

os.environ |= {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}  # fast on a CPU, and quiet, if said in time
import keras
import tensorflow as tf

IMAGES = 100_000  # real images in all, a fifth each: 4x4, fading to 8x8, 8x8, fading to 16x16, 16x16
BATCH = 16
LATENT = WIDTH = 32  # the length of z, and the channels of every layer; the paper has 512
LR, BETAS, GP_WEIGHT, DRIFT, EMA_HALFLIFE = 1e-3, (0.0, 0.99), 10.0, 0.001, 11_085  # in images: 0.999 a step
ZERO = tf.UnconnectedGradients.ZERO  # what leads to and from images of stages long past stays as it is
act, up, down = keras.layers.LeakyReLU(0.2), keras.layers.UpSampling2D(2), keras.layers.AveragePooling2D(2)


def pixel_norm(x: tf.Tensor) -> tf.Tensor:
    return x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=-1, keepdims=True) + 1e-8)


class Conv(keras.layers.Layer):
    """Weights are stored as N(0, 1) and scaled by gain / sqrt(fan-in) in use, so that Adam moves all layers alike."""

    def __init__(self, inputs: int, outputs: int, side: int, gain: float = 2**0.5, padding: str = "SAME") -> None:
        super().__init__()
        self.scale, self.padding = gain / (inputs * side * side) ** 0.5, padding
        self.weight = self.add_weight((side, side, inputs, outputs), keras.initializers.RandomNormal(0.0, 1.0))
        self.bias = self.add_weight((outputs,), "zeros")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(x, self.weight * self.scale, 1, self.padding) + self.bias


class Generator(keras.Model):
    """z [N,32] -> images [N,S,S,1], S being 4, 8 or 16."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.conv = Conv(LATENT, WIDTH, 4, padding="VALID"), Conv(WIDTH, WIDTH, 3)  # [N,4,4,32]
        self.blocks, self.to_image, self.built = [], [Conv(WIDTH, 1, 1, gain=1)], True  # built: let nobody close it

    def grow(self) -> None:
        self.blocks.append([Conv(WIDTH, WIDTH, 3), Conv(WIDTH, WIDTH, 3)])  # [N,8,8,32], then [N,16,16,32]
        self.to_image.append(Conv(WIDTH, 1, 1, gain=1))

    def call(self, z: tf.Tensor, fade: tf.Tensor | float) -> tf.Tensor:
        z = tf.pad(z[:, None, None], [[0, 0], [3, 3], [3, 3], [0, 0]])  # [N,7,7,32]
        x = old = pixel_norm(act(self.conv(pixel_norm(act(self.project(z))))))
        for first, second in self.blocks:
            x, old = pixel_norm(act(second(pixel_norm(act(first(up(x))))))), x
        images = self.to_image[-1](x)
        return (1.0 - fade) * up(self.to_image[-2](old)) + fade * images if self.blocks else images


class Discriminator(keras.Model):
    """Images [N,S,S,1] -> scores [N]."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.from_image, self.built = [], [Conv(1, WIDTH, 1)], True
        self.conv, self.gather = Conv(WIDTH + 1, WIDTH, 3), Conv(WIDTH, WIDTH, 4, padding="VALID")
        self.score = Conv(WIDTH, 1, 1, gain=1)

    def grow(self) -> None:
        self.blocks.append([Conv(WIDTH, WIDTH, 3), Conv(WIDTH, WIDTH, 3)])
        self.from_image.append(Conv(1, WIDTH, 1))

    def call(self, images: tf.Tensor, fade: tf.Tensor | float) -> tf.Tensor:
        x = act(self.from_image[-1](images))
        for depth, (first, second) in enumerate(self.blocks[::-1]):
            x = down(act(second(act(first(x)))))
            if depth == 0:  # the newest block fades in beside the old way in
                x = (1.0 - fade) * act(self.from_image[-2](down(images))) + fade * x
        # How much each four images differ is one more channel, so that G must draw more than one thing.
        spread = tf.sqrt(tf.math.reduce_variance(tf.reshape(x, [-1, 4, 4, 4, WIDTH]), axis=1) + 1e-8)
        spread = tf.repeat(tf.reduce_mean(spread, axis=[1, 2, 3]), 4)[:, None, None, None]
        x = tf.concat([x, tf.broadcast_to(spread, [*x.shape[:3], 1])], axis=3)
        return self.score(act(self.gather(act(self.conv(x)))))[:, 0, 0, 0]


def load_images() -> np.ndarray:
    """The digits as uint8 [1438,16,16,1]; a fixed fifth is held out, the same that ganzoo holds out."""
    small = np.round(load_digits().images * (255 / 16)).astype(np.uint8)  # [1797,8,8]; the originals go up to 16
    held_out = np.random.Generator(np.random.Philox(20140610)).permutation(len(small))[: len(small) // 5]
    large = [Image.fromarray(x).resize((16, 16), Image.Resampling.LANCZOS) for x in np.delete(small, held_out, axis=0)]
    return np.stack(large)[..., None]


@tf.function(autograph=False)
def train_step(G: Any, D: Any, opts: Any, mean: Any, batch: Any, z: Any, epsilon: Any, fade: Any, decay: Any) -> Any:
    """One update of D, then one of G against the new D; batch uint8 [N,16,16,1], z [N,32], epsilon [N,1,1,1]."""
    g_weights, d_weights = [weight.value for weight in G.weights], [weight.value for weight in D.weights]
    with tf.GradientTape() as g_tape:
        fake, real = G(z, fade=fade), tf.cast(batch, tf.float32) / 127.5 - 1.0
        while real.shape[1] > fake.shape[1]:
            real = down(real)
        real = fade * real + (1.0 - fade) * up(down(real))  # real images fade as those of G do
        with g_tape.stop_recording(), tf.GradientTape() as d_tape:
            on_real, on_fake = D(real, fade=fade), D(fake, fade=fade)
            d_loss, mixed = tf.reduce_mean(on_fake) - tf.reduce_mean(on_real), fake + epsilon * (real - fake)
            with tf.GradientTape() as tape:
                tape.watch(mixed)
                on_mixed = D(mixed, fade=fade)
            slope = tf.sqrt(tf.reduce_sum(tf.square(tape.gradient(on_mixed, mixed)), axis=[1, 2, 3]) + 1e-12)
            d_loss += GP_WEIGHT * tf.reduce_mean(tf.square(slope - 1.0))
            d_loss += DRIFT * tf.reduce_mean(tf.square(on_real))  # it keeps the scores near 0
        opts[1].apply(d_tape.gradient(d_loss, d_weights, unconnected_gradients=ZERO), D.weights)
        g_loss = -tf.reduce_mean(D(fake, fade=fade))
    opts[0].apply(g_tape.gradient(g_loss, g_weights, unconnected_gradients=ZERO), G.weights)
    for average, weight in zip(mean, G.weights, strict=True):
        average.assign_add((1.0 - decay) * (weight - average))
    return d_loss, g_loss


def main(total_images: int = IMAGES, folder: Path = Path()) -> None:
    keras.utils.set_random_seed(0)
    images, rng, G, D, mean, seen = load_images(), np.random.default_rng(0), Generator(), Discriminator(), [], 0
    fixed_z, phase = pixel_norm(tf.random.normal([64, LATENT])), total_images // 5  # norm: a point on the hypersphere
    for size, begin, end in ((4, -phase, phase), (8, phase, 3 * phase), (16, 3 * phase, total_images)):
        if size > 4:
            G.grow(), D.grow()
        mean += [tf.Variable(weight) for weight in G.weights[len(mean) :]]
        opts = [keras.optimizers.Adam(LR, *BETAS, epsilon=1e-8) for _ in "GD"]  # without the moments of old layers
        opts[0].build(G.weights), opts[1].build(D.weights)
        while seen < end:
            batch, fade = images[rng.integers(len(images), size=BATCH)], min(1.0, (seen - begin) / phase)
            seen += BATCH
            decay = 0.5 ** (BATCH / min(EMA_HALFLIFE, 0.05 * seen))
            z, epsilon = pixel_norm(tf.random.normal([BATCH, LATENT])), tf.random.uniform([BATCH, 1, 1, 1])
            losses = train_step(G, D, opts, mean, batch, z, epsilon, tf.constant(fade), tf.constant(decay))
            if seen % (BATCH * 100) == 0:
                print(f"{seen:6d} images   {size}x{size}   fade {fade:.2f}   D {losses[0]:.3f}   G {losses[1]:.3f}")
        with keras.StatelessScope([(w, average.value()) for w, average in zip(G.weights, mean, strict=True)]):
            x = np.clip(np.rint((G(fixed_z, fade=1.0)[..., 0].numpy() + 1) * 127.5), 0, 255).astype(np.uint8)
        grid = x.reshape(8, 8, size, size).swapaxes(1, 2).reshape(8 * size, 8 * size)
        Image.fromarray(grid).save(folder / f"progan-digits-{size}.png")


if __name__ == "__main__":
    main()
