"""A model whose weights have unusual shapes."""

from __future__ import annotations

from typing import Any

import ganzoo_core as gz


@gz.hookimpl
def build_generator(spec: gz.Spec, options: gz.Options) -> Any:
    import torch
    from torch import nn

    class Generator(nn.Module):
        """A dense layer, and a convolution over a depth of one: its weight is [C,C,1,3,3]."""

        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(spec.latent_dim, spec.channels * spec.height * spec.width)
            self.last = nn.Conv3d(spec.channels, spec.channels, (1, 3, 3), padding=(0, 1, 1))

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            hidden = torch.relu(self.first(z)).reshape(-1, spec.channels, 1, spec.height, spec.width)
            return torch.tanh(self.last(hidden)[:, :, 0])

    return Generator()


@gz.hookimpl
def build_discriminator(spec: gz.Spec, options: gz.Options) -> Any:
    import torch
    from torch import nn

    width = options["width"]

    class Discriminator(nn.Module):
        """A convolution with its bias as a tensor of its own, and two heads beside the scores."""

        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(spec.channels, width, 4, 2, 1, bias=False)
            self.bias = nn.Parameter(torch.randn(width, 1, 1) * 0.1)
            self.row = nn.Parameter(torch.randn(1, width * spec.height * spec.width // 4) * 0.1)
            self.score = nn.Linear(self.row.shape[1], 1)
            self.classes = nn.Linear(self.row.shape[1], 3)

        def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            hidden = nn.functional.leaky_relu(self.convolution(images) + self.bias, 0.2).flatten(1)
            hidden = nn.functional.leaky_relu(hidden + self.row, 0.2)
            return {"scores": self.score(hidden), "classes": self.classes(hidden), "features": hidden}

    return Discriminator()
