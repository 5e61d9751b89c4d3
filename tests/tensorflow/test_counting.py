"""Networks of Keras are counted while they are built, and come out as they would uncounted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import ganzoo_core as gz
from ganzoo_core import building, engines, mix
from ganzoo_core.discovery import catalog
from ganzoo_core.engines import size_limits
from ganzoo_core.engines.size_limits import NetworkTooLarge
from ganzoo_core.engines.tensorflow import network_size
from ganzoo_core.settings import read_engine_settings

SPEC = gz.Spec(height=16, width=16, channels=1, classes=0, latent_dim=8, framework="tensorflow")


def engine(limit: int = size_limits.DEFAULT_MAX_PARAMETERS) -> Any:
    given = {"engine.device": "cpu", "engine.threads": 2, "engine.max_parameters": limit}
    return engines.create_engine("tensorflow", read_engine_settings(given))


def build(make: Callable[[], Any], limit: int = size_limits.DEFAULT_MAX_PARAMETERS, **values: float) -> Any:
    return engine(limit).build(make, spec=SPEC, slot="generator", seed=5, values=values)


def unbuilt() -> Any:
    """A model whose variables are made when it is called first; dropout keeps a seed."""
    return keras.Sequential(
        [keras.layers.Dense(30), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5), keras.layers.Dense(4)]
    )


def functional() -> Any:
    x = z = keras.Input((8,))
    for units in (30, 4):
        x = keras.layers.Dense(units, kernel_initializer=keras.initializers.Orthogonal())(x)
    return keras.Model(z, x)


class Measured(keras.Model):
    """Its weights come from numpy, scaled by what they are: neither can be had in a graph."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.kernel = self.add_weight(shape=(8, side), initializer=self.drawn, name="kernel")

    def drawn(self, shape: Any, dtype: Any = None) -> Any:
        drawn = tf.constant(np.random.default_rng(0).standard_normal(shape, np.float32))
        return drawn / float(tf.reduce_max(drawn).numpy())

    def call(self, z: Any) -> Any:
        return z @ self.kernel


class Growing(keras.Model):
    """16 pixels have a layer of `side` weights that 8 have not."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side, self.grown, self.built = side, 8, True
        self.first = self.add_weight(shape=(8, 4), name="first")

    def grow(self, resolution: int) -> None:
        if resolution == 16 and self.grown == 8:
            self.grown, self.last = 16, self.add_weight(shape=(self.side,), name="last")

    def call(self, z: Any, resolution: int = 16) -> Any:
        return z @ self.first


@pytest.mark.parametrize("make", [unbuilt, functional])
@pytest.mark.parametrize("early", [size_limits.SMALL_NETWORK, 10])
def test_a_counted_network_has_the_same_bytes(
    make: Callable[[], Any], early: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is built at once, or counted first since it is large."""
    ours = engine()
    with ours.use_seed(5, "weights of the generator"):
        network = make()
        network(tf.zeros((2, 8)))
    expected = {name: array.tobytes() for name, array in ours.read_weights(network).items()}
    seeds = [variable.numpy().tolist() for variable in network.variables if "seed" in variable.path]
    monkeypatch.setattr(size_limits, "SMALL_NETWORK", early)
    built = build(make)
    assert {name: array.tobytes() for name, array in ours.read_weights(built).items()} == expected
    assert [variable.numpy().tolist() for variable in built.variables if "seed" in variable.path] == seeds
    assert built(tf.zeros((2, 8)), training=True).shape == (2, 4)


def test_nothing_is_left_behind() -> None:
    plain = keras.Variable.__init__, keras.layers.Layer.__init__
    with pytest.raises(NetworkTooLarge):
        build(functional, limit=100)
    assert (keras.Variable.__init__, keras.layers.Layer.__init__) == plain
    assert tf.executing_eagerly()
    with keras.StatelessScope():  # which makes all variables that wait for it
        pass
    assert keras.random.normal((2,)).shape == (2,)


@pytest.mark.parametrize("name", ["dcgan-tf", "convgan-tf", "progan-tf"])
def test_bundled_models_are_counted_as_they_are_built(name: str) -> None:
    resolved = mix.resolve(catalog.scan(), mix.Request(picks={"model": name, "data": "digits"}))
    fitted = building.fit_from_card(resolved)
    assert fitted is not None
    whole = building.make_full_resolution_values(fitted)
    for slot in ("generator", "discriminator"):
        counts: list[int] = []
        for without_memory in (True, False):
            found = size_limits.SizeCounter(None, 10**6)
            with network_size.watch_construction(found, without_memory):
                values = building.network_kwargs(resolved, slot, whole)
                network = building.call_slot(resolved, slot, engine().find_network_problem, spec=fitted.spec)
                if hasattr(network, "grow"):
                    network.grow(values["resolution"])
                engine()._call_once(network, fitted.spec, slot, values)
            counts.append(found.numbers)
        expected = sum(int(np.prod(variable.shape)) for variable in network.variables)
        assert counts == [expected, expected]


def test_an_initialisation_that_needs_numbers_is_counted_while_it_is_built() -> None:
    side = 2_500_000  # 20 million weights: more than are built at once
    assert (
        size_limits.count_without_memory(
            size_limits.DEFAULT_MAX_PARAMETERS, lambda: Measured(side), network_size.watch_construction
        )
        is None
    )
    assert build(lambda: Measured(side)).kernel.shape == (8, side)
    with pytest.raises(NetworkTooLarge, match="would have at least 20,000,000 parameters"):
        build(lambda: Measured(side), limit=18_000_000)


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.Sequential([keras.Input((8,)), *(keras.layers.Dense(8) for _ in range(10**9))]),
        lambda: keras.Sequential([keras.Input((8,)), *(keras.layers.ReLU() for _ in range(10**9))]),
    ],
    ids=["dense", "relu"],
)
def test_a_thousand_million_layers_end_soon(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_limits, "MIN_LAYER_LIMIT", 100)
    with pytest.raises(
        NetworkTooLarge, match=r"would have more than 100 layers, and engine.max_parameters is 1,000,000"
    ):
        build(make, limit=10**6)


def test_numbers_beyond_64_bits_are_told() -> None:
    for units in (10**12, 2**70):
        with pytest.raises(
            NetworkTooLarge, match=r"the generator (would have (at least )?[\d,]+ parameters|takes more memory)"
        ):
            build(lambda units=units: keras.Sequential([keras.Input((8,)), keras.layers.Dense(units)]))


def test_a_growing_network_counts_as_large_as_it_will_be() -> None:
    assert build(lambda: Growing(300), limit=32 + 300, resolution=8).grown == 8
    with pytest.raises(NetworkTooLarge, match="the generator, fully grown, would have 332 parameters"):
        build(lambda: Growing(300), limit=32 + 299, resolution=8)


def test_a_network_of_the_users_is_not_grown_to_be_counted() -> None:
    given = Growing(300)
    assert build(lambda: given, resolution=8) is given
    assert given.grown == 8
