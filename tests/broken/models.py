"""Models that are each broken in one way; the part's name is the check that must catch it."""

from __future__ import annotations

import random
from typing import Any

import ganzoo_core as gz

LAST: list[Any] = []  # the first layer of the generator that was built last


@gz.hookimpl
def build_generator(name: str, spec: gz.Spec) -> Any:
    import torch
    from torch import nn

    channels = 3 if name == "sizes" else spec.channels
    if name == "global-state":
        random.random()
    if name == "mode":
        torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled(), warn_only=True)

    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(spec.latent_dim, 16)
            self.last = nn.Linear(16, channels * spec.height * spec.width)
            self.calls = 0
            if name == "gradients":
                self.forgotten = nn.Linear(4, 4)
            if name == "saved":
                self.register_buffer("unused", torch.zeros(3))

        def forward(self, z: Any, labels: Any = None, source: Any = None) -> Any:
            self.calls += 1
            if name == "same-seed":
                z = z + random.SystemRandom().random()
            out = self.last(torch.relu(self.first(z)))
            if name == "finite" and self.calls > 10:
                out = out * float("nan")
            if name == "resume":
                out = out / self.calls
            out = out * 9 if name == "bounds" else torch.tanh(out)
            return out.reshape(-1, channels, spec.height, spec.width)

    made = Generator()
    LAST[:] = [made.first]
    return made


@gz.hookimpl
def build_discriminator(name: str, spec: gz.Spec) -> Any:
    import torch
    from torch import nn

    class Once(torch.autograd.Function):
        """x, whose gradient cannot be differentiated again, without a word."""

        @staticmethod
        def forward(context: Any, x: Any) -> Any:
            return x.clone()

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            return gradient.detach()

    class Discriminator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            channels = 3 if name == "sizes" else spec.channels
            if name == "shared":
                self.borrowed = LAST[0]
            self.layers = nn.Sequential(
                nn.Flatten(),
                nn.Linear(channels * spec.height * spec.width, 16),
                nn.BatchNorm1d(16) if name == "features" else nn.Identity(),
                nn.LeakyReLU(0.2),
                nn.Linear(16, 1),
            )

        def forward(self, x: Any, labels: Any = None, source: Any = None) -> Any:
            if name == "sizes":
                x = x.expand(-1, 3, -1, -1)
            if name == "second-order":
                x = Once.apply(x)
            scores = self.layers(x)
            return scores + self.borrowed.weight.sum() if name == "shared" else scores

    return Discriminator()
