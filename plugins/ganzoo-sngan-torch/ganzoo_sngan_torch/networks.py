"""SNGAN's two ResNets (Miyato et al. 2018, arXiv:1802.05957): table 4 at 32 pixels, table 6 at 128, and between them.

D has no spectral norm of its own: the modifier `spectral-norm` puts it around every layer, and the manifest picks that
modifier. The sizes noted beside the layers are those at 32 pixels and `width` 128. N is the batch, C the image's
channels, 1 or 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

import ganzoo_core as gz

SIZES = (16, 32, 64, 128)


def list_generator_channels(size: int, width: int) -> list[int]:
    """Channels of G's maps at 4x4 pixels, at 8x8 and so on up to `size`.

    Up to 32 pixels all maps have 2·width (table 4). From 64 pixels on they halve towards the image, from 8·width to
    width / 2 (table 6; the 64 pixels of the authors' code begin one level later).

    Raises:
        UsageError: `size` is not one of `SIZES`, or `width` is less than 1.
    """
    _check(size, width)
    levels = size.bit_length() - 2  # 4x4 pixels are one
    if size <= 32:
        return [2 * width] * levels
    edge = max(1, width // 2)
    return [edge << min(level, 4) for level in reversed(range(levels))]


def list_discriminator_channels(size: int, width: int) -> list[tuple[int, bool]]:
    """For each block of D its channels, and whether it halves its map.

    Up to 32 pixels all have `width`, and the maps end at 8x8 (table 4). From 64 pixels on channels double from
    width / 2 to 8·width, and the maps end at 2x2, or at 128 pixels at 4x4 with one block more that does not halve
    (table 6).

    Raises:
        UsageError: `size` is not one of `SIZES`, or `width` is less than 1.
    """
    _check(size, width)
    if size <= 32:
        halvings = size.bit_length() - 4
        return [(width, True)] * halvings + [(width, False)] * 2
    edge = max(1, width // 2)
    blocks = [(edge << level, True) for level in range(5)]
    return blocks if size == 64 else [*blocks, (16 * edge, False)]


def _check(size: int, width: int) -> None:
    if size not in SIZES:
        listed = f"{', '.join(map(str, SIZES[:-1]))} or {SIZES[-1]}"
        raise gz.UsageError(f"sngan-torch was asked for images of {size} pixels; set data.size to {listed}")
    if width < 1:
        raise gz.UsageError(f"model.width is {width}; it counts channels, so set it to 1 or more")


def initialise(network: nn.Module) -> None:
    """Glorot's uniform weights, with a gain of √2 for the 3x3 convolutions within blocks; biases 0.

    The authors' code has these; the paper does not speak of it. Without the gain a ReLU would halve the variance in
    each block.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            within = name.endswith(("conv1", "conv2"))
            nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(2) if within else 1.0)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def double(x: torch.Tensor) -> torch.Tensor:
    """[N,C,H,W] -> [N,C,2H,2W]: each pixel becomes four."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class UpBlock(nn.Module):
    """A residual block of G that doubles height and width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs, eps=1e-5, momentum=0.1)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv1(double(F.relu(self.norm1(x))))
        h = self.conv2(F.relu(self.norm2(h)))
        # A 1x1 convolution and the doubling may change places; this order is four times cheaper.
        return h + double(self.shortcut(x))


class Generator(nn.Module):
    """z [N, latent_dim] -> images [N,C,H,W] in [-1, 1].

    Args:
        size: H and W in pixels, one of `SIZES`.
        channels: C.
        latent_dim: the length of z.
        width: see `list_generator_channels`.
    """

    def __init__(self, *, size: int, channels: int, latent_dim: int, width: int) -> None:
        super().__init__()
        maps = list_generator_channels(size, width)
        self.project = nn.Linear(latent_dim, 4 * 4 * maps[0])  # [N,4096], reshaped to [N,256,4,4]
        self.blocks = nn.Sequential(*(UpBlock(*pair) for pair in pairwise(maps)))  # [N,256,8,8], 16x16, 32x32
        self.norm = nn.BatchNorm2d(maps[-1], eps=1e-5, momentum=0.1)
        self.image = nn.Conv2d(maps[-1], channels, 3, padding=1)  # [N,C,32,32]
        initialise(self)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        # Channels last, the order in which convolutions on a CPU are fastest; the shape is [N,256,4,4] all the same.
        h = self.blocks(self.project(z).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2))
        return torch.tanh(self.image(F.relu(self.norm(h))))


class DownBlock(nn.Module):
    """A residual block of D.

    Args:
        inputs, outputs: channels; equal unless it halves.
        halve: whether height and width are halved, by means of 2x2 pixels.
        first: whether it sees the image itself, which no ReLU may cut.
    """

    def __init__(self, inputs: int, outputs: int, *, halve: bool, first: bool = False) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        between = outputs if first else inputs
        self.conv1 = nn.Conv2d(inputs, between, 3, padding=1)
        self.conv2 = nn.Conv2d(between, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if halve else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.halve:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return h + self.shortcut(x)


class Discriminator(nn.Module):
    """Images [N,C,H,W] in [-1, 1] -> raw scores [N].

    Args:
        size: H and W in pixels, one of `SIZES`.
        channels: C.
        width: see `list_discriminator_channels`.
    """

    def __init__(self, *, size: int, channels: int, width: int) -> None:
        super().__init__()
        blocks = list_discriminator_channels(size, width)
        self.blocks = nn.Sequential(*_chain(channels, blocks))  # [N,128,16,16], [N,128,8,8], the same twice
        self.score = nn.Linear(blocks[-1][0], 1)
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = F.relu(self.blocks(images)).sum((2, 3))  # [N,128]: the sum over all places
        return self.score(features).squeeze(1)


def _chain(channels: int, blocks: Sequence[tuple[int, bool]]) -> list[DownBlock]:
    inputs = [channels, *(outputs for outputs, _ in blocks)]
    return [
        DownBlock(inputs[place], outputs, halve=halve, first=place == 0)
        for place, (outputs, halve) in enumerate(blocks)
    ]
