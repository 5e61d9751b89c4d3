"""A model's `plain.py`, fed the same batches, noise and seeds, takes the same steps as the runner, to the bit."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from ganzoo_core import building, mix
from ganzoo_core.data import pixels
from ganzoo_core.data.stream import Stream
from ganzoo_core.discovery import catalog
from ganzoo_core.randomness import latents, philox
from ganzoo_core.training import assemble, setup

STEPS, SEED = 20, 5


@pytest.mark.parametrize("model", ["dcgan-tf", "convgan-tf"])
def test_the_runner_takes_the_steps_of_plain(model: str, tmp_path: Path) -> None:
    request = mix.Request(
        picks={"model": model, "data": "digits"},
        assigned={"train.report_every": "1steps", "train.seed": SEED, "engine.device": "cpu"},
        flags={"train.length": (f"{STEPS}steps", "--steps")},
    )
    resolved = mix.resolve(catalog.scan(), request)
    source = building.load_data(resolved)
    runner = assemble.open_run(setup.build(setup.load(resolved, None), quiet=True), out=tmp_path / "run")

    import tensorflow as tf

    from ganzoo_core.engines.tensorflow.networks import list_seed_states

    plain = importlib.import_module(f"ganzoo_{model.replace('-', '_')}.plain")
    pairs = [(runner.trainer.G, plain.make_generator()), (runner.trainer.D, plain.make_discriminator())]
    for ours, theirs in pairs:
        theirs.set_weights(ours.get_weights())
    ema = plain.make_generator()
    ema.set_weights(pairs[0][1].get_weights())
    assert runner.run()

    real_images = plain.load_images()
    assert len(real_images) == len(source.images)
    G, D = (theirs for _, theirs in pairs)
    opt_g, opt_d = plain.make_optimizers(G, D)
    stream = Stream(len(real_images), seed=SEED, purpose="data")
    states = [*list_seed_states(G), *list_seed_states(D)]
    losses = []
    for step in range(STEPS):
        seeds = philox(SEED, "discriminator", step, 0).integers(2**31, size=(1 + len(states), 2))
        for state, seed in zip(states, seeds[1:], strict=True):
            state.assign(seed)
        real = tf.constant(pixels.preprocess(real_images[stream.take_indices(step * plain.BATCH, plain.BATCH)]))
        distribution = resolved.parts["generator"].latent
        z = tf.constant(latents(philox(SEED, "z", step, 0), plain.BATCH, plain.LATENT, distribution))
        if hasattr(plain, "learning_rate"):  # the rate falls
            for optimizer in (opt_g, opt_d):
                optimizer.learning_rate.assign(plain.learning_rate(step * plain.BATCH, STEPS * plain.BATCH))
        losses.append(plain.train_step(G, D, opt_g, opt_d, real, z))
        seen = (step + 1) * plain.BATCH
        plain.update_ema(ema, G, tf.constant(0.5 ** (plain.BATCH / min(plain.EMA, 0.05 * seen)), tf.float32))

    told = runner.folder.read_stats()
    assert [line["discriminator/adversarial"] for line in told] == [float(d_loss) for d_loss, *_ in losses]
    assert [line["generator/adversarial"] for line in told] == [float(g_loss) for _, g_loss, *_ in losses]
    averages = [runner.trainer.ema.get_average(weight).numpy() for weight in runner.trainer.G.weights]
    for average, other in zip(averages, ema.get_weights(), strict=True):
        assert np.array_equal(average, other)
    assert not np.array_equal(averages[0], pairs[0][0].get_weights()[0])
    for ours, theirs in pairs:
        for weight, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            assert np.array_equal(weight, other)
    # And they did move.
    assert np.ptp([float(d_loss) for d_loss, *_ in losses]) > 0.01
