"""The two networks. G knows a pixel by its place alone, so it fits images of any height and width.

The sizes noted beside the layers are those of the defaults. N is the batch, P = H·W the number of pixels.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


def make_places(height: int, width: int) -> torch.Tensor:
    """The middles of all pixels, row by row: [P, 2], down and right, from -1 to 1."""
    down, right = (torch.arange(0.5, count) * (2 / count) - 1 for count in (height, width))
    return torch.stack(torch.meshgrid(down, right, indexing="ij"), -1).flatten(0, 1)


class Generator(nn.Module):
    """z [N, latent_dim] -> images [N,C,H,W] in [-1, 1].

    Args:
        size: H and W in pixels.
        channels: C.
        latent_dim: the length of z.
        width: of each hidden layer.
        waves: how many sines describe a place.
    """

    places: torch.Tensor

    def __init__(self, *, size: tuple[int, int], channels: int, latent_dim: int, width: int, waves: int) -> None:
        super().__init__()
        self.size = size
        # Not saved: it follows from the size.
        self.register_buffer("places", make_places(*size), persistent=False)  # [P,2]
        self.waves = nn.Linear(2, waves)  # their directions, wavelengths and phases, all learnt
        nn.init.normal_(self.waves.weight, std=5.0)  # up to a wave or two across the image
        layers = [waves, width, width, width]
        self.styles = nn.ModuleList(nn.Linear(latent_dim, inputs) for inputs in layers[:-1])
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(layers))
        self.colour = nn.Linear(width, channels)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        h = torch.sin(self.waves(self.places))  # [P,32], the same for each image
        for style, layer in zip(self.styles, self.hidden, strict=True):
            h = F.leaky_relu(layer(h * (1 + style(z))[:, None]), 0.2)  # [N,P,64]: z says how much of each there is
        return torch.tanh(self.colour(h)).transpose(1, 2).unflatten(2, self.size)


class Discriminator(nn.Module):
    """Images [N,C,H,W] in [-1, 1] -> raw scores [N]."""

    def __init__(self, *, size: tuple[int, int], channels: int, width: int) -> None:
        super().__init__()
        places = -(-size[0] // 4) * -(-size[1] // 4)  # two halvings, rounded up
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=2, padding=1),  # [N,64,4,4] of 8x8 pixels
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),  # [N,128,2,2]
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(2 * width * places, 1),  # a raw score, no sigmoid
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.layers(images).squeeze(1)
        return scores
