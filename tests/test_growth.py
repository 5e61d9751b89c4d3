"""Networks that grow with the schedule's `resolution`: the same game in both frameworks."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import engines
from ganzoo_core.data.framing import count_halvings
from ganzoo_core.data.stream import Stream
from ganzoo_core.settings import read_engine_settings

from .plans import change, make_plan

BATCH, LATENT, SIZE = 4, 3, 16
IMAGES = np.random.default_rng(5).integers(0, 256, (21, SIZE, SIZE, 1), dtype=np.uint8)
PLAN = make_plan(
    seed=3,
    batch_size=BATCH,
    latent_dim=LATENT,
    takes_g=("resolution", "fade"),
    takes_d=("resolution", "fade"),
    betas=(0.0, 0.99),
    lr_g=1e-2,
    lr_d=1e-2,
    decision=0.0,
    halflife=1000,
)
SPEC = {"height": SIZE, "width": SIZE, "channels": 1, "classes": 0, "latent_dim": LATENT}


def torch_networks() -> tuple[Any, Any]:
    """G is a sum of pictures, one a stage, each enlarged; D a sum of scores, one a stage."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages, self.resolution = nn.ModuleList([self.stage(4)]), 4

        def stage(self, resolution: int) -> nn.Module: ...

        def grow(self, resolution: int) -> None:
            while self.resolution < resolution:
                self.resolution *= 2
                self.stages.append(self.stage(self.resolution))

    class G(Growing):
        def stage(self, resolution: int) -> nn.Module:
            return nn.Linear(LATENT, resolution**2)

        def forward(self, z: torch.Tensor, resolution: int, fade: torch.Tensor) -> torch.Tensor:
            assert resolution == self.resolution
            total: Any = 0.0
            for place, stage in enumerate(self.stages):
                side = 4 << place
                picture = stage(z).reshape(-1, 1, side, side)
                scale = fade if place == len(self.stages) - 1 else 1.0
                total = total + scale * F.interpolate(picture, scale_factor=resolution // side)
            return total

    class D(Growing):
        def stage(self, resolution: int) -> nn.Module:
            return nn.Linear(resolution**2, 1)

        def forward(self, images: torch.Tensor, resolution: int, fade: torch.Tensor) -> torch.Tensor:
            assert resolution == self.resolution == images.shape[2]
            total: Any = 0.0
            for place, stage in enumerate(self.stages):
                small = F.avg_pool2d(images, resolution // (4 << place))
                total = total + (fade if place == len(self.stages) - 1 else 1.0) * stage(small.flatten(1))[:, 0]
            return total

    return G(), D()


def tensorflow_networks() -> tuple[Any, Any]:
    """The same. A model that is `built` from the start is never closed to further layers by Keras."""
    import keras
    import tensorflow as tf
    from keras import layers

    class Growing(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.stages, self.resolution = [self.stage(4)], 4
            self.built = True

        def stage(self, resolution: int) -> Any: ...

        def grow(self, resolution: int) -> None:
            while self.resolution < resolution:
                self.resolution *= 2
                self.stages.append(self.stage(self.resolution))

    class G(Growing):
        def stage(self, resolution: int) -> Any:
            return layers.Dense(resolution**2)

        def call(self, z: Any, resolution: int, fade: Any) -> Any:
            assert resolution == self.resolution
            total: Any = 0.0
            for place, stage in enumerate(self.stages):
                side = 4 << place
                picture = tf.reshape(stage(z), [-1, side, side, 1])
                large = tf.repeat(tf.repeat(picture, resolution // side, axis=1), resolution // side, axis=2)
                total = total + (fade if place == len(self.stages) - 1 else 1.0) * large
            return total

    class D(Growing):
        def stage(self, resolution: int) -> Any:
            return layers.Dense(1)

        def call(self, images: Any, resolution: int, fade: Any) -> Any:
            assert resolution == self.resolution == images.shape[1]
            total: Any = 0.0
            for place, stage in enumerate(self.stages):
                side = 4 << place
                small = tf.nn.avg_pool2d(images, resolution // side, resolution // side, "VALID")
                scores = stage(tf.reshape(small, [-1, side**2]))[:, 0]
                total = total + (fade if place == len(self.stages) - 1 else 1.0) * scores
            return total

    return G(), D()


class Telling:
    """Gradients for both networks, and the sum and the sum of squares of the reals that D saw."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        told = {"sum": ops.sum(step.real), "squares": ops.sum(ops.square(step.real)), "first": step.real[0, 0, 0, 0]}
        score = ops.mean(ops.softplus(-step.D(step.real))) + ops.mean(ops.softplus(step.D(step.fake)))
        return {"adversarial": score, **{name: ops.stop_gradient(value) for name, value in told.items()}}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.softplus(-step.D(step.fake)))}


@pytest.fixture(params=["torch", "tensorflow"])
def framework(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def engine(framework: str) -> Any:
    return engines.create_engine(framework, read_engine_settings({"engine.device": "cpu", "engine.threads": 2}))


@pytest.fixture
def trainer(engine: Any, framework: str) -> Any:
    return make_trainer(engine, framework, PLAN)


def make_trainer(engine: Any, framework: str, plan: Any) -> Any:
    pair: list[Any] = []

    def make(place: int) -> Any:
        if not pair:
            pair.extend(torch_networks() if framework == "torch" else tensorflow_networks())
        return pair[place]

    values = {"resolution": 4, "fade": 1.0}
    spec = gz.Spec(**SPEC, framework=framework)
    G, D = (
        engine.build(lambda place=place: make(place), spec=spec, slot=slot, seed=PLAN.seed, values=values)
        for place, slot in enumerate(("generator", "discriminator"))
    )
    return engine.create_trainer(G, D, Telling(), plan, IMAGES, None)


def moments(trainer: Any, framework: str) -> list[np.ndarray]:
    """Of both optimizers."""
    if framework == "torch":
        states = [*trainer.g_optimizer.state.values(), *trainer.d_optimizer.state.values()]
        return [value.numpy() for state in states for name, value in state.items() if name.startswith("exp")]
    optimizers = trainer.phases.g_optimizer, trainer.phases.d_optimizer
    named = [variable for optimizer in optimizers for variable in optimizer.variables]
    return [variable.numpy() for variable in named if variable.name.endswith(("momentum", "velocity"))]


def test_a_rise_adds_layers_and_starts_the_moments_anew(trainer: Any, engine: Any, framework: str) -> None:
    for step in range(3):
        trainer.step(step, step * BATCH, {"resolution": 4, "fade": 1.0})
    before = engine.read_weights(trainer.G)
    assert {value.size for value in before.values()} == {LATENT * 16, 16}
    assert any(np.abs(moment).max() > 0 for moment in moments(trainer, framework))

    trainer.grow({"resolution": 8, "fade": 0.0})
    after = engine.read_weights(trainer.G)
    assert sum(value.size for value in after.values()) == (LATENT + 1) * (16 + 64)
    assert all(np.array_equal(after[name], value) for name, value in before.items())
    assert all(np.abs(moment).max() == 0 for moment in moments(trainer, framework))

    trainer.step(3, 3 * BATCH, {"resolution": 8, "fade": 0.5})
    assert any(np.abs(moment).max() > 0 for moment in moments(trainer, framework))
    moved = engine.read_weights(trainer.G)
    assert not any(np.array_equal(moved[name], value) for name, value in after.items())


def test_a_batch_in_parts_grows_along(engine: Any, framework: str) -> None:
    """Its sums of gradients are made anew with the layers, and new layers join the average."""
    trainers = [make_trainer(engine, framework, change(PLAN, accumulate=parts)) for parts in (2, 1)]
    for trainer in trainers:
        for step, (resolution, fade) in enumerate(((4, 1.0), (4, 1.0), (8, 0.5), (8, 1.0))):
            trainer.step(step, step * BATCH, {"resolution": resolution, "fade": fade})
    found, expected = (trainer.read_state() for trainer in trainers)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def test_moments_stay_while_the_resolution_does(trainer: Any, framework: str) -> None:
    trainer.step(0, 0, {"resolution": 4, "fade": 1.0})
    first = trainer.g_optimizer if framework == "torch" else trainer.phases.g_optimizer
    trainer.step(1, BATCH, {"resolution": 4, "fade": 0.5})
    assert first is (trainer.g_optimizer if framework == "torch" else trainer.phases.g_optimizer)


@pytest.mark.parametrize(("resolution", "fade"), [(4, 1.0), (8, 0.25), (16, 0.0), (16, 1.0)])
def test_real_images_shrink_and_fade_alike(trainer: Any, resolution: int, fade: float) -> None:
    """Means of squares, and fade * real + (1 - fade) * real at half the size, enlarged again."""
    trainer.step(0, 0, {"resolution": resolution, "fade": fade})
    order = Stream(len(IMAGES), seed=PLAN.seed, purpose="data").take_indices(0, BATCH)
    real = IMAGES[order].astype(np.float64)[..., 0] / 127.5 - 1

    def means(images: np.ndarray, side: int) -> np.ndarray:
        step = images.shape[1] // side
        return np.array(
            [
                [[image[y : y + step, x : x + step].mean() for x in range(0, len(image), step)]
                 for y in range(0, len(image), step)]
                for image in images
            ]
        )  # fmt: skip

    small = means(real, resolution)
    coarse = means(small, resolution // 2).repeat(2, axis=1).repeat(2, axis=2)
    expected = fade * small + (1 - fade) * coarse
    told = trainer.pop_means()
    assert told["discriminator/sum"] == pytest.approx(expected.sum(), rel=1e-4, abs=1e-3)
    assert told["discriminator/squares"] == pytest.approx((expected**2).sum(), rel=1e-5)
    assert told["discriminator/first"] == pytest.approx(expected[0, 0, 0], rel=1e-5, abs=1e-6)


def test_the_average_grows_along_and_keeps_what_it_had(trainer: Any, engine: Any, framework: str) -> None:
    for step in range(3):
        trainer.step(step, step * BATCH, {"resolution": 4, "fade": 1.0})
    before = engine.read_weights(trainer.inference_generator)
    assert not any(np.array_equal(engine.read_weights(trainer.G)[name], value) for name, value in before.items())
    trainer.grow({"resolution": 8, "fade": 0.0})
    after = engine.read_weights(trainer.inference_generator)
    for name, value in engine.read_weights(trainer.G).items():
        assert np.array_equal(after[name], before.get(name, value))


def test_drawing_at_each_resolution(trainer: Any, engine: Any) -> None:
    z = np.ones((2, LATENT), np.float32)
    for step, resolution in enumerate((4, 8, 16)):
        values = {"resolution": resolution, "fade": 1.0}
        trainer.step(step, step * BATCH, values)
        assert engine.draw(trainer.inference_generator, z, None, values).shape == (2, resolution, resolution, 1)


def test_a_saved_network_is_grown_first_and_then_loaded(trainer: Any, engine: Any, framework: str) -> None:
    """From 4 to 16 pixels at once, where the run went by 8."""
    for step, resolution in enumerate((4, 8, 16)):
        values = {"resolution": resolution, "fade": 0.5}
        trainer.step(step, step * BATCH, values)
    tensors = engine.read_weights(trainer.inference_generator)
    make = torch_networks if framework == "torch" else tensorflow_networks
    spec = gz.Spec(**SPEC, framework=framework)
    other = engine.build(lambda: make()[0], spec=spec, slot="generator", seed=99, values=values)
    found = {name: (str(value.dtype), value.shape) for name, value in tensors.items()}
    assert engine.describe_weights(other) == found
    engine.load_weights(other, tensors)
    z = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, LATENT)
    drawn = engine.draw(trainer.inference_generator, z, None, values)
    assert np.array_equal(engine.draw(other, z, None, values), drawn)


def test_new_layers_come_from_the_seed_whenever_they_come(engine: Any, framework: str) -> None:
    make = torch_networks if framework == "torch" else tensorflow_networks
    spec = gz.Spec(**SPEC, framework=framework)

    def built(seed: int) -> list[np.ndarray]:
        random.random()  # whatever state the process is in
        network = engine.build(
            lambda: make()[0], spec=spec, slot="generator", seed=seed, values={"resolution": 8, "fade": 1.0}
        )
        return list(engine.read_weights(network).values())

    first, again, other = built(1), built(1), built(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_resolution_beyond_the_images_is_refused(trainer: Any) -> None:
    with pytest.raises(gz.UsageError, match="resolution of 32, which images of 16×16 pixels"):
        trainer.step(0, 0, {"resolution": 32, "fade": 1.0})


@pytest.mark.parametrize(
    ("size", "resolution", "times"), [((32, 32), 32, 0), ((32, 32), 4, 3), ((16, 32), 8, 2), ((96, 96), 3, 5)]
)
def test_halvings(size: tuple[int, int], resolution: int, times: int) -> None:
    assert count_halvings(size, resolution) == times


@pytest.mark.parametrize(("size", "resolution"), [((28, 28), 4), ((32, 32), 64), ((32, 32), 0), ((32, 18), 8)])
def test_sizes_that_do_not_halve_are_refused(size: tuple[int, int], resolution: int) -> None:
    with pytest.raises(gz.UsageError, match=f"resolution of {resolution}, which images of {size[0]}×{size[1]}"):
        count_halvings(size, resolution)
