"""DCGAN's two networks (Radford, Metz, Chintala 2015, arXiv:1511.06434), for any square size from 16 to 256.

A level is one convolution with a 4x4 kernel that halves the image (or, in the generator, doubles it), down to 4x4
pixels: four levels for 64 pixels. Shapes beside the layers are those of the paper's figure 1: 64 pixels,
`width` 128, z of 100. N is the batch, C the image's channels, 1 or 3.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

import ganzoo_core as gz


def choose_level_widths(size: int, width: int) -> list[int]:
    """Channels of each level, nearest the image first: 128, 256, 512, 1024 at 64 pixels and width 128.

    They double from level to level and stop at 8 times `width`, so that 128 and 256 pixels stay affordable.

    Raises:
        UsageError: `size` is not 16, 32, 64, 128 or 256, or `width` is less than 1.
    """
    if size not in (16, 32, 64, 128, 256):
        raise gz.UsageError(f"DCGAN was asked for images of {size} pixels; set data.size to 16, 32, 64, 128 or 256")
    if width < 1:
        raise gz.UsageError(f"model.width is {width}; it counts channels, so set it to 1 or more")
    levels = size.bit_length() - 3  # 2^(levels + 2) = size
    return [width * min(2**level, 8) for level in range(levels)]


def make_normalisation(norm: str, channels: int) -> nn.Module:
    """The layer between a convolution and its activation.

    `batch` is DCGAN's batch norm. `layer` normalises each sample over channels and pixels, as WGAN-GP
    (arXiv:1704.00028, section 4) recommends for a critic. `none` is the identity.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
    if norm == "layer":
        return nn.GroupNorm(1, channels, eps=1e-5)
    if norm == "none":
        return nn.Identity()
    raise gz.UsageError(f"model.norm is {norm!r}; set it to batch, layer or none")


def initialise(module: nn.Module) -> None:
    """Weights ~ N(0, 0.02) (section 4 of the paper), a normalisation's scale ~ N(1, 0.02), shifts and biases 0."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
    if isinstance(bias := getattr(module, "bias", None), nn.Parameter):
        nn.init.zeros_(bias)


class Generator(nn.Module):
    """z [N, latent_dim] -> images [N,C,H,W] in [-1, 1].

    Args:
        size: H and W in pixels: 16, 32, 64, 128 or 256.
        channels: C.
        latent_dim: the length of z.
        width: channels of the level nearest to the image; deeper levels have up to 8 times as many.
        norm: `batch`, `layer` or `none`.

    No layer has a bias, since the normalisation after it has a shift. With `none` the hidden layers get a bias instead;
    without one, the norm of z could change only an image's contrast.
    """

    def __init__(self, *, size: int, channels: int, latent_dim: int, width: int, norm: str = "batch") -> None:
        super().__init__()
        widths = choose_level_widths(size, width)[::-1]
        bias = norm == "none"
        self.project = nn.Linear(latent_dim, 4 * 4 * widths[0], bias=bias)  # [N,16384], reshaped to [N,1024,4,4]
        layers = [make_normalisation(norm, widths[0]), nn.ReLU()]
        for deep, shallow in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(deep, shallow, 4, stride=2, padding=1, bias=bias),
                make_normalisation(norm, shallow),
                nn.ReLU(),  # [N,512,8,8], [N,256,16,16], [N,128,32,32]
            ]
        layers += [
            nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1, bias=False),
            nn.Tanh(),  # [N,C,64,64]
        ]
        self.layers = nn.Sequential(*layers)
        self.apply(initialise)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        # Channels last in memory, which is fastest on a CPU; the shape stays [N,C,4,4].
        return self.layers(self.project(z).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2))


class Discriminator(nn.Module):
    """Images [N,C,H,W] in [-1, 1] -> raw scores [N]; the sigmoid of a score is the probability of "real".

    Args:
        size: H and W in pixels: 16, 32, 64, 128 or 256.
        channels: C.
        width: channels of the level nearest to the image; deeper levels have up to 8 times as many.
        norm: `batch`, `layer` or `none`; the first level never has one, as in the paper.

    No layer has a bias, since the normalisation after it has a shift. With `none` the levels that would have one get a
    bias instead; without it D(a x) = a D(x) for any a > 0, so that contrast would decide.
    """

    def __init__(self, *, size: int, channels: int, width: int, norm: str = "batch") -> None:
        super().__init__()
        widths = choose_level_widths(size, width)
        bias = norm == "none"
        layers: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], 4, stride=2, padding=1, bias=False),
            nn.LeakyReLU(0.2),  # [N,128,32,32]
        ]
        for shallow, deep in pairwise(widths):
            layers += [
                nn.Conv2d(shallow, deep, 4, stride=2, padding=1, bias=bias),
                make_normalisation(norm, deep),
                nn.LeakyReLU(0.2),  # [N,256,16,16], [N,512,8,8], [N,1024,4,4]
            ]
        layers += [nn.Conv2d(widths[-1], 1, 4, bias=False)]  # [N,1,1,1]: one score from all 4x4 pixels
        self.layers = nn.Sequential(*layers)
        self.apply(initialise)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images).squeeze((1, 2, 3))
