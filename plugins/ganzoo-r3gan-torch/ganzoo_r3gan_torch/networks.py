"""R3GAN's two networks (Huang et al. 2024, arXiv:2501.05441), for square images of 16, 32, 64, 128 or 256 pixels.

A stage is one resolution: some residual blocks, and what leads to the next. G goes from 4x4 pixels up, D the same way
back. Nothing is normalised; instead the weights begin so that the scale of a signal does not depend on the depth.
Shapes beside the layers are those of the paper's networks for CIFAR-10: 32 pixels, `width` 768, z of 64. N is the
batch, C the image's channels, K the number of classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

import ganzoo_core as gz

SIZES = (16, 32, 64, 128, 256)
SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the variance of what passes a leaky ReLU
FILTER = (1 / 8, 3 / 8, 3 / 8, 1 / 8)  # [1,2,1] convolved with [1,1]


def choose_stage_widths(size: int, width: int, taper: Sequence[float]) -> list[int]:
    """Channels of each stage, from 4x4 pixels up: 768, 768, 768, 768 at 32 pixels and width 768.

    Args:
        size: 16, 32, 64, 128 or 256.
        width: channels of a stage whose share is 1.
        taper: the share of each stage; the last holds for all that follow.

    Raises:
        UsageError: for another size, a width below 1, or a share that is missing or not above 0.
    """
    if size not in SIZES:
        raise gz.UsageError(f"R3GAN was asked for images of {size} pixels; set data.size to 16, 32, 64, 128 or 256")
    if width < 1:
        raise gz.UsageError(f"model.width is {width}; it counts channels, so set it to 1 or more")
    if not taper or not all(0 < share < math.inf for share in taper):
        raise gz.UsageError(
            f"model.taper is {','.join(f'{share:g}' for share in taper) or 'empty'}; it holds each stage's share of "
            "model.width, so set it to numbers above 0, such as 1,1,0.75,0.5"
        )
    stages = size.bit_length() - 2  # 4 * 2^(stages - 1) = size
    shares = [*taper, *[taper[-1]] * stages][:stages]
    return [max(1, round(width * share)) for share in shares]


def initialise(weight: torch.Tensor, gain: float = 1.0) -> None:
    """Weights [outputs, inputs, ...] ~ N(0, gain / √fan-in)."""
    nn.init.normal_(weight, 0.0, gain / math.sqrt(weight[0].numel()))


def make_embedding(classes: int, dim: int, gain: float = 1.0) -> nn.Embedding:
    """A learned vector [dim] of each class, begun as a linear layer of one-hot labels: N(0, gain / √classes)."""
    embedding = nn.Embedding(classes, dim)
    nn.init.normal_(embedding.weight, 0.0, gain / math.sqrt(classes))
    return embedding


class GroupedBlock(nn.Module):
    """The paper's block: x + 1x1 to twice the channels, 3x3 in groups, 1x1 back; biases before two leaky ReLUs.

    Args:
        channels: of input and output.
        depth: residual blocks in the whole network.
        group_size: channels of a group of the 3x3 convolution; a narrower one has a single group.

    Raises:
        UsageError: if the groups do not divide the channels.
    """

    def __init__(self, channels: int, depth: int, group_size: int) -> None:
        super().__init__()
        wide = 2 * channels
        size = min(group_size, wide)
        if size < 1 or wide % size:
            raise gz.UsageError(
                f"model.group_size is {group_size}, and a stage has {wide} channels (twice {channels}) to share out; "
                f"set it to a divisor of {wide}, such as {math.gcd(wide, max(group_size, 1))}"
            )
        self.expand = nn.Conv2d(channels, wide, 1)  # [N,1536,H,W]
        self.mix = nn.Conv2d(wide, wide, 3, padding=1, groups=wide // size)
        self.reduce = nn.Conv2d(wide, channels, 1, bias=False)
        start_residual([self.expand, self.mix], self.reduce, depth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.leaky_relu(self.mix(F.leaky_relu(self.expand(x), SLOPE)), SLOPE)
        return x + self.reduce(h)


class PlainBlock(nn.Module):
    """Two 3x3 convolutions, for processors, where grouped and 1x1 ones are slow: x + 3x3, leaky ReLU, 3x3.

    Args:
        channels: of input, output and between.
        depth: residual blocks in the whole network.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        start_residual([self.first], self.last, depth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.last(F.leaky_relu(self.first(x), SLOPE))


def start_residual(hidden: Sequence[nn.Conv2d], last: nn.Conv2d, depth: int) -> None:
    """Begin a residual block as the identity (Fixup, arXiv:1901.09321), so that depth changes no signal's scale.

    With m convolutions the first m-1 have gain GAIN·depth^(-1/(2m-2)), and the last is 0.
    """
    layers = len(hidden) + 1
    for layer in hidden:
        initialise(layer.weight, GAIN * depth ** (-1 / (2 * layers - 2)))
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    nn.init.zeros_(last.weight)


def make_blocks(kind: str, channels: int, count: int, depth: int, group_size: int) -> list[nn.Module]:
    """The residual blocks of one stage; `depth` counts those of the whole network.

    Raises:
        UsageError: for an unknown kind, less than one block, or groups that do not divide the channels.
    """
    if count < 1:
        raise gz.UsageError(f"model.blocks is {count}; it counts the blocks of a stage, so set it to 1 or more")
    if kind == "grouped":
        return [GroupedBlock(channels, depth, group_size) for _ in range(count)]
    if kind == "plain":
        return [PlainBlock(channels, depth) for _ in range(count)]
    raise gz.UsageError(f"model.block is {kind!r}; set it to grouped or plain")


class Resample(nn.Module):
    """[N,C,H,H] -> [N,C,2H,2H] or [N,C,H/2,H/2] by the filter [1,3,3,1] in both directions, with zeros outside.

    Both are products with a matrix, which is several times faster on a processor than a convolution of single channels,
    and as easily differentiated twice.

    Args:
        size: H.
        up: double or halve.
    """

    def __init__(self, size: int, *, up: bool) -> None:
        super().__init__()
        large = 2 * size if up else size
        matrix = torch.zeros(large // 2, large)  # halves an axis
        for row in range(large // 2):
            for tap, weight in enumerate(FILTER):
                if 0 <= (column := 2 * row - 1 + tap) < large:
                    matrix[row, column] = weight
        # Twice the transpose doubles an axis; its rows sum to 1 away from the border, too.
        self.register_buffer("matrix", 2 * matrix.T.contiguous() if up else matrix, persistent=False)
        self.matrix: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        samples, channels, height, width = x.shape
        size = len(self.matrix)
        rows = self.matrix @ x.permute(0, 2, 3, 1).reshape(samples, height, width * channels)
        both = self.matrix @ rows.reshape(samples * size, width, channels)
        return both.reshape(samples, size, size, channels).permute(0, 3, 1, 2)  # channels last in memory


def make_transition(inputs: int, outputs: int, size: int, *, up: bool) -> list[nn.Module]:
    """Between two stages: resampling, and where widths differ a 1x1 convolution on the side of fewer pixels."""
    change: list[nn.Module] = []
    if inputs != outputs:
        change.append(nn.Conv2d(inputs, outputs, 1, bias=False))
        initialise(change[0].weight)  # type: ignore[arg-type]
    resample = Resample(size, up=up)
    return [*change, resample] if up else [resample, *change]


class Generator(nn.Module):
    """z [N, latent_dim] (and labels int64 [N], with classes) -> images [N,C,H,W], unbounded or in [-1, 1].

    Args:
        size: H and W in pixels: 16, 32, 64, 128 or 256.
        channels: C.
        classes: K, or 0 for no labels. A class is a learned vector beside z, of z's length.
        latent_dim: the length of z.
        width, taper: see `choose_stage_widths`.
        blocks: residual blocks of each stage.
        block: `grouped`, the paper's, or `plain`.
        group_size: of grouped ones.
        tanh: end in it. The paper does not; where much is white or black, it spares G from learning not to vary there.
    """

    def __init__(
        self,
        *,
        size: int,
        channels: int,
        classes: int,
        latent_dim: int,
        width: int,
        taper: Sequence[float],
        blocks: int,
        block: str,
        group_size: int,
        tanh: bool,
    ) -> None:
        super().__init__()
        self.tanh = tanh
        widths = choose_stage_widths(size, width, taper)
        depth = blocks * len(widths)
        self.embedding = make_embedding(classes, latent_dim) if classes else None
        self.basis = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.project = nn.Linear(latent_dim * (2 if classes else 1), widths[0], bias=False)
        initialise(self.project.weight)
        layers = make_blocks(block, widths[0], blocks, depth, group_size)  # [N,768,4,4]
        for stage, (inputs, outputs) in enumerate(pairwise(widths)):
            layers += make_transition(inputs, outputs, 4 * 2**stage, up=True)  # [N,768,8,8], 16x16, 32x32
            layers += make_blocks(block, outputs, blocks, depth, group_size)
        self.layers = nn.Sequential(*layers)
        self.image = nn.Conv2d(widths[-1], channels, 1, bias=False)  # [N,C,32,32]
        initialise(self.image.weight)

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        if self.embedding is not None:
            assert labels is not None
            z = torch.cat([z, self.embedding(labels)], 1)  # [N,128]
        images = self.image(self.layers(self.basis * self.project(z)[:, :, None, None]))
        return torch.tanh(images) if self.tanh else images


class Discriminator(nn.Module):
    """Images [N,C,H,W] (and labels int64 [N], with classes) -> raw scores [N].

    The score is a linear function of what the last stage sees; with classes there are as many such functions as the
    stage has channels, and the score is their inner product with a learned vector of the class.

    Args: those of `Generator`, without the length of z and the last function.
    """

    def __init__(
        self,
        *,
        size: int,
        channels: int,
        classes: int,
        width: int,
        taper: Sequence[float],
        blocks: int,
        block: str,
        group_size: int,
    ) -> None:
        super().__init__()
        widths = choose_stage_widths(size, width, taper)[::-1]
        depth = blocks * len(widths)
        self.image = nn.Conv2d(channels, widths[0], 1, bias=False)  # [N,768,32,32]
        initialise(self.image.weight)
        layers: list[nn.Module] = []
        for stage, (inputs, outputs) in enumerate(pairwise(widths)):
            layers += make_blocks(block, inputs, blocks, depth, group_size)
            layers += make_transition(inputs, outputs, size // 2**stage, up=False)  # [N,768,16,16], 8x8, 4x4
        layers += make_blocks(block, widths[-1], blocks, depth, group_size)
        self.layers = nn.Sequential(*layers)
        self.basis = nn.Parameter(torch.empty(widths[-1], 4, 4))  # a 4x4 convolution of single channels
        initialise(self.basis)
        self.score = nn.Linear(widths[-1], widths[-1] if classes else 1, bias=False)
        initialise(self.score.weight)
        # The gain keeps an inner product of so many terms at the scale of one.
        self.embedding = make_embedding(classes, widths[-1], 1 / math.sqrt(widths[-1])) if classes else None

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        features = self.score((self.layers(self.image(images)) * self.basis).sum((2, 3)))  # [N,1], or [N,768]
        if self.embedding is None:
            return features.squeeze(1)
        assert labels is not None
        return (features * self.embedding(labels)).sum(1)
