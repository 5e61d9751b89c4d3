"""`with.spectral-norm.networks`: D alone, G alone or both; what a normalised G draws, also from its average."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from keras import layers
from torch import nn

import ganzoo_core as gz
from ganzoo_core import cli
from ganzoo_core.engines.tensorflow.networks import EmaNetwork
from ganzoo_core.runs import layout
from ganzoo_core.storage.tensors import read_all_tensors

BOTH = ["discriminator", "generator"]
SLOTS = {"build_generator": "generator", "build_discriminator": "discriminator"}


def network(framework: str):
    """A matrix with rows of two lengths, a bias, batch norm, and another matrix."""
    if framework == "torch":
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), layers.Dense(6), layers.BatchNormalization(), layers.Dense(3)])


def call(net, x, framework: str, *, training: bool) -> np.ndarray:
    if framework == "torch":
        return net.train(training)(torch.from_numpy(x)).detach().numpy()
    return np.array(net(tf.constant(x), training=training))


def is_normalised(net) -> bool:
    if isinstance(net, nn.Module):
        return any(name.endswith("._u") for name, _ in net.named_buffers())
    return any(weight.name.endswith("_u") for weight in net.weights)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("chosen", [None, ["discriminator"], ["generator"], BOTH])
@pytest.mark.parametrize("hook", SLOTS)
def test_the_networks_that_are_chosen_are_normalised(modify, framework, chosen, hook):
    settings = {} if chosen is None else {"networks": chosen}
    given, wanted = network(framework), SLOTS[hook] in (chosen or ["discriminator"])
    found = modify(hook, given, "spectral-norm", framework, **settings)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    assert wanted or found is given
    for step in range(30 if wanted else 1):
        call(found, x, framework, training=True)
        assert is_normalised(found) == wanted, step
    if not wanted:
        return
    matrices = [layer.weight.detach().numpy() for layer in (found[0], found[2])] if framework == "torch" else []
    for weight in [] if framework == "torch" else found._normalised.values():
        matrices.append(np.array(weight.normalise()))
    assert len(matrices) == 2
    for matrix in matrices:
        assert np.linalg.svd(matrix, compute_uv=False)[0] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("hook", SLOTS)
def test_no_network_is_refused(modify, hook):
    with pytest.raises(gz.UsageError, match=r"networks is empty; expected discriminator, generator or both"):
        modify(hook, network("torch"), "spectral-norm", networks=[])


def test_a_network_that_is_neither_is_refused_before_anything_is_built(capsys):
    words = ["run", "dcgan-torch", "--dry-run", "--with", "spectral-norm", "--set", "with.spectral-norm.networks=G"]
    assert cli.main(words) == 2
    told = capsys.readouterr().err
    assert "with.spectral-norm.networks" in told
    assert "discriminator" in told


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_refusals_name_the_generator_and_what_to_type(modify, framework):
    normalised = modify("build_generator", network(framework), "spectral-norm", framework, networks=BOTH)
    with pytest.raises(gz.UsageError, match=r"this generator has spectral.*out of with\.spectral-norm\.networks"):
        modify("build_generator", normalised, "spectral-norm", framework, networks=BOTH)
    empty = nn.Flatten() if framework == "torch" else keras.Sequential([layers.Flatten()])
    with pytest.raises(gz.UsageError, match=r"in this generator: leave the generator out of"):
        modify("build_generator", empty, "spectral-norm", framework, networks=BOTH)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_weights_that_begin_at_0_are_refused_and_biases_that_do_are_not(modify, framework):
    given = network(framework)
    if framework == "torch":
        nn.init.zeros_(given[2].bias)
    modify("build_discriminator", given, "spectral-norm", framework)
    given = network(framework)
    if framework == "torch":
        nn.init.zeros_(given[2].weight)
    else:
        given.layers[-1].kernel.assign(np.zeros((6, 3)))
    with pytest.raises(gz.UsageError, match=r"in this discriminator begin at 0, .*: leave out --with spectral-norm"):
        modify("build_discriminator", given, "spectral-norm", framework)


def test_a_keras_layer_that_the_first_call_creates_is_looked_at_then(modify):
    given = keras.Sequential([layers.Dense(4, kernel_initializer="zeros")])
    normalised = modify("build_discriminator", given, "spectral-norm", "tensorflow")
    with pytest.raises(gz.UsageError, match=r"in this discriminator begin at 0"):
        normalised(np.ones((2, 3), np.float32))


def test_a_generator_saved_before_the_setting_was_there_is_as_it_was(modify):
    from ganzoo_modifiers import spectral_norm

    given = network("torch")
    assert spectral_norm._normalise_if_chosen(given, "generator", "torch", {"iterations": 1}) is given
    assert spectral_norm._normalise_if_chosen(given, "discriminator", "torch", {"iterations": 1}) is given
    assert is_normalised(given)


def test_in_tensorflow_an_average_is_drawn_with_all_of_its_weights(modify):
    """W/σ of the averaged W, and the averaged biases, scales and shifts beside it, which no scope may hide."""
    G = modify("build_generator", network("tensorflow"), "spectral-norm", "tensorflow", networks=["generator"])
    z = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    call(G, z, "tensorflow", training=True)
    ema = EmaNetwork(G)
    random = np.random.default_rng(1)
    w = {}
    for index, weight in enumerate(G.network.weights):
        w[index] = random.uniform(0.5, 1.5, weight.shape).astype(np.float32)
        ema.get_average(weight).assign(w[index])
    vectors = [weight.numpy() for weight in G.weights if weight.name.endswith(("_u", "_v"))]
    with ema.use_averages():
        found = call(G, z, "tensorflow", training=False)
    kernel1, bias1, scale, shift, mean, variance, kernel2, bias2 = w.values()
    (u1, v1, u2, v2) = vectors
    h = z @ kernel1 / (u1 @ kernel1.T @ v1) + bias1
    h = (h - mean) / np.sqrt(variance + 1e-3) * scale + shift
    np.testing.assert_allclose(found, h @ kernel2 / (u2 @ kernel2.T @ v2) + bias2, rtol=1e-4)
    assert not np.allclose(found, call(G, z, "tensorflow", training=False), rtol=1e-2)


def test_a_conditional_generator_is_called_with_its_labels(modify):
    class Conditional(keras.Model):
        def __init__(self):
            super().__init__()
            self.embedding, self.last = layers.Embedding(3, 4), layers.Dense(2)

        def call(self, z, labels, training=False):
            return self.last(z * self.embedding(labels))

    G = modify("build_generator", Conditional(), "spectral-norm", "tensorflow", networks=BOTH)
    z = tf.ones((3, 4))
    rows = np.array(gz.call_keras_network(G, z, {"labels": tf.constant([0, 1, 0], tf.int64)}, training=True))
    np.testing.assert_allclose(rows[0], rows[2], rtol=1e-6)
    assert not np.allclose(rows[0], rows[1], rtol=1e-2)


@pytest.mark.filterwarnings("default")
def test_a_run_keeps_the_vectors_and_what_it_saves_draws_as_it_did(tmp_path):
    small = {"model.width": 4, "model.latent_dim": 8, "data.size": 16, "train.batch_size": 8, "engine.threads": 1}
    settings = {**small, "use.with": "spectral-norm", "with.spectral-norm.networks": "discriminator,generator"}
    run = gz.train(
        "dcgan-torch", settings={**settings, "train.ema_halflife": 50}, steps=4, out=tmp_path / "run", quiet=True
    )
    weights = read_all_tensors(run.folder / layout.GENERATOR / layout.WEIGHTS)
    scales = {name.removesuffix(".original"): array for name, array in weights.items() if name.endswith(".original")}
    assert len(scales) == 3  # a matrix and two transposed convolutions, to 16 pixels
    drawn = gz.load(run.folder).generate(6, seed=2)
    assert np.array_equal(drawn, gz.load(run.folder).generate(6, seed=2))  # the vectors rest
    # The same generator, whose weights are W/σ from the start.
    G, _ = gz.build("dcgan-torch", settings=small)
    state = {name: torch.from_numpy(array) for name, array in weights.items() if "parametrizations" not in name}
    for name, original in scales.items():
        place, _, parameter = name.partition(".parametrizations.")
        axis = 1 if original.ndim == 4 else 0  # the output channels of a transposed convolution
        matrix = np.moveaxis(original, axis, 0).reshape(original.shape[axis], -1)
        u, v = weights[f"{name}.0._u"], weights[f"{name}.0._v"]
        state[f"{place}.{parameter}"] = torch.from_numpy(original / (u @ matrix @ v))
    G.load_state_dict(state)
    z = torch.from_numpy(gz.load(run.folder)._make_noise(6, 2))
    with torch.no_grad():
        expected = G.eval()(z).permute(0, 2, 3, 1).numpy()
    assert np.abs(drawn - np.clip((expected + 1) * 127.5, 0, 255)).max() < 1
