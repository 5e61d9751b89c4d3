"""Whole runs: the runner takes the steps of `plain.py`, moments start anew with each stage, checkpoints grow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import tensorflow as tf

from ganzoo_core import mix
from ganzoo_core.data.stream import Stream
from ganzoo_core.discovery import catalog
from ganzoo_core.engines.tensorflow.ops import TensorFlowOps
from ganzoo_core.generation import saved
from ganzoo_core.randomness import latents, philox
from ganzoo_core.training import assemble, setup
from ganzoo_progan_tf import plain

SEED = 5


def runner(out: Path, *, images: int = 192, **settings: Any) -> Any:
    """A run of 192 images, 12 steps: 38 images a phase, so that three steps are at 4 pixels, and five at 8."""
    assigned = {"train.seed": SEED, "engine.device": "cpu", "train.report_every": "1steps"}
    request = mix.Request(
        picks={"model": "progan-tf", "data": "digits", **settings.pop("picks", {})},
        assigned={**assigned, **settings.pop("assigned", {})},
        flags={"train.length": (str(images), "--images")},
    )
    resolved = mix.resolve(catalog.scan(), request)
    return assemble.open_run(setup.build(setup.load(resolved, None), quiet=True), out=out)


@pytest.fixture
def graphs_as_written() -> Iterator[None]:
    """TensorFlow's graph optimiser off: it reorders sums by the names of layers, which changes their last bit."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.mark.usefixtures("graphs_as_written")
def test_the_runner_takes_the_steps_of_plain(tmp_path: Path) -> None:
    """To the bit, through all stages, fed the same batches, noise and penalty weights; new layers are copied over."""
    assigned = {"model.width": plain.WIDTH, "model.latent_dim": plain.LATENT, "train.batch_size": plain.BATCH}
    run = runner(tmp_path / "run", assigned=assigned)
    trainer, stream = run.trainer, Stream(1438, seed=SEED, purpose="data")
    images, G, D = plain.load_images(), plain.Generator(), plain.Discriminator()
    mean: list[tf.Variable] = []
    opts: list[Any] = []
    stages = []
    for step in range(12):
        seen = step * plain.BATCH
        values = run.schedule(seen)
        trainer.grow(values)
        if values["resolution"] not in stages:
            stages.append(values["resolution"])
            if len(stages) > 1:
                G.grow()
                D.grow()
            for ours, theirs in ((trainer.G, G), (trainer.D, D)):
                for a, b in zip(ours.weights, theirs.weights, strict=True):
                    b.assign(a)
            mean += [tf.Variable(weight) for weight in G.weights[len(mean) :]]
            opts = [plain.keras.optimizers.Adam(plain.LR, *plain.BETAS, epsilon=1e-8) for _ in "GD"]
            for opt, network in zip(opts, (G, D), strict=True):
                opt.build(network.weights)

        batch = images[stream.take_indices(seen, plain.BATCH)]
        z = latents(philox(SEED, "z", step, 0), plain.BATCH, plain.LATENT, "sphere")
        seeds = philox(SEED, "discriminator", step, 0).integers(2**31, size=(1, 2))
        epsilon = TensorFlowOps(seeds[0].astype(np.int32)).uniform((plain.BATCH, 1, 1, 1))
        decay = 0.5 ** (plain.BATCH / min(plain.EMA_HALFLIFE, 0.05 * (seen + plain.BATCH)))
        fade, decay = tf.constant(values["fade"]), tf.constant(decay)
        d_loss, g_loss = plain.train_step(G, D, opts, mean, batch, z, epsilon, fade, decay)

        trainer.step(step, seen, values)
        told = trainer.pop_means()
        terms = ("adversarial", "gradient_penalty", "drift_penalty")
        assert float(d_loss) == pytest.approx(sum(told[f"discriminator/{term}"] for term in terms), rel=1e-6), step
        assert float(g_loss) == told["generator/adversarial"], step
        for ours, theirs in ((trainer.G, G), (trainer.D, D)):
            for a, b in zip(ours.weights, theirs.weights, strict=True):
                assert np.array_equal(a.numpy(), b.numpy()), (step, a.path)
        for weight, average in zip(trainer.G.weights, mean, strict=True):
            assert np.array_equal(trainer.ema.get_average(weight).numpy(), average.numpy()), (step, weight.path)
    assert stages == [4, 8, 16]


SMALL = {"model.width": 4, "model.latent_dim": 6, "train.batch_size": 16}


def test_moments_start_anew_with_each_resolution_and_only_then(tmp_path: Path) -> None:
    run = runner(tmp_path / "run", assigned=SMALL)
    trainer = run.trainer
    for step, is_new in ((0, True), (1, False), (3, True), (4, False)):
        values = run.schedule(step * 16)
        trainer.grow(values)
        for optimizer in (trainer.phases.g_optimizer, trainer.phases.d_optimizer):
            assert int(optimizer.iterations) == (0 if is_new else 1)
            moments = [v.numpy() for v in optimizer.variables if v.path.endswith(("momentum", "velocity"))]
            assert moments
            assert is_new == (not any(moment.any() for moment in moments))
        trainer.step(step, step * 16, values)


def test_checkpoints_grow_and_are_drawn_from(tmp_path: Path) -> None:
    """Tensors of G: six at 4 pixels, and six more with each stage, four of its block and two of its toRGB."""
    run = runner(tmp_path / "run", assigned={**SMALL, "train.snapshot_every": "16", "train.sample_count": 4})
    assert run.run()
    stages = [(line["images"], line["resolution"], line["fade"]) for line in run.folder.read_stats()]
    assert [resolution for _, resolution, _ in stages] == [4] * 3 + [8] * 5 + [16] * 4
    sizes = {}
    for images, resolution, fade in stages:
        folder = run.folder.snapshots / str(images)
        card = json.loads((folder / "generator.json").read_text("utf-8"))
        assert card["values"] == {"resolution": resolution, "fade": fade}
        with safetensors.safe_open(folder / "generator.safetensors", "np") as file:
            sizes[resolution] = sum(file.get_tensor(name).size for name in file.keys())  # noqa: SIM118
            assert len(file.keys()) == {4: 6, 8: 12, 16: 18}[resolution]
    block = 2 * (9 * 4 * 4 + 4) + (4 + 1)
    first = (16 * 6 * 4 + 4) + (9 * 4 * 4 + 4) + (4 + 1)
    assert sizes == {4: first, 8: first + block, 16: first + 2 * block}
    for images, size in ((16, 4), (64, 8), (192, 16)):
        generator = saved.SavedGenerator(run.folder.snapshots / str(images), device="cpu")
        drawn = generator.generate(3, seed=1)
        assert drawn.shape == (3, size, size, 1)
        assert np.array_equal(drawn, generator.generate(3, seed=1))


def test_without_stages_the_whole_network_trains(tmp_path: Path) -> None:
    run = runner(tmp_path / "run", images=32, picks={"schedule": "constant"}, assigned=SMALL)
    assert run.run()
    assert saved.SavedGenerator(run.folder.generator, device="cpu").generate(2).shape == (2, 16, 16, 1)
