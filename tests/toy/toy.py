"""A toy framework: networks of one dense layer, in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

random = np.random.default_rng(0)


class Network:
    """x [N,…] -> x @ kernel + bias, [N, outputs]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        kernel = random.normal(0, 0.1, (inputs, outputs)).astype(np.float32)
        self.weights = {"kernel": kernel, "bias": np.zeros(outputs, np.float32)}

    def __call__(self, x: np.ndarray) -> Any:
        return x.reshape(len(x), -1) @ self.weights["kernel"] + self.weights["bias"]


class Generator(Network):
    """z [N,L] -> images [N,H,W,C] in (-1, 1)."""

    def __init__(self, latent_dim: int, shape: tuple[int, int, int]) -> None:
        super().__init__(latent_dim, int(np.prod(shape)))
        self.shape = shape

    def __call__(self, z: np.ndarray) -> Any:
        return np.tanh(super().__call__(z)).reshape(-1, *self.shape)


class Discriminator(Network):
    """Images [N,H,W,C] -> scores [N]."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__(int(np.prod(shape)), 1)

    def __call__(self, images: np.ndarray) -> Any:
        return super().__call__(images)[:, 0]
