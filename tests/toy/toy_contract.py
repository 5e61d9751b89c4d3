"""The contract's code for the toy framework, as `ganzoo_core.testing.native_torch` for PyTorch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import toy

from ganzoo_core.api import Spec


def make_networks(spec: Spec, features: Collection[str]) -> tuple[toy.Network, toy.Network]:
    toy.random = np.random.default_rng(0)
    shape = (spec.height, spec.width, spec.channels)
    return toy.Generator(spec.latent_dim, shape), toy.Discriminator(shape)


def draw_images(G: toy.Network, z: np.ndarray, labels: np.ndarray | None, values: Mapping[str, float]) -> Any:
    return G(z)


def call_discriminator(
    D: toy.Network, pixels: np.ndarray, labels: np.ndarray | None, values: Mapping[str, float]
) -> dict[str, Any]:
    return {"scores": D(pixels)}


def list_learnable(network: toy.Network) -> dict[int, tuple[str, np.ndarray]]:
    return {index: (name, array.copy()) for index, (name, array) in enumerate(network.weights.items())}


def has_batchnorm(network: toy.Network) -> bool:
    return False


def read_global_state() -> dict[str, Any]:
    return {}


def to_tensor(array: np.ndarray) -> np.ndarray:
    return array
