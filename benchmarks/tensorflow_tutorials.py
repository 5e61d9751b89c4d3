"""The loops of TensorFlow's tutorials, for a process that has TensorFlow as it comes; see `remote`."""

from __future__ import annotations

from typing import Any

from comparisons import Row
from pairs import Loop


def make_loop(row: Row, resolution: int, device: str) -> Loop:
    """The row's tutorial; `device` was seen to when the process was started."""
    return make_growing_loop(row, resolution) if resolution else make_dcgan_loop(row)


def make_dcgan_loop(row: Row) -> Loop:
    """TensorFlow's DCGAN tutorial: tf.data, two tapes in one tf.function."""
    import keras
    import tensorflow as tf

    from ganzoo_dcgan_tf.networks import create_discriminator, create_generator

    size = {"height": row.size, "width": row.size, "channels": 1, "features": row.settings["model.width"]}
    G, D = create_generator(**size, latent_dim=100), create_discriminator(**size, dropout=0.3)
    opt_g, opt_d = keras.optimizers.Adam(1e-4), keras.optimizers.Adam(1e-4)
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function
    def train_step(real: Any) -> Any:
        noise = tf.random.normal([row.batch, 100])
        with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
            fake = G(noise, training=True)
            real_scores, fake_scores = D(real, training=True), D(fake, training=True)
            g_loss = entropy(tf.ones_like(fake_scores), fake_scores)
            d_loss = entropy(tf.ones_like(real_scores), real_scores)
            d_loss += entropy(tf.zeros_like(fake_scores), fake_scores)
        g_gradients = g_tape.gradient(g_loss, G.trainable_variables)
        d_gradients = d_tape.gradient(d_loss, D.trainable_variables)
        opt_g.apply_gradients(zip(g_gradients, G.trainable_variables, strict=True))
        opt_d.apply_gradients(zip(d_gradients, D.trainable_variables, strict=True))
        return g_loss

    return _make_step_loop(row, row.size, train_step)


def make_growing_loop(row: Row, resolution: int) -> Loop:
    """One stage of progan-tf in the shape of Keras's WGAN-GP: z and images anew for G's step, tapes around all."""
    import keras
    import tensorflow as tf

    from ganzoo_progan_tf.networks import Discriminator, Generator

    width, latent_dim = row.settings["model.width"], row.settings["model.latent_dim"]
    G = Generator(size=row.size, channels=1, latent_dim=latent_dim, width=width)
    D = Discriminator(size=row.size, channels=1, width=width)
    G.grow(resolution)
    D.grow(resolution)
    opt_g, opt_d = (keras.optimizers.Adam(1e-3, beta_1=0.0, beta_2=0.99) for _ in "GD")
    mean = [tf.Variable(weight.value) for weight in G.weights]

    @tf.function
    def train_step(real: Any) -> Any:
        with tf.GradientTape() as tape:
            fake = G(tf.random.normal([row.batch, latent_dim]), resolution=resolution, training=True)
            on_real = D(real, resolution=resolution, training=True)
            on_fake = D(fake, resolution=resolution, training=True)
            mixed = fake + tf.random.uniform([row.batch, 1, 1, 1]) * (real - fake)
            with tf.GradientTape() as inner:
                inner.watch(mixed)
                on_mixed = D(mixed, resolution=resolution, training=True)
            slope = tf.sqrt(tf.reduce_sum(tf.square(inner.gradient(on_mixed, mixed)), axis=[1, 2, 3]) + 1e-12)
            d_loss = tf.reduce_mean(on_fake) - tf.reduce_mean(on_real) + 10.0 * tf.reduce_mean((slope - 1.0) ** 2)
            d_loss += 0.001 * tf.reduce_mean(tf.square(on_real))
        opt_d.apply_gradients(zip(tape.gradient(d_loss, D.trainable_variables), D.trainable_variables, strict=True))
        with tf.GradientTape() as tape:
            fake = G(tf.random.normal([row.batch, latent_dim]), resolution=resolution, training=True)
            g_loss = -tf.reduce_mean(D(fake, resolution=resolution, training=True))
        opt_g.apply_gradients(zip(tape.gradient(g_loss, G.trainable_variables), G.trainable_variables, strict=True))
        for average, weight in zip(mean, G.weights, strict=True):
            average.assign(0.999 * average + 0.001 * weight.value)
        return g_loss

    return _make_step_loop(row, resolution, train_step)


def _make_step_loop(row: Row, size: int, train_step: Any) -> Loop:
    """`train_step` over a tf.data set of images of that many pixels."""
    import tensorflow as tf

    images = row.make_images()[:, :size, :size]
    floats = ((images.astype("float32") - 127.5) / 127.5).astype("float32")
    source = iter(tf.data.Dataset.from_tensor_slices(floats).shuffle(len(floats)).batch(row.batch).repeat())

    def loop(steps: int) -> None:
        for _ in range(steps):
            loss = train_step(next(source))
        float(loss)

    return loop
