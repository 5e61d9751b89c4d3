"""What `step.every` and `step.log` refuse, in a sentence that names the way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

from ganzoo_core.engines.loss_services import LossServices, PlainServices, Round
from ganzoo_core.engines.loss_step import BoundDiscriminator
from ganzoo_core.engines.tensorflow.graph_step import GraphServices
from ganzoo_core.engines.tensorflow.ops import TensorFlowOps
from ganzoo_core.engines.torch.ops import TorchOps
from ganzoo_core.errors import PluginError


def make_torch_services(D: BoundDiscriminator) -> LossServices:
    return PlainServices(D, TorchOps("cpu"), Round(0, 0), lambda network: {})


def make_tensorflow_services(D: BoundDiscriminator) -> LossServices:
    return GraphServices(D, TensorFlowOps(), Round(tf.constant(0, tf.int64), tf.constant(0, tf.int64)), lambda _: {})


@pytest.fixture(params=[make_torch_services, make_tensorflow_services], ids=["torch", "tensorflow"])
def services(request: Any) -> LossServices:
    make: Callable[[BoundDiscriminator], LossServices] = request.param
    return make(BoundDiscriminator(lambda images, arguments: images, {}, real=None, fake=None))


@pytest.mark.parametrize("n", [0, -1, 2.5, 2.0, True, "16", None, 2**63])
def test_a_period_is_a_whole_number_of_rounds(services: LossServices, n: Any) -> None:
    with pytest.raises(PluginError, match=r"step\.every with n = .*; expected a whole number of rounds, at least 1"):
        services.every(n, lambda: 1.0)


@pytest.mark.parametrize("term", [1.0, torch.ones(()), tf.ones(()), None])
def test_a_lazy_term_is_a_function(services: LossServices, term: Any) -> None:
    with pytest.raises(PluginError, match=r"step\.every gets .* as its term; expected a function, .*lambda"):
        services.every(16, term)


@pytest.mark.parametrize("value", [None, "high", [1.0], 1j, {}, np.array("high"), np.array(None)])
def test_a_scalar_is_a_number(services: LossServices, value: Any) -> None:
    with pytest.raises(PluginError, match=r"step\.every gets .* from its term; expected a scalar"):
        services.every(1, lambda: value)
    with pytest.raises(PluginError, match=r"step\.log gets .* as 'x'; expected a scalar"):
        services.log("x", value)


@pytest.mark.parametrize("value", [1, True, 1.5, np.float64(2), np.array(3), torch.ones(()), np.int64(2)])
def test_any_number_is_a_scalar(value: Any) -> None:
    services = make_torch_services(BoundDiscriminator(lambda x, arguments: x, {}, real=None, fake=None))
    services.log("x", value)
    assert float(services.every(1, lambda: value)) == float(value)
