"""Networks of PyTorch are counted while they are built, and come out as they would uncounted."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

import ganzoo_core as gz
from ganzoo_core import engines
from ganzoo_core.engines import size_limits
from ganzoo_core.engines.size_limits import NetworkTooLarge, SizeCounter
from ganzoo_core.engines.torch import network_size
from ganzoo_core.settings import read_engine_settings

SPEC = gz.Spec(height=16, width=16, channels=1, classes=0, latent_dim=8, framework="torch")


def engine(limit: int = size_limits.DEFAULT_MAX_PARAMETERS) -> Any:
    given = {"engine.device": "cpu", "engine.threads": 1, "engine.max_parameters": limit}
    return engines.create_engine("torch", read_engine_settings(given))


def build(make: Callable[[], Any], limit: int = size_limits.DEFAULT_MAX_PARAMETERS, **values: float) -> Any:
    return engine(limit).build(make, spec=SPEC, slot="generator", seed=5, values=values)


def count(make: Callable[[], Any]) -> int:
    found = size_limits.count_without_memory(size_limits.DEFAULT_MAX_PARAMETERS, make, network_size.watch_construction)
    assert found is not None
    return found.numbers


class Tied(torch.nn.Module):
    """A weight under two names, one that was replaced, a buffer, and a parametrisation of one of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(30, 30, bias=False)
        self.second = torch.nn.Linear(30, 30, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("mean", torch.zeros(50))
        torch.nn.utils.parametrizations.weight_norm(self.first)


class Measured(torch.nn.Module):
    """Its weights come from numpy, and from what other weights are: neither can be had without numbers."""

    def __init__(self, side: int) -> None:
        super().__init__()
        start = torch.nn.Linear(side, side, bias=False)
        self.scale = float(start.weight.abs().max().item())
        drawn = np.random.default_rng(0).standard_normal((side, side), np.float32)
        self.weight = torch.nn.Parameter(torch.from_numpy(drawn) / self.scale)


class Growing(torch.nn.Module):
    """16 pixels have a layer of `side` squared weights that 8 have not."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side, self.grown = side, 8
        self.first = torch.nn.Linear(4, 4, bias=False)

    def grow(self, resolution: int) -> None:
        if resolution == 16 and self.grown == 8:
            self.grown, self.last = 16, torch.nn.Linear(self.side, self.side, bias=False)


def state(network: Any) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("early", [size_limits.SMALL_NETWORK, 10])
def test_a_counted_network_has_the_same_bytes(early: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is built at once, or counted first since it is large."""

    def make() -> Any:
        layers = [torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3)]
        torch.nn.init.orthogonal_(layers[2].weight)
        return torch.nn.Sequential(*layers, torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(3, 2)))

    monkeypatch.setattr(size_limits, "SMALL_NETWORK", early)
    with engine().use_seed(5, "weights of the generator"):
        expected = state(make())
    before = torch.random.get_rng_state()
    assert state(build(make)) == expected
    assert torch.equal(torch.random.get_rng_state(), before)


def test_nothing_is_left_behind() -> None:
    plain = torch.nn.Module.__init__
    with pytest.raises(NetworkTooLarge):
        build(lambda: torch.nn.Linear(100, 100), limit=100)
    assert torch.nn.Module.__init__ is plain
    assert torch.zeros(2).device.type == "cpu"
    assert not torch.nn.modules.module._global_parameter_registration_hooks
    assert not torch.nn.modules.module._global_buffer_registration_hooks


def test_threads_build_one_after_the_other() -> None:
    """What watches is put back by each in turn, and nobody counts what another builds."""
    plain = torch.nn.Module.__init__
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: build(lambda: torch.nn.Linear(10, 9), limit=99), range(64)))
    assert torch.nn.Module.__init__ is plain


def test_shared_and_replaced_weights_count_once() -> None:
    """The weight of both layers, its 30·30 of direction and 30 of length in the first, and 50 of the mean."""
    assert count(Tied) == 900 + 900 + 30 + 50
    build(Tied, limit=1880)
    with pytest.raises(NetworkTooLarge):
        build(Tied, limit=1879)


def test_an_initialisation_that_needs_numbers_is_counted_while_it_is_built() -> None:
    side = 5000  # 25 million weights: more than are built at once
    assert (
        size_limits.count_without_memory(
            size_limits.DEFAULT_MAX_PARAMETERS, lambda: Measured(side), network_size.watch_construction
        )
        is None
    )
    network = build(lambda: Measured(side))
    assert network.weight.shape == (side, side)
    assert network.weight.device.type == "cpu"
    with pytest.raises(NetworkTooLarge, match="would have at least 25,000,000 parameters"):
        build(lambda: Measured(side), limit=20_000_000)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nn.Sequential(*[torch.nn.Linear(1, 1) for _ in range(10**9)]),
        lambda: torch.nn.Sequential(*[torch.nn.ReLU() for _ in range(10**9)]),
        lambda: torch.nn.ModuleList(torch.nn.Conv2d(64, 64, 3) for _ in range(10**9)),
    ],
    ids=["linear", "relu", "convolution"],
)
def test_a_thousand_million_layers_end_soon(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_limits, "MIN_LAYER_LIMIT", 500)
    monkeypatch.setattr(size_limits, "SMALL_NETWORK", 10**6)
    with pytest.raises(
        NetworkTooLarge, match=r"would have more than 500 layers, and engine.max_parameters is 10,000,000"
    ):
        build(make, limit=10**7)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nn.Parameter(torch.eye(10**6)),
        lambda: torch.nn.Parameter(torch.arange(10**12, dtype=torch.float32)),
        lambda: torch.nn.Parameter(torch.zeros(3).new_empty(10**12)),
        lambda: torch.nn.Parameter(torch.randn(10**6, 10**6, device="cpu", generator=torch.Generator())),
    ],
    ids=["eye", "arange", "new_empty", "randn"],
)
def test_one_tensor_is_stopped_before_it_is_made(make: Callable[[], Any]) -> None:
    with pytest.raises(NetworkTooLarge, match=r"would have at least 1,000,000,000,000 parameters"):
        build(make)


def test_numbers_beyond_64_bits_are_told() -> None:
    with pytest.raises(NetworkTooLarge, match="takes more memory than there is"):
        build(lambda: torch.nn.Linear(2**70, 2))
    with pytest.raises(NetworkTooLarge, match=r"--set engine\.max_parameters=1e30"):
        build(lambda: torch.nn.Linear(10**15, 10**15, bias=False))


@pytest.mark.parametrize("early", [size_limits.SMALL_NETWORK, 100])
def test_a_growing_network_counts_as_large_as_it_will_be(early: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_limits, "SMALL_NETWORK", early)
    small = build(lambda: Growing(30), limit=16 + 900, resolution=8)
    assert small.grown == 8
    with pytest.raises(NetworkTooLarge, match="the generator, fully grown, would have 916 parameters"):
        build(lambda: Growing(30), limit=16 + 899, resolution=8)


def test_a_network_of_the_users_is_not_grown_to_be_counted() -> None:
    given = Growing(30)
    assert build(lambda: given, resolution=8) is given
    assert given.grown == 8


def test_lazy_layers_count_when_they_know_their_shape() -> None:
    found = SizeCounter(None, 100)
    with network_size.watch_construction(found, False):
        torch.nn.LazyLinear(3)
    assert found.numbers == 0
