"""Spectral normalisation: the singular values, how u moves, what is saved, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import ganzoo_core as gz
from ganzoo_core.engines.torch.ops import TorchOps

IMAGES = (6, 1, 8, 8)


class Discriminator(nn.Module):
    """One layer of each kind that can be normalised, and a batch norm that cannot."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(1, 4, 4, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.up = nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1)
        self.last = nn.Linear(3 * 64, 1)
        self.label = nn.Embedding(5, 3)
        nn.init.normal_(self.down.weight, 0, 2.0)

    def forward(self, images):
        h = torch.tanh(self.norm(self.down(images)))
        h = torch.tanh(self.up(h)) * self.label(torch.arange(len(images)) % 5)[:, :, None, None]
        return self.last(h.flatten(1)).squeeze(1)


def make(modify, network=None, **settings):
    torch.manual_seed(0)
    return modify("build_discriminator", Discriminator() if network is None else network, "spectral-norm", **settings)


def flattened(layer, weight):
    """A weight as the paper flattens it: one row an output channel (torch's transposed convolution has it second)."""
    weight = weight.detach().numpy()
    if isinstance(layer, nn.ConvTranspose2d):
        weight = weight.swapaxes(0, 1)
    return weight.reshape(len(weight), -1)


def matrix(layer):
    return flattened(layer, layer.weight)


def original_matrix(layer):
    return flattened(layer, layer.parametrizations.weight.original)


def layers(D):
    return [D.down, D.up, D.last, D.label]


def vectors(layer):
    power = layer.parametrizations.weight[0]
    return power._u.numpy().copy(), power._v.numpy().copy()


def test_every_largest_singular_value_becomes_one(modify):
    D = make(modify)
    for _ in range(100):
        D(torch.randn(IMAGES))
    D.eval()
    for layer in layers(D):
        assert np.linalg.svd(matrix(layer), compute_uv=False)[0] == pytest.approx(1, abs=1e-3)


def test_the_network_stays_the_same_native_module(modify):
    network = Discriminator()
    D = make(modify, network)
    assert D is network
    assert isinstance(D.down, nn.Conv2d)
    assert D.training
    assert len(list(D.parameters())) == len(list(Discriminator().parameters()))
    assert not hasattr(D.norm, "parametrizations")


@pytest.mark.parametrize("iterations", [1, 3])
def test_the_power_iteration_by_hand(modify, iterations):
    D = make(modify, iterations=iterations)
    before = [vectors(layer) for layer in layers(D)]
    D(torch.randn(IMAGES))
    after = [vectors(layer) for layer in layers(D)]
    D.eval()
    for layer, (_, v), (u_found, v_found) in zip(layers(D), before, after, strict=True):
        raw = original_matrix(layer)
        for _ in range(iterations):
            u = raw @ v / np.linalg.norm(raw @ v)
            v = raw.T @ u / np.linalg.norm(raw.T @ u)
        np.testing.assert_allclose(u_found, u, atol=1e-5)
        np.testing.assert_allclose(v_found, v, atol=1e-5)
        np.testing.assert_allclose(matrix(layer), raw / (u @ raw @ v), rtol=1e-4, atol=1e-6)


def test_vectors_rest_in_eval(modify):
    D = make(modify)
    for layer in layers(D):  # early u still moves a good deal
        nn.init.normal_(layer.parametrizations.weight.original)
    D.eval()
    before = [vectors(layer) for layer in layers(D)]
    D(torch.randn(IMAGES))
    assert all((a == b).all() for old, layer in zip(before, layers(D), strict=True)
               for a, b in zip(old, vectors(layer), strict=True))  # fmt: skip
    D.train()(torch.randn(IMAGES))
    assert any((old[0] != vectors(layer)[0]).any() for old, layer in zip(before, layers(D), strict=True))


def test_scores_and_gradient_move_the_vectors_once(modify):
    D, once = make(modify), make(modify)
    x = torch.randn(IMAGES)
    _, gradient = TorchOps("cpu").score_and_gradient(D, x)
    once(x)
    for ours, theirs in zip(layers(D), layers(once), strict=True):
        assert all((a == b).all() for a, b in zip(vectors(ours), vectors(theirs), strict=True))
    # Two more forwards between must not spoil the graph, as D(real), D(fake) and a penalty do in one step.
    D(x)
    D(-x)
    gradient.square().sum().backward()
    assert torch.isfinite(D.down.parametrizations.weight.original.grad).all()


def test_vectors_are_saved_with_the_network(modify):
    D = make(modify)
    for _ in range(3):
        D(torch.randn(IMAGES))
    state = {name: tensor.clone() for name, tensor in D.state_dict().items()}
    assert sum(name.endswith("._u") for name in state) == 4
    torch.manual_seed(99)
    other = modify("build_discriminator", Discriminator(), "spectral-norm")
    other.load_state_dict(state)
    x = torch.randn(IMAGES)
    assert torch.equal(D.eval()(x), other.eval()(x))
    assert torch.equal(D.train()(x), other.train()(x))


def test_gradient_of_the_normalised_weight(modify):
    """With u and v held, ∂/∂W of c·(W/σ), σ = uᵀWv, is c/σ - (c·W/σ²) u vᵀ (the paper's equation 12 rearranged)."""
    D = make(modify, nn.Sequential(nn.Linear(3, 2, bias=False), nn.Flatten(0))).eval()
    layer, c = D[0], torch.tensor([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]])
    (layer.weight * c).sum().backward()
    W, (u, v) = original_matrix(layer), vectors(layer)
    sigma = u @ W @ v
    expected = c.numpy() / sigma - (c.numpy() * W).sum() / sigma**2 * np.outer(u, v)
    np.testing.assert_allclose(layer.parametrizations.weight.original.grad.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_second_spectral_norm_is_refused(modify):
    with pytest.raises(gz.UsageError, match=r"spectral normalisation already \(in down\)"):
        make(modify, make(modify))


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
def test_torchs_older_spectral_norm_is_refused(modify):
    network = Discriminator()
    nn.utils.spectral_norm(network.last)
    with pytest.raises(gz.UsageError, match=r"already \(in last\)"):
        make(modify, network)


def test_a_discriminator_without_layers_is_refused(modify):
    with pytest.raises(gz.UsageError, match="found no convolution"):
        make(modify, nn.Flatten())


def test_weights_that_begin_at_0_are_refused(modify):
    """Their largest singular value is 0, and 0 / 0 no weight."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    nn.init.zeros_(network[1].weight)
    with pytest.raises(gz.UsageError, match=r"the weights of 1 in this discriminator begin at 0, .*: leave out"):
        modify("build_discriminator", network, "spectral-norm")
    with torch.device("meta"):  # networks are counted before they are built
        modify("build_discriminator", nn.Sequential(nn.Linear(3, 1)), "spectral-norm")


def test_no_iterations_are_refused(modify):
    with pytest.raises(gz.UsageError, match=r"with\.spectral-norm\.iterations is 0"):
        make(modify, iterations=0)
