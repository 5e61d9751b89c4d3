"""The contract's PyTorch code: tiny networks, and functions that call and inspect networks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from ganzoo_core.api import Spec
from ganzoo_core.engines.loss_step import as_outputs
from ganzoo_core.engines.torch.forward import as_keywords, call_network, to_condition

CPU = torch.device("cpu")


class Generator(nn.Module):
    """z [N,8] (, labels [N], source [N,1,8,8]) -> images [N,1,8,8] in [-1, 1]."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.conditional = spec.classes > 0
        self.conditions = tuple(spec.conditions)
        self.embedding = nn.Embedding(spec.classes, 8) if spec.classes else None
        self.layers = nn.Sequential(
            nn.Linear(spec.latent_dim, 32),  # [N,32]
            nn.ReLU(),
            nn.Linear(32, spec.channels * spec.height * spec.width),  # [N,64]
            nn.Tanh(),
            nn.Unflatten(1, (spec.channels, spec.height, spec.width)),
        )
        self.mix = nn.Conv2d(spec.channels, spec.channels, 3, padding=1) if spec.conditions else None

    def forward(
        self, z: torch.Tensor, labels: torch.Tensor | None = None, *, source: torch.Tensor | None = None
    ) -> torch.Tensor:
        if self.embedding is not None:
            z = z + self.embedding(labels)
        out: torch.Tensor = self.layers(z)
        return out if self.mix is None else torch.tanh(out + self.mix(source))


class Discriminator(nn.Module):
    """Images [N,1,8,8] (, labels [N], source [N,1,8,8]) -> scores [N], with `classes` and `features` if requested."""

    def __init__(self, spec: Spec, *, features: Collection[str]) -> None:
        super().__init__()
        self.conditional = spec.classes > 0
        self.has, self.conditions = dict.fromkeys(features, True), tuple(spec.conditions)
        channels = spec.channels * (1 + len(spec.conditions))
        self.body = nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1), nn.LeakyReLU(0.2), nn.Flatten())  # [N,128]
        self.score = nn.Linear(8 * (spec.height // 2) * (spec.width // 2), 1)
        self.classes = nn.Linear(self.score.in_features, spec.classes) if spec.classes else None

    def forward(
        self, images: torch.Tensor, labels: torch.Tensor | None = None, *, source: torch.Tensor | None = None
    ) -> Any:
        hidden = self.body(images if source is None else torch.cat([images, source], dim=1))
        scores = self.score(hidden)[:, 0]
        if not self.has:
            return scores
        return {"scores": scores, "features": hidden, **({"classes": self.classes(hidden)} if self.classes else {})}


def make_networks(spec: Spec, features: Collection[str]) -> tuple[Generator, Discriminator]:
    """G and D, with the same weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Generator(spec), Discriminator(spec, features=features)


def draw_images(
    G: nn.Module, z: np.ndarray, given: Mapping[str, np.ndarray], values: Mapping[str, float]
) -> np.ndarray:
    """Call G in evaluation mode, with labels and conditions: float [N,H,W,C], in G's own dtype."""
    with torch.no_grad():
        out = call_network(G.eval(), torch.from_numpy(z), _to_arguments(given, values))
    G.train()
    images: np.ndarray = out.permute(0, 2, 3, 1).contiguous().numpy() if out.dim() == 4 else out.numpy()
    return images


def call_discriminator(
    D: nn.Module, pixels: np.ndarray, given: Mapping[str, np.ndarray], values: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Call D in evaluation mode; return its outputs by name."""
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    with torch.no_grad():
        out = call_network(D.eval(), x, _to_arguments(given, values))
    D.train()
    named = out if isinstance(out, Mapping) else {"scores": out}
    return {name: tensor.numpy() for name, tensor in named.items()}


def differentiate(
    D: nn.Module, pixels: np.ndarray, given: Mapping[str, np.ndarray], values: Mapping[str, float]
) -> np.ndarray:
    """The gradient of the sum of D's scores in evaluation mode with respect to the images, as float32."""
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).requires_grad_()
    scores = as_outputs(call_network(D.eval(), x, _to_arguments(given, values)))["scores"]
    D.train()
    gradient: np.ndarray = torch.autograd.grad(scores.sum(), x)[0].numpy()
    return gradient


@contextlib.contextmanager
def change_weight(network: nn.Module, key: int, change: Callable[[np.ndarray], np.ndarray]) -> Iterator[None]:
    """Change a parameter, named by its key in `list_learnable`; put it back at the end."""
    weight = next(tensor for tensor in network.parameters() if id(tensor) == key)
    old = weight.detach().numpy().copy()
    with torch.no_grad():
        weight.copy_(torch.from_numpy(change(old)))
        try:
            with torch.enable_grad():
                yield
        finally:
            weight.copy_(torch.from_numpy(old))


def _to_arguments(given: Mapping[str, np.ndarray], values: Mapping[str, float]) -> dict[str, Any]:
    tensors = {name: to_condition(torch.from_numpy(rows), torch.contiguous_format) for name, rows in given.items()}
    return {**tensors, **as_keywords(values, CPU)}


def list_learnable(network: nn.Module) -> dict[int, tuple[str, np.ndarray]]:
    """Every learnable parameter: `id` -> name and value."""
    named = network.named_parameters()
    return {id(tensor): (name, tensor.detach().numpy().copy()) for name, tensor in named if tensor.requires_grad}


def has_batchnorm(network: nn.Module) -> bool:
    """Whether the network has a batch norm layer."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def read_global_state() -> dict[str, Any]:
    """Global state that a plugin must not change, by name."""
    return {
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "torch's anomaly mode": torch.is_anomaly_enabled(),
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
    }


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """Convert an array to a tensor."""
    return torch.from_numpy(array)
