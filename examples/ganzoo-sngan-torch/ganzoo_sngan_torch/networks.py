"""SNGAN's two ResNets (Miyato et al. 2018, arXiv:1802.05957, table 4), for 32 pixels, and one block less for 16.

D has no spectral norm of its own: the modifier `spectral-norm` puts it around every layer, and the manifest picks that
modifier. The sizes noted beside the layers are those at 32 pixels and `width` 128. N is the batch, C the image's
channels, 1 or 3.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

import ganzoo_core as gz


def doublings(size: int, width: int) -> int:
    """How often G doubles 4x4 pixels: 3 at 32 pixels. D halves once less, and ends at 8x8.

    Raises:
        UsageError: `size` is not 16 or 32, or `width` is less than 1.
    """
    if size not in (16, 32):
        raise gz.UsageError(f"sngan-torch was asked for images of {size} pixels; set data.size to 16 or 32")
    if width < 1:
        raise gz.UsageError(f"model.width is {width}; it counts channels, so set it to 1 or more")
    return size.bit_length() - 3


def initialise(network: nn.Module) -> None:
    """Glorot's uniform weights, with a gain of √2 for the 3x3 convolutions within blocks; biases 0.

    The paper does not speak of it. Without the gain a ReLU would halve the variance in each block.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            within = name.endswith(("conv1", "conv2"))
            nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(2) if within else 1.0)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def doubled(x: torch.Tensor) -> torch.Tensor:
    """[N,C,H,W] -> [N,C,2H,2W]: each pixel becomes four."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class UpBlock(nn.Module):
    """A residual block of G that doubles height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv1(doubled(F.relu(self.norm1(x))))
        h = self.conv2(F.relu(self.norm2(h)))
        # A 1x1 convolution and the doubling may change places; this order is four times cheaper.
        return h + doubled(self.shortcut(x))


class Generator(nn.Module):
    """z [N, latent_dim] -> images [N,C,H,W] in [-1, 1].

    Args:
        size: H and W in pixels: 16 or 32.
        channels: C.
        latent_dim: the length of z.
        width: half the channels of every layer, since D has half as many as G.
    """

    def __init__(self, *, size: int, channels: int, latent_dim: int, width: int) -> None:
        super().__init__()
        blocks, wide = doublings(size, width), 2 * width
        self.project = nn.Linear(latent_dim, 4 * 4 * wide)  # [N,4096], reshaped to [N,256,4,4]
        self.blocks = nn.Sequential(*(UpBlock(wide) for _ in range(blocks)))  # [N,256,8,8], 16x16, 32x32
        self.norm = nn.BatchNorm2d(wide, eps=1e-5, momentum=0.1)
        self.image = nn.Conv2d(wide, channels, 3, padding=1)  # [N,C,32,32]
        initialise(self)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        # Channels last, the order in which convolutions on a CPU are fastest; the shape is [N,256,4,4] all the same.
        h = self.blocks(self.project(z).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2))
        return torch.tanh(self.image(F.relu(self.norm(h))))


class DownBlock(nn.Module):
    """A residual block of D.

    Args:
        inputs, outputs: channels.
        halve: whether height and width are halved, by means of 2x2 pixels.
        first: whether it sees the image itself, which no ReLU may cut.
    """

    def __init__(self, inputs: int, outputs: int, *, halve: bool, first: bool = False) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if halve else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.halve:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return h + self.shortcut(x)


class Discriminator(nn.Module):
    """Images [N,C,H,W] in [-1, 1] -> raw scores [N].

    Args:
        size: H and W in pixels: 16 or 32.
        channels: C.
        width: channels of every layer.
    """

    def __init__(self, *, size: int, channels: int, width: int) -> None:
        super().__init__()
        halvings = doublings(size, width) - 1
        self.blocks = nn.Sequential(
            DownBlock(channels, width, halve=True, first=True),  # [N,128,16,16]
            *(DownBlock(width, width, halve=True) for _ in range(halvings - 1)),  # [N,128,8,8]
            DownBlock(width, width, halve=False),  # [N,128,8,8]
            DownBlock(width, width, halve=False),  # [N,128,8,8]
        )
        self.score = nn.Linear(width, 1)
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = F.relu(self.blocks(images)).sum((2, 3))  # [N,128]: the sum over all places
        return self.score(features).squeeze(1)
