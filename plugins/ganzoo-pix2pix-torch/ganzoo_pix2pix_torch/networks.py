"""The two networks of pix2pix (Isola et al. 2017, arXiv:1611.07004, section 6.1), for squares of 32 to 256 pixels.

G is a U-Net: each level halves the picture, down to one pixel, and the way back doubles it, joined at each size with
what the way down had there. D looks at condition and image together and scores overlapping patches. Shapes beside the
layers are the paper's: 256 pixels, `width` 64. N is the batch, C the image's channels, S the condition's.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

import ganzoo_core as gz

SIZES = (32, 64, 128, 256)
STRIDED_LEVELS = {16: 1, 34: 2, 70: 3}
"""A patch's side in pixels -> the levels of D that halve. Two levels that do not halve follow."""
DROPOUT_LEVELS = 3  # of the way back, deepest first


def choose_level_widths(size: int, width: int) -> list[int]:
    """Channels of each level of G's way down, nearest the image first: 64, 128, 256, 512 and 4 times 512 at 256 pixels.

    Raises:
        UsageError: `size` is not 32, 64, 128 or 256, or `width` is less than 1.
    """
    if size not in SIZES:
        raise gz.UsageError(f"pix2pix-torch was asked for images of {size} pixels; set data.size to 32, 64, 128 or 256")
    if width < 1:
        raise gz.UsageError(f"model.width is {width}; it counts channels, so set it to 1 or more")
    levels = size.bit_length() - 1  # 2^levels = size: the deepest map is one pixel
    return [width * min(2**level, 8) for level in range(levels)]


def make_normalisation(norm: str, channels: int) -> nn.Module:
    """The layer after a convolution, with a learned scale and shift.

    `instance` (arXiv:1607.08022) takes the statistics of each picture alone. `batch` takes those of the batch, in
    training and in drawing; with a batch of one picture, as in the paper, both are the same.
    """
    if norm == "instance":
        return nn.InstanceNorm2d(channels, eps=1e-5, affine=True)
    if norm == "batch":
        return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
    raise gz.UsageError(f"model.norm is {norm!r}; set it to instance or batch")


def initialise(module: nn.Module) -> None:
    """Weights ~ N(0, 0.02) (section 6.2 of the paper), a normalisation's scale ~ N(1, 0.02), shifts and biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.InstanceNorm2d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    if isinstance(bias := getattr(module, "bias", None), nn.Parameter):
        nn.init.zeros_(bias)


class Generator(nn.Module):
    """z [N,0], which is not looked at, and source [N,S,H,W] in [-1, 1] -> images [N,C,H,W] in [-1, 1].

    Its noise is dropout, in drawing as in training: it is drawn from in training mode.

    Args:
        size: H and W in pixels: 32, 64, 128 or 256.
        source_channels: S.
        channels: C.
        width: channels of the level nearest to the image; deeper levels have up to 8 times as many.
        norm: `instance` or `batch`; the first and the deepest level have none. In the deepest one, a single pixel would
            be normalised to 0.
        dropout: share of the features of the three deepest levels of the way back that is left out.

    A layer has a bias only if it is the last one.
    """

    def __init__(
        self,
        *,
        size: int,
        source_channels: int,
        channels: int,
        width: int,
        norm: str = "instance",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise gz.UsageError(f"model.dropout is {dropout}; it is a share, so set it to at least 0 and below 1")
        widths = choose_level_widths(size, width)
        self.down = nn.ModuleList([nn.Conv2d(source_channels, widths[0], 4, stride=2, padding=1, bias=False)])
        # [N,64,128,128], then [N,128,64,64], [N,256,32,32], [N,512,16,16], … [N,512,1,1]
        for level, (shallow, deep) in enumerate(pairwise(widths), start=2):
            layers = [nn.LeakyReLU(0.2), nn.Conv2d(shallow, deep, 4, stride=2, padding=1, bias=False)]
            if level < len(widths):
                layers.append(make_normalisation(norm, deep))
            self.down.append(nn.Sequential(*layers))
        self.up = nn.ModuleList()
        for index, (deep, shallow) in enumerate(pairwise(widths[::-1])):
            joined = deep if index == 0 else 2 * deep  # with the features of the same size on the way down
            layers = [
                nn.ReLU(),
                nn.ConvTranspose2d(joined, shallow, 4, stride=2, padding=1, bias=False),
                make_normalisation(norm, shallow),
            ]
            if dropout and index < DROPOUT_LEVELS:
                layers.append(nn.Dropout(dropout))
            self.up.append(nn.Sequential(*layers))  # [N,512,2,2], … [N,512,16,16], [N,256,32,32], … [N,64,128,128]
        self.to_image = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose2d(2 * widths[0], channels, 4, stride=2, padding=1),
            nn.Tanh(),  # [N,C,256,256]
        )
        self.apply(initialise)

    def forward(self, z: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        skips = [source]
        for layers in self.down:
            skips.append(layers(skips[-1]))
        features = skips.pop()
        for layers in self.up:
            features = torch.cat([layers(features), skips.pop()], dim=1)
        return self.to_image(features)


class Discriminator(nn.Module):
    """Images [N,C,H,W] and source [N,S,H,W], both in [-1, 1] -> raw scores of patches [N,30,30].

    The sigmoid of a score is the probability that this patch is of the real image of that source.

    Args:
        size: H and W in pixels: 32, 64, 128 or 256.
        source_channels: S.
        channels: C.
        width: channels of the first level; later ones have up to 8 times as many.
        norm: `instance` or `batch`; the first level never has one.
        patch: the side of a patch in pixels: 16, 34 or 70. It may be larger than the image.
    """

    def __init__(
        self, *, size: int, source_channels: int, channels: int, width: int, norm: str = "instance", patch: int = 70
    ) -> None:
        super().__init__()
        choose_level_widths(size, width)
        if patch not in STRIDED_LEVELS:
            raise gz.UsageError(f"model.patch is {patch}; set it to 16, 34 or 70 pixels")
        strided = STRIDED_LEVELS[patch]
        widths = [width * min(2**level, 8) for level in range(strided + 1)]
        layers: list[nn.Module] = [
            nn.Conv2d(source_channels + channels, widths[0], 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),  # [N,64,128,128]
        ]
        for level, (shallow, deep) in enumerate(pairwise(widths), start=1):
            layers += [
                nn.Conv2d(shallow, deep, 4, stride=2 if level < strided else 1, padding=1, bias=False),
                make_normalisation(norm, deep),
                nn.LeakyReLU(0.2),  # [N,128,64,64], [N,256,32,32], [N,512,31,31]
            ]
        layers += [nn.Conv2d(widths[-1], 1, 4, padding=1)]  # [N,1,30,30]
        self.layers = nn.Sequential(*layers)
        self.apply(initialise)

    def forward(self, images: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([source, images], dim=1)).squeeze(1)
