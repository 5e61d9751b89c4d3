"""A convolutional GAN whose discriminator pools, from top to bottom in TensorFlow, without ganzoo: `python plain.py`.

It learns to draw scikit-learn's handwritten digits in some minutes on two cores, prints both losses and how well D
tells real from fake as it goes, and leaves 64 digits in `convgan-digits.png`. N is the batch.
"""

import os
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # read at the import: faster convolutions on most CPUs
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from PIL import Image
from sklearn.datasets import load_digits

SEED = 0
IMAGES = 160_000  # real images shown in all: about 111 times through the 1,438 digits
BATCH = 64  # 128 for MNIST
LATENT = 32  # the length of z; 96 for MNIST
WIDTH = 16  # channels of D's first convolution; 32 for MNIST
HIDDEN = 256  # units of the dense layer in each network; 1024 for MNIST
LR = 1e-3
EMA = 5_000  # half-life, in images, of the moving average of G's weights, which draws the samples (arXiv:1806.04498)
BETAS = (0.5, 0.999)  # Adam's usual 0.9 makes training swing, the DCGAN paper found


def make_generator() -> keras.Model:
    """z [N,32] -> images [N,28,28,1] in [-1, 1]; the shape is InfoGAN's (arXiv:1606.03657, appendix C.1)."""
    return keras.Sequential(
        [
            keras.Input((LATENT,)),
            layers.Dense(HIDDEN, activation="relu"),  # [N,256]
            layers.BatchNormalization(),
            layers.Dense(7 * 7 * 4 * WIDTH, activation="relu"),  # [N,3136]
            layers.BatchNormalization(),
            layers.Reshape((7, 7, 4 * WIDTH)),  # [N,7,7,64]
            layers.Conv2DTranspose(2 * WIDTH, 4, strides=2, padding="same", activation="relu"),  # [N,14,14,32]
            layers.BatchNormalization(),
            layers.Conv2DTranspose(1, 4, strides=2, padding="same", activation="tanh"),  # [N,28,28,1]
        ]
    )


