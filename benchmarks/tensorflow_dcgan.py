"""dcgan-tf at 28 pixels, batch 256: the runner, both ways of updating, and the loop of TensorFlow's tutorial.

The tutorial's loop runs in a process of its own, with TensorFlow as it comes: without oneDNN on a CPU without AVX-512,
and with it on others, where `--onednn 0` shows what the former have.

    python benchmarks/tensorflow_dcgan.py
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pairs import measure, report

from ganzoo_core import building, catalog, engines, mix

LATENT, LR = 100, 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--onednn", choices=("0", "1"), help="TF_ENABLE_ONEDNN_OPTS of the tutorial's process")
    parser.add_argument("--serve-tutorial", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (4096, 28, 28, 1), dtype=np.uint8)
    if args.serve_tutorial:
        serve(tutorial(images, args.batch))
        return
    trainers = {name: trainer_of(images, args.batch, name) for name in ("simultaneous", "alternating")}
    loops = {name: runner(trainer, args.batch) for name, trainer in trainers.items()}
    with tutorial_process(args.batch, args.onednn) as process:
        loops["tutorial"] = remote(process)

        import keras
        import tensorflow as tf

        found = measure(loops, images=args.batch, steps=args.steps, pairs=args.pairs, warm_up=4)
    work, peak = work_of(trainers["simultaneous"]), roof()
    facts = {
        "size": 28, "batch": args.batch, "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "tensorflow": tf.__version__, "keras": keras.__version__, "tutorial's oneDNN": args.onednn or "as it comes",
    }  # fmt: skip
    report("dcgan-tf", found, facts, base="simultaneous", out=args.json)
    rates = sorted(found["rates"]["simultaneous"])
    print(
        f"work {work:.3f} GFLOP an image, roof {peak:.0f} GFLOP/s (a 2048³ product), "
        f"utilisation {work * rates[len(rates) // 2] / peak:.0%}"
    )


def trainer_of(images: np.ndarray, batch: int, updates: str) -> Any:
    """ganzoo's trainer."""
    settings = {"train.batch_size": batch, "train.updates": updates, "engine.device": "cpu"}
    request = mix.Request(picks={"model": "dcgan-tf", "data": "mnist"}, assigned=settings, preset="none")
    resolved = mix.resolve(catalog.scan(), request)
    fitted = building.fit_of(resolved)
    assert fitted is not None
    engine = engines.create("tensorflow", resolved.settings)
    G, D = building.networks(engine, resolved, fitted, {})
    return engine.trainer(G, D, building.loss_of(resolved, fitted), building.plan_of(resolved), images, None)


def runner(trainer: Any, batch: int) -> Callable[[int], None]:
    """Steps of a trainer, with the read of a report after them."""
    position = 0

    def loop(steps: int) -> None:
        nonlocal position
        for _ in range(steps):
            trainer.step(position, position * batch, {})
            position += 1
        trainer.read()

    return loop


def tutorial(images: np.ndarray, batch: int) -> Callable[[int], None]:
    """As the tutorial has it: tf.data, two tapes in one tf.function, Adam as it comes."""
    import keras
    import tensorflow as tf

    from ganzoo_dcgan_tf.networks import discriminator, generator

    size = {"height": 28, "width": 28, "channels": 1, "features": 64}
    G, D = generator(**size, latent_dim=LATENT), discriminator(**size, dropout=0.3)
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


def tutorial_process(batch: int, onednn: str | None) -> subprocess.Popen[str]:
    """A process that takes as many steps as a line of its input says, and answers when they are done."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    if onednn is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = onednn
    command = [sys.executable, __file__, "--serve-tutorial", "--batch", str(batch)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=environment, text=True, **pipes)


def serve(loop: Callable[[int], None]) -> None:
    """The other end of `remote`."""
    for line in sys.stdin:
        loop(int(line))
        print("done", flush=True)


def remote(process: subprocess.Popen[str]) -> Callable[[int], None]:
    """The loop of another process; it waits while others run."""
    assert process.stdin is not None and process.stdout is not None  # noqa: PT018
    talk, listen = process.stdin, process.stdout

    def loop(steps: int) -> None:
        print(steps, file=talk, flush=True)
        if listen.readline() != "done\n":
            raise RuntimeError("the tutorial's process ended")

    return loop


def work_of(trainer: Any) -> float:
    """GFLOP an image of one simultaneous step: two for each multiplication and addition of matrices and kernels.

    Three passes through G (forward, and backward by its inputs and by its weights), three through D for the reals, and
    four for the fakes, whose gradient by the images is taken for G as well.
    """
    once = {}
    for name, network in (("G", trainer.G), ("D", trainer.D)):
        passes = 0
        for layer in network.layers:
            if hasattr(layer, "kernel"):
                small = layer.input if "Transpose" in type(layer).__name__ else layer.output
                pixels = math.prod(small.shape[1:-1]) if len(small.shape) == 4 else 1
                passes += 2 * pixels * math.prod(layer.kernel.shape)
        once[name] = passes
    return (3 * once["G"] + 7 * once["D"]) / 1e9


def roof() -> float:
    """GFLOP/s of the product of two 2048×2048 matrices, the best of ten."""
    import tensorflow as tf

    a = tf.random.stateless_normal((2048, 2048), (0, 1))
    times = []
    for _ in range(10):
        start = time.perf_counter()
        tf.matmul(a, a).numpy()
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(times) / 1e9


if __name__ == "__main__":
    main()
