"""dcgan-tf at 28 pixels, batch 256: the runner, both ways of updating, and the loop of TensorFlow's tutorial.

python benchmarks/tensorflow_dcgan.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from pairs import measure, report

from ganzoo_core import assembly, catalog, engines, mix

LATENT, LR = 100, 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (4096, 28, 28, 1), dtype=np.uint8)
    loops = {name: runner(images, args.batch, name) for name in ("simultaneous", "alternating")}
    loops["tutorial"] = tutorial(images, args.batch)

    import tensorflow as tf

    found = measure(loops, images=args.batch, steps=args.steps, pairs=args.pairs, warm_up=4)
    facts = {"size": 28, "batch": args.batch, "tensorflow": tf.__version__}
    report("dcgan-tf", found, facts, base="simultaneous", out=args.json)


def runner(images: np.ndarray, batch: int, updates: str):
    """ganzoo's trainer."""
    settings = {"train.batch_size": batch, "train.updates": updates, "engine.device": "cpu"}
    request = mix.Request(picks={"model": "dcgan-tf", "data": "mnist"}, assigned=settings, preset="none")
    resolved = mix.resolve(catalog.scan(), request)
    fitted = assembly.fit_of(resolved)
    assert fitted is not None
    engine = engines.create("tensorflow", resolved.settings)
    G, D = assembly.networks(engine, resolved, fitted, {})
    trainer = engine.trainer(G, D, assembly.loss_of(resolved, fitted), assembly.plan_of(resolved), images, None)
    position = 0

    def loop(steps: int) -> None:
        nonlocal position
        for _ in range(steps):
            trainer.step(position, position * batch, {})
            position += 1
        trainer.read()

    return loop


def tutorial(images: np.ndarray, batch: int):
    """As the tutorial has it: tf.data, two tapes in one tf.function, Adam as it comes."""
    import tensorflow as tf
    from tensorflow import keras

    from ganzoo_dcgan_tf.plain import Discriminator, Generator

    G, D = Generator(), Discriminator()
    opt_g, opt_d = keras.optimizers.Adam(LR), keras.optimizers.Adam(LR)
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    floats = ((images.astype("float32") - 127.5) / 127.5).astype("float32")
    data = tf.data.Dataset.from_tensor_slices(floats).shuffle(len(floats)).batch(batch).repeat()

    @tf.function
    def train_step(real: tf.Tensor) -> None:
        noise = tf.random.normal([batch, LATENT])
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

    source = iter(data)

    def loop(steps: int) -> None:
        for _ in range(steps):
            train_step(next(source))

    return loop


if __name__ == "__main__":
    main()