def make_discriminator() -> keras.Model:
    """Images [N,28,28,1] -> scores [N,1]; the sigmoid of a score is the probability that the image is real."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(WIDTH, 5),  # [N,24,24,16]
            layers.LeakyReLU(0.01),
            layers.MaxPooling2D(2),  # [N,12,12,16]
            layers.Conv2D(2 * WIDTH, 5),  # [N,8,8,32]
            layers.LeakyReLU(0.01),
            layers.MaxPooling2D(2),  # [N,4,4,32]
            layers.Flatten(),  # [N,512]
            layers.Dense(HIDDEN),  # [N,256]
            layers.LeakyReLU(0.01),
            layers.Dense(1),  # [N,1]
        ]
    )


def load_images() -> np.ndarray:
    """The digits as uint8 [1438,28,28,1]; a fixed fifth is held out, the same that ganzoo holds out."""
    small = np.round(load_digits().images * (255 / 16)).astype(np.uint8)  # [1797,8,8]; the originals go up to 16
    held_out = np.random.Generator(np.random.Philox(20140610)).permutation(len(small))[: len(small) // 5]
    small = np.delete(small, held_out, axis=0)
    return np.stack([Image.fromarray(image).resize((28, 28), Image.Resampling.LANCZOS) for image in small])[..., None]


def make_optimizers(G: keras.Model, D: keras.Model) -> tuple[keras.Optimizer, keras.Optimizer]:
    """Adam for each network; its last number is epsilon."""
    pair = keras.optimizers.Adam(LR, *BETAS, 1e-7), keras.optimizers.Adam(LR, *BETAS, 1e-7)
    for optimizer, network in zip(pair, (G, D), strict=True):
        optimizer.build(network.trainable_variables)  # a graph may not make variables after its first run
    return pair


@tf.function
def train_step(
    G: keras.Model, D: keras.Model, opt_g: keras.Optimizer, opt_d: keras.Optimizer, real: tf.Tensor, z: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """One update of D, then one of G against the new D. real [N,28,28,1] in [-1, 1], z [N,32].

    Returns D's loss, G's loss, and which share of the real and of the fake images D took for what they are. With
    scores s, -log sigmoid(s) = softplus(-s) and -log(1 - sigmoid(s)) = softplus(s).
    """
    with tf.GradientTape() as g_tape:
        fake = G(z, training=True)
        with g_tape.stop_recording():  # D's update is no part of what G is differentiated through
            with tf.GradientTape() as d_tape:
                real_scores, fake_scores = D(real, training=True)[:, 0], D(fake, training=True)[:, 0]  # [N]
                d_loss = tf.reduce_mean(tf.nn.softplus(-real_scores)) + tf.reduce_mean(tf.nn.softplus(fake_scores))
            opt_d.apply(d_tape.gradient(d_loss, D.trainable_variables), D.trainable_variables)

        # Not log(1 - D(G(z))), whose gradient vanishes while D is sure, but the non-saturating -log D(G(z)).
        g_loss = tf.reduce_mean(tf.nn.softplus(-D(fake, training=True)))
    opt_g.apply(g_tape.gradient(g_loss, G.trainable_variables), G.trainable_variables)
    right_on_real = tf.reduce_mean(tf.cast(real_scores > 0, tf.float32))
    right_on_fake = tf.reduce_mean(tf.cast(fake_scores <= 0, tf.float32))
    return d_loss, g_loss, right_on_real, right_on_fake


@tf.function
def update_ema(ema: keras.Model, G: keras.Model, decay: tf.Tensor) -> None:
    """Move the average towards G; batch norm's statistics are G's own."""
    for mean, weight in zip(ema.trainable_variables, G.trainable_variables, strict=True):
        mean.assign_add((1 - decay) * (weight - mean))
    for mean, statistic in zip(ema.non_trainable_variables, G.non_trainable_variables, strict=True):
        mean.assign(statistic)


def save_samples(G: keras.Model, z: tf.Tensor, path: Path) -> None:
    """Draw z [64,32] as a grid of 8x8 images; batch norm uses its running statistics, not this batch's."""
    images = np.rint((G(z, training=False).numpy()[..., 0] + 1) * 127.5).astype(np.uint8)  # [64,28,28]
    grid = images.reshape(8, 8, 28, 28).transpose(0, 2, 1, 3).reshape(8 * 28, 8 * 28)
    Image.fromarray(grid).save(path)


def main(total_images: int = IMAGES, path: Path = Path("convgan-digits.png")) -> None:
    keras.utils.set_random_seed(SEED)
    numbers = np.random.default_rng(SEED)
    images = load_images()
    G, D, ema = make_generator(), make_discriminator(), make_generator()
    ema.set_weights(G.get_weights())
    opt_g, opt_d = make_optimizers(G, D)
    fixed_z = tf.constant(numbers.uniform(-1, 1, (64, LATENT)).astype(np.float32))

    order = np.empty(0, dtype=np.int64)
    for step in range(1, total_images // BATCH + 1):
        if len(order) < BATCH:  # the next epoch begins inside a batch, so that none is short
            order = np.concatenate([order, numbers.permutation(len(images))])
        batch, order = order[:BATCH], order[BATCH:]
        real = tf.constant(images[batch].astype(np.float32) / 127.5 - 1)
        z = tf.constant(numbers.uniform(-1, 1, (BATCH, LATENT)).astype(np.float32))
        d_loss, g_loss, right_on_real, right_on_fake = train_step(G, D, opt_g, opt_d, real, z)
        # The memory is shorter early on, so that the average forgets the weights that G began with.
        update_ema(ema, G, tf.constant(0.5 ** (BATCH / min(EMA, 0.05 * step * BATCH)), tf.float32))
        if step % 20 == 0:
            print(f"{step * BATCH:6d} images   loss of D {d_loss:.3f}   loss of G {g_loss:.3f}", end="   ")
            print(f"D is right on {right_on_real:.0%} of real and {right_on_fake:.0%} of fake", flush=True)
    save_samples(ema, fixed_z, path)
    print(f"samples: {path}")


if __name__ == "__main__":
    main()
